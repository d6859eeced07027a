"""Runs and comparisons on a GPU: `pytest -m gpu`."""

import copy
import json
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import RECIPE, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.loop import train

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parent.parent
IMAGES = noise_images(60, (3, 12, 12))
WITH_NORM = torch.nn.Sequential(
    torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Dropout(), torch.nn.ReLU()
)


@pytest.fixture(autouse=True)
def _there_is_one():
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU that torch can use")


def energies(device, monkeypatch, tmp_path):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path))
    found = rs.compare({"net": small_cnn}, IMAGES, recipe=RECIPE, seeds=2, device=device)
    return found.energy.values


def test_gradients_by_patches_are_those_of_a_cpu():
    torch.manual_seed(0)
    net = small_cnn(3, 4)
    images = torch.randn(20, 3, 12, 12)
    cpu = rs.gradient_covariance(net, images)
    found = rs.gradient_covariance(net.cuda(), images)
    np.testing.assert_allclose(found, cpu, rtol=0, atol=1e-5 * cpu.max())


def test_a_seed_is_the_same_run_each_time_and_that_of_a_cpu(monkeypatch, tmp_path):
    once, again, cpu = (
        energies(device, monkeypatch, tmp_path / str(i))
        for i, device in enumerate(["cuda", "cuda", "cpu"])
    )
    np.testing.assert_array_equal(once, again)
    np.testing.assert_allclose(once, cpu, rtol=0, atol=1e-5 * cpu.max())


def test_cka_is_that_of_a_cpu():
    networks = {name: copy.deepcopy(WITH_NORM) for name in "ab"}
    torch.nn.init.normal_(networks["b"][0].weight, generator=torch.Generator().manual_seed(3))
    gpu, cpu = (
        rs.compare(networks, IMAGES, "cka", layers=["convs", "output"], device=device)
        for device in ("cuda", "cpu")
    )
    np.testing.assert_allclose(gpu.similarity, cpu.similarity, rtol=0, atol=1e-6)


def test_a_network_is_left_where_it_was():
    net = copy.deepcopy(WITH_NORM)
    net[0].weight.grad = torch.ones_like(net[0].weight)
    state = [*net.parameters(), *net.buffers(), net[0].weight.grad]
    places = [tensor.data_ptr() for tensor in state]
    rs.compare({"a": net, "b": copy.deepcopy(net)}, IMAGES, "cka", device="cuda")
    now = [*net.parameters(), *net.buffers(), net[0].weight.grad]
    assert all(one is other for one, other in zip(now, state, strict=True))
    assert [tensor.data_ptr() for tensor in now] == places


def waits(steps):
    """The number of times that a training of so many steps, all in one epoch, waits for a GPU."""
    module, recipe = small_cnn(3, 4), rs.Recipe(batch=4, steps=steps, snapshots=0)
    setting = (IMAGES, IMAGES, normalization_of(IMAGES), recipe)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            train(module, find_first_conv(module).name, *setting, 0, torch.device("cuda"))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return sum("synchroniz" in str(one.message) for one in found)


def test_nothing_waits_inside_an_epoch():
    waits(2)  # the constants of the images are copied to the GPU once
    assert 0 < waits(3) == waits(12)


@pytest.mark.process
def test_the_benchmark_runs_and_its_agreements_hold(tmp_path):
    command = [sys.executable, str(ROOT / "benchmarks/gpu.py"), "--scale", "smoke"]
    subprocess.run([*command, "--json", str(tmp_path / "gpu.json")], check=True)
    parts = json.loads((tmp_path / "gpu.json").read_text("utf-8"))["parts"]
    assert not [part["left_out"] for part in parts.values() if part["left_out"]]
    assert not [row for part in parts.values() for row in part["rows"] if "error" in row]
    assert all(row["holds"] for row in parts["agreement"]["rows"])
