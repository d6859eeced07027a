"""The same numbers on every machine: against a file that one machine wrote."""

import json

import numpy as np
import pytest
import torch
from commands import repsim_process
from known_numbers import MODELS, PATH, close, data, exact, of_result, pictures

import repsim_energy as rs
from repsim_energy.numerics.threads import one_thread

KNOWN = json.loads(PATH.read_text())


def test_sums_of_bytes_are_the_same_in_every_bit():
    assert {name: list(value) for name, value in exact()} == KNOWN["exact"]


def test_what_follows_from_them_is_the_same_up_to_rounding():
    for name, found in close():
        np.testing.assert_allclose(found, KNOWN["close"][name], rtol=1e-9, err_msg=name)


ALLOWED = {
    "energy of linear_cnn": 1e-5,
    "energy of vgg11": 0.05,
    "energy of resnet20": 0.1,
    "similarities": 0.02,
}
"""Relative to the largest number. Rounding that takes a ReLU or a maximum across its kink grows
with every step; a linear network has none. Seen: 1.6e-7, 5e-3, 0.046 (4e-6 if ATen uses vectors)
and 2.6e-3."""


def check_trained(numbers):
    for name, found in numbers:
        expected = np.array(KNOWN["trained"][name])
        off = np.abs(np.array(found) - expected).max() / np.abs(expected).max()
        assert off < ALLOWED[name.split(":")[0]], name


@pytest.mark.process
def test_the_command_gives_these_numbers_and_the_same_bits_again(repsim, tmp_path):
    pair = data()
    file = tmp_path / "pictures.npz"
    arrays = {}
    for split, images in (("train", pair.train), ("test", pair.test)):
        arrays[f"{split}_images"] = images.images.permute(0, 2, 3, 1).numpy()
        arrays[f"{split}_labels"] = images.labels.numpy()
    np.savez(file, classes=np.array(pair.train.classes), **arrays)
    results = []
    for jobs, run in ((1, repsim), (2, repsim_process)):
        output = tmp_path / f"{jobs}.nc"
        with one_thread():  # as processes that train do
            done = run(
                "compare",
                "--models",
                ",".join(MODELS),
                "--dataset",
                f"npz:path={file}",
                "--recipe",
                "paper:lr=0.003:batch=32:steps=5:snapshots=2:test_images=500",
                "--jobs",
                str(jobs),
                "-o",
                str(output),
                REPSIM_CACHE=str(tmp_path / f"cache{jobs}"),
            )
        assert done.returncode == 0, done.stderr
        results.append(rs.open_result(output))
        check_trained(of_result(results[-1]))
    for name, values in results[0].data_vars.items():
        if name != "run_id":
            np.testing.assert_array_equal(values, results[1][name], err_msg=name)


@pytest.fixture(params=["made", "real"])
def six_hundred(request):
    """600 pictures: those of the known numbers, and CIFAR-10's where they are at hand."""
    if request.param == "made":
        return pictures()
    with np.load(request.getfixturevalue("cifar_subset"), allow_pickle=False) as file:
        return torch.from_numpy(file["train_images"][:600]).permute(0, 3, 1, 2)


def test_a_hundred_calls_give_one_basis_and_that_of_a_loop(six_hundred):
    first = rs.patch_moments(six_hundred, (3, 3))
    for _ in range(99):
        again = rs.patch_moments(six_hundred, (3, 3))
        assert torch.equal(again.second, first.second)
        assert torch.equal(again.total, first.total)
    second, total = torch.zeros(27, 27).double(), torch.zeros(27).double()
    for y in range(30):
        for x in range(30):
            patches = six_hundred[:, :, y : y + 3, x : x + 3].reshape(600, 27).double() / 255
            second += (patches[:, :, None] * patches[:, None]).sum(0)
            total += patches.sum(0)
    mean = total / (600 * 900)
    covariance = second / (600 * 900) - torch.outer(mean, mean)
    expected = torch.linalg.eigvalsh(covariance).flip(0)
    found = first.basis().eigenvalues
    assert (found - expected).abs().max() <= 1e-9 * expected[0]
