"""A run is the same whatever the program around it has set or draws, and changes nothing of it."""

import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import RECIPE, TINY, both_splits, noise_images, small_cnn, with_dropout
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import ModelSpec, TrainedModel
from repsim_energy.numerics.generators import seeded
from repsim_energy.training.build import build
from repsim_energy.training.isolation import float32_by_default

IMAGES = noise_images(40, (3, 10, 10))


def filters_of(model, seeds=(0,), images=IMAGES):
    """The profiles of filters at all stages, of networks trained now."""
    return rs.compare({"net": model}, images, recipe=RECIPE, seeds=list(seeds)).energy.values


@contextlib.contextmanager
def default_dtype(dtype):
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == dtype  # it is the caller's still
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(name):
    torch.set_default_device(name)
    try:
        yield
    finally:
        assert torch.get_default_device().type == name
        torch.set_default_device(None)


@contextlib.contextmanager
def all_at_once():
    with (
        default_dtype(torch.float64),
        default_device("meta"),
        torch.inference_mode(),
        torch.autocast("cpu", torch.bfloat16),
        np.errstate(all="raise"),
    ):
        yield


SETTINGS = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "default device": lambda: default_device("meta"),
    "device as a context": lambda: torch.device("meta"),
    "no graph": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "NumPy raises": lambda: np.errstate(all="raise"),
    "all at once": all_at_once,
}


@pytest.fixture(scope="module")
def plain():
    return filters_of(with_dropout)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_run_is_the_same_whatever_the_caller_has_set(name, plain):
    with SETTINGS[name]():
        found = filters_of(with_dropout)
    np.testing.assert_array_equal(found, plain)


class OfItsOwnAutocast(nn.Module):
    """A network that computes in bfloat16 by itself."""

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.body = small_cnn(num_classes, in_channels)

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            return self.body(x)


@pytest.mark.parametrize("enabled", [True, False])
@pytest.mark.parametrize(
    ("network", "recipe"),
    [(small_cnn, replace(RECIPE, precision="bfloat16")), (OfItsOwnAutocast, RECIPE)],
    ids=["of the recipe", "of the network"],
)
def test_weights_are_rounded_anew_in_every_step(network, recipe, enabled):
    """Until the caller's autocast ends, torch keeps the copies that it has made of weights."""

    def profiles():
        found = rs.compare({"net": network}, IMAGES, recipe=recipe, seeds=[0])
        return found.energy.values

    plain = profiles()
    with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        within = profiles()
    np.testing.assert_array_equal(within, plain)


@pytest.mark.parametrize("name", ["float64", "autocast", "default device", "all at once"])
def test_activations_of_a_run_are_the_same_too(name):
    def similarity():
        found = rs.compare([TINY, "lenet5"], IMAGES32, "cka", layers=["output"], recipe=RECIPE)
        return found.similarity.values

    expected = similarity()
    with SETTINGS[name]():
        found = similarity()
    np.testing.assert_array_equal(found, expected)


IMAGES32 = both_splits(noise_images(24, (3, 32, 32)))


def test_runs_in_threads_are_those_of_their_seeds(plain):
    """The network draws its weights and its dropout from torch's global generator."""
    alone = [filters_of(with_dropout, [seed]) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda seed: filters_of(with_dropout, [seed]), range(4)))
    np.testing.assert_array_equal(found, alone)
    assert not np.array_equal(alone[0], alone[1])


def test_global_generators_are_left_as_they_were(plain):
    def states():
        return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002

    before = states()
    filters_of(with_dropout)
    assert states() == before


def test_weights_from_other_generators_are_those_of_the_seed():
    def drawn(num_classes, in_channels):
        net = small_cnn(num_classes, in_channels)
        noise = np.random.normal(size=net[0].weight.shape) * random.random()  # noqa: NPY002
        net[0].weight.data = torch.from_numpy(noise).float()
        return net

    first, again, other = (filters_of(drawn, [seed]) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_a_generator_is_held_by_one_thread_at_a_time():
    started, ended = threading.Event(), threading.Event()

    def other():
        with seeded(1):
            started.set()
            torch.rand(1000)
        ended.set()

    with seeded(0):
        first = torch.rand(3)
        thread = threading.Thread(target=other)
        thread.start()
        assert not started.wait(0.1)
        second = torch.rand(3)
    thread.join()
    assert ended.is_set()
    drawn = torch.rand(6, generator=torch.Generator().manual_seed(0))
    assert torch.equal(torch.cat((first, second)), drawn)


def test_another_default_dtype_is_not_set_under_the_feet_of_other_threads():
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, name="of the caller")
    thread.start()
    try:
        said = pytest.raises(UsageError, match=r"float64.*of the caller.*set_default_dtype")
        with default_dtype(torch.float64), said:
            filters_of(with_dropout)
        filters_of(with_dropout)  # float32 needs nothing to be set
    finally:
        ended.set()
        thread.join()


def test_the_last_thread_puts_the_default_dtype_back():
    inside, leave = threading.Barrier(3), [threading.Event(), threading.Event()]

    def work(number):
        with float32_by_default():
            inside.wait(30)
            leave[number].wait(30)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(2)]
    with default_dtype(torch.float64):
        with float32_by_default():
            for thread in threads:
                thread.start()
            inside.wait(30)
        for event, thread in zip(leave, threads, strict=True):
            assert torch.get_default_dtype() == torch.float32
            event.set()
            thread.join()


def same_module():
    net = small_cnn(2, 3)
    return lambda *_: net


def shared_layer():
    first = nn.Conv2d(3, 4, 3)
    return lambda *_: nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


@pytest.mark.parametrize("builder", [same_module(), shared_layer()])
def test_a_builder_that_hands_out_weights_twice_is_refused(builder):
    with pytest.raises(
        UsageError, match=r"^model 'net' returned .* of an earlier one, expected new ones"
    ):
        filters_of(builder, seeds=(0, 1))


def test_a_trained_network_may_be_handed_out_twice(data):
    net = small_cnn(2, 3)
    spec = ModelSpec("net", lambda *_: TrainedModel(net), None)
    assert build(spec, data, 0).module is build(spec, data, 1).module is net


def test_a_builder_that_sets_the_default_dtype_is_refused():
    def build(num_classes, in_channels):
        torch.set_default_dtype(torch.float64)
        return small_cnn(num_classes, in_channels)

    with pytest.raises(UsageError, match="'net' sets torch's default dtype to torch.float64"):
        filters_of(build)
    assert torch.get_default_dtype() == torch.float32
