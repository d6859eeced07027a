"""Numbers do not depend on how many threads compute them: the other tests take one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from samples import noise_images

from repsim_energy.numerics.autocorrelation.autocorrelation import (
    autocorrelation,
    patch_autocovariance,
)
from repsim_energy.numerics.cka.hsic import centered_gram, hsic_matrix
from repsim_energy.numerics.cka.null import permutation_interval, permutation_invariants
from repsim_energy.numerics.cka.streaming import cka
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.patches.per_image import (
    average_patches,
    average_shuffled_patches,
    class_correlations,
    component_energies,
)
from repsim_energy.numerics.profiles.energy import energy_profile
from repsim_energy.numerics.profiles.theory import whitening_filters
from repsim_energy.numerics.threads import one_thread, share_tasks

BYTES = noise_images(60, (3, 32, 32)).images
FLOATS = BYTES.float() / 261  # those over 255 are summed as bytes
TALL, OTHER = (torch.randn(4000, d, generator=torch.Generator().manual_seed(d)) for d in (60, 90))
WIDE = torch.randn(70, 20_000, generator=torch.Generator().manual_seed(0))
BANK = torch.randn(64, 3, 3, 3, generator=torch.Generator().manual_seed(0))


def basis(k=3):
    return patch_moments(BYTES, (k, k)).basis()


def invariants(features):
    return permutation_invariants(hsic_matrix(centered_gram(features)))[None].numpy()


NUMBERS = {
    "moments of bytes": lambda: patch_moments(BYTES, (7, 7)).second,
    "moments of floats": lambda: patch_moments(FLOATS, (3, 3)).second,
    "moments of doubles": lambda: patch_moments(FLOATS.double(), (3, 3)).second,
    "components": lambda: basis(7).components,
    "profile": lambda: energy_profile(BANK, basis()),
    "whitening": lambda: whitening_filters(basis()).square().sum(0),
    "patch autocovariance": lambda: patch_autocovariance(BYTES[:10], (2, 3), max_shift=4).values,
    "autocorrelation": lambda: autocorrelation(FLOATS, max_shift=8).map,
    "average patches": lambda: average_patches(BYTES, (3, 3)),
    "shuffled patches": lambda: average_shuffled_patches(BYTES, (3, 3)),
    "component energies": lambda: component_energies(BYTES, basis()),
    "class correlations": lambda: class_correlations(TALL.double(), torch.arange(4000) % 9, 9),
    "cka of features": lambda: cka(TALL, OTHER),
    "cka of doubles": lambda: cka(TALL.double(), OTHER.double()),
    "cka of grams": lambda: cka(WIDE, WIDE[:, ::2].square()),
    "null interval": lambda: permutation_interval(invariants(WIDE), invariants(WIDE.square())),
}
EXACT = {"moments of bytes", "components"}
SINGLE = {"moments of floats", "cka of features", "cka of grams", "null interval"}
"""What is multiplied in single precision."""


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("name", NUMBERS)
def test_any_number_of_threads_finds_the_same(name, threads):
    before = torch.get_num_threads()
    found = []
    try:
        for number in (1, threads):
            torch.set_num_threads(number)
            found.append(np.asarray(NUMBERS[name]()))
            assert torch.get_num_threads() == number
    finally:
        torch.set_num_threads(before)
    assert np.isfinite(found[0]).all()
    if name in EXACT:
        np.testing.assert_array_equal(*found)
    else:
        relative = 1e-6 if name in SINGLE else 1e-9
        np.testing.assert_allclose(*found, rtol=0, atol=relative * np.abs(found[0]).max())


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def number_in_new_thread():
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


def test_a_thread_that_begins_while_another_works_in_one_has_all(two_threads):
    with one_thread():
        assert torch.get_num_threads() == 1
        assert number_in_new_thread() == 2
        with one_thread():
            assert torch.get_num_threads() == 1
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == number_in_new_thread() == 2


def test_threads_that_work_in_one_meanwhile_get_back_what_they_had(two_threads):
    inside = threading.Barrier(4)

    def work(_):
        with one_thread():
            inside.wait(20)
            number = torch.get_num_threads()
        return number, torch.get_num_threads()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, range(4))) == [(1, 2)] * 4


class Noted:
    """Worker that notes its thread, and the order in which its tasks are added."""

    def __init__(self, added, fails=None):
        self.added, self.fails = added, fails

    def compute(self, task):
        assert torch.get_num_threads() == 1
        if self.fails is not None and task == self.fails[0]:
            raise self.fails[1]
        time.sleep(0.002 * (task % 3))

    def add(self, task):
        self.added.append((task, threading.current_thread()))


@pytest.mark.parametrize("ordered", [True, False])
def test_shared_tasks_are_each_added_once_and_threads_of_torch_come_back(ordered, two_threads):
    added, reports = [], []
    share_tasks(20, lambda: Noted(added), lambda: reports.append(len(added)), ordered=ordered)
    tasks = [task for task, _ in added]
    assert sorted(tasks) == list(range(20))
    assert tasks == sorted(tasks) or not ordered
    assert len({thread for _, thread in added}) == 2
    assert reports[-1] == 20
    assert torch.get_num_threads() == number_in_new_thread() == 2


def test_one_thread_of_torch_starts_no_other():
    added, before = [], torch.get_num_threads()
    with one_thread():
        share_tasks(5, lambda: Noted(added), lambda: None, ordered=True)
    assert {thread for _, thread in added} == {threading.current_thread()}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("error", [ValueError("7"), KeyboardInterrupt()])
def test_an_error_in_any_thread_ends_all_and_is_raised_here(error, two_threads):
    added, running = [], threading.active_count()
    with pytest.raises(type(error)) as raised:
        share_tasks(50, lambda: Noted(added, (7, error)), lambda: None, ordered=True)
    assert raised.value is error
    assert 7 not in [task for task, _ in added]
    assert len(added) < 20
    assert threading.active_count() == running
    assert torch.get_num_threads() == number_in_new_thread() == 2


def test_an_error_of_the_report_ends_all_threads(two_threads):
    running = threading.active_count()

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        share_tasks(50, lambda: Noted([]), interrupt, ordered=False)
    assert threading.active_count() == running
    assert torch.get_num_threads() == 2
