"""Checks of the doctor: all pass on a healthy machine, and name a broken kernel."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from repsim_energy import doctor
from repsim_energy.doctor import (
    checks,
    examination,
    inputs,
    make_stored,
    references,
    ten_steps,
)
from repsim_energy.doctor.checks import Check, run_check
from repsim_energy.doctor.examination import all_checks
from repsim_energy.doctor.stored import FILE
from repsim_energy.errors import UsageError
from repsim_energy.numerics import checked_products
from repsim_energy.numerics.autocorrelation import autocorrelation
from repsim_energy.numerics.cka import null as null_of_cka
from repsim_energy.numerics.patches import sums
from repsim_energy.numerics.profiles import null as null_of_profiles
from repsim_energy.numerics.self_check import self_check
from repsim_energy.numerics.threads import one_thread
from repsim_energy.registry import load_registry
from repsim_energy.training import loop


@pytest.fixture(autouse=True)
def _checked():
    self_check()  # once per process, with kernels that are whole


@pytest.fixture
def alone():
    """Use one thread, also for large inputs, because several are slow on a busy machine."""
    with one_thread():
        yield


def named(start):
    """Return the CPU checks whose names start with a text."""
    found = [check for device, check in all_checks() if device == "cpu"]
    return [check for check in found if check.name.startswith(start)]


def problems(start):
    found = named(start)
    assert found, start
    return [run_check(check, "cpu").problem for check in found]


def test_a_healthy_machine_has_all_answers():
    lines = []
    found = doctor.examine(load_registry(plugins=False), show=lines.append)
    assert found.passed, [f for f in found.findings if not f.passed]
    assert lines[-1] == f"all {len(found.findings)} checks passed"
    names = [(finding.device, finding.name) for finding in found.findings]
    assert len(set(names)) == len(names)
    devices = {"cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))}
    assert {device for device, _ in names} == devices
    for kind in ("bytes", "float32"):
        for shapes in ("odd", "one", "wide", "many", "memory layouts"):
            assert ("cpu", kind, shapes) in {
                (device, kind, shapes)
                for device, name in names
                if name.startswith(f"patch moments of {kind}, {shapes}")
            }


def slightly(kernel):
    """Return a kernel with a relative error of 1e-4."""
    return lambda *args, **options: kernel(*args, **options) * (1 + 1e-4)


def in_place(kernel):
    """Return a kernel with an output argument and an error of 1e-3 in its first row."""

    def wrong(*args, **options):
        answer = kernel(*args, **options)
        with torch.no_grad():
            answer[:1] *= 1.001
        return answer

    return wrong


def off_by_one(kernel):
    """Return sums of products with an error of 1 in the square of the first pixel."""

    def wrong(*args):
        columns, bands, ways = kernel(*args)
        bands[0, bands.shape[1] // 2, 0, 0, 0, 0] += 1
        return columns, bands, ways

    return wrong


def in_fewer_digits(kernel):
    """Return a kernel that rounds its factors to the 11 digits of TF32."""

    def rounded(values):
        if not isinstance(values, torch.Tensor) or values.dtype != torch.float32:
            return values
        bits = values.detach().contiguous().view(torch.int32)
        return ((bits + 2**12) & -(2**13)).view(torch.float32)

    return lambda out, a, b, **how: kernel(out, rounded(a), rounded(b), **how)


def turned(kernel):
    """Return a kernel with slightly mixed eigenvectors."""

    def wrong(matrix):
        values, vectors = kernel(matrix)
        vectors = vectors * 1.0
        vectors[:, 0] += 1e-6 * vectors[:, 1]
        return values, vectors

    return wrong


def backwards(kernel):
    return lambda *args, **options: kernel(*args, **options).flip(0)


SABOTAGE = {
    "products of rows": (sums, "chunk_sums", off_by_one, "patch moments of bytes"),
    "products of float rows": (sums, "chunk_sums", off_by_one, "patch moments of float32"),
    "whole numbers": (torch.Tensor, "cumsum", slightly, "patch moments of bytes, odd"),
    "sums of matrix products": (torch, "addmm", in_place, "CKA of"),
    "few digits": (torch, "addmm", in_fewer_digits, "CKA of float32, whole"),
    "eigenvectors": (torch.linalg, "eigh", turned, "patch basis"),
    "numpy's eigenvectors": (np.linalg, "eigh", turned, "filters of a linear CNN"),
    "convolution": (nn.functional, "conv2d", slightly, "ten training steps, "),
    "convolution in float64": (
        nn.functional,
        "conv2d",
        slightly,
        "average patches, comp",
    ),
    "batch norm": (nn.functional, "batch_norm", slightly, "ten training steps, "),
    "pooling": (nn.functional, "avg_pool2d", slightly, "average patches, comp"),
    "loss": (nn.functional, "cross_entropy", slightly, "ten training steps, "),
    "order of images": (torch, "randperm", backwards, "ten training steps, "),
    "order of a batch": (loop, "as_input", backwards, "ten training steps"),
    "initial weights": (nn.init, "kaiming_uniform_", in_place, "initial weights"),
    "inverse Fourier transform": (torch.fft, "irfft2", slightly, "patch autocovariance of large"),
    "Fourier transform": (torch.fft, "rfft2", slightly, "patch autocovariance of large"),
    "pairs of pixels": (autocorrelation, "lag_sums", slightly, "patch autocovariance of small"),
    "unfolded patches": (nn.functional, "unfold", slightly, "tiled patches"),
    "folded patches": (nn.functional, "fold", slightly, "tiled patches"),
    "quantiles of t": (null_of_profiles, "stdtrit", slightly, "null interval of profiles"),
    "quantiles of gamma": (null_of_cka, "gammaincinv", slightly, "null interval of CKA"),
    "logarithms": (np, "log1p", slightly, "theoretical profile"),
}
"""A kernel, how it is broken, and the check that has to fail."""


@pytest.mark.parametrize("what", SABOTAGE)
def test_a_broken_kernel_is_named(what, monkeypatch, alone):
    place, name, broken, check = SABOTAGE[what]
    monkeypatch.setattr(place, name, broken(getattr(place, name)))
    for problem in problems(check):
        assert problem is not None, check


def test_what_a_kernel_raises_is_one_line_and_the_other_checks_go_on(monkeypatch):
    def broken(matrix):
        raise RuntimeError("LAPACK is\n   missing")

    monkeypatch.setattr(torch.linalg, "eigh", broken)
    found = [run_check(check, "cpu") for check in named("patch basis") + named("theoretical")]
    assert [finding.problem for finding in found] == ["RuntimeError: LAPACK is missing", None]
    assert found[0].deviation is None
    assert not found[0].passed


def test_what_several_threads_share_is_computed_in_all_of_them_and_the_rest_in_one():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        found = []
        for all_threads in (True, False):
            measure = lambda: iter([("threads", float(torch.get_num_threads()))])  # noqa: E731
            found.append(run_check(Check("x", "y", 9.0, measure, all_threads), "cpu"))
        assert [(f.threads, f.deviation) for f in found] == [(2, 2.0), (1, 1.0)]
        assert torch.get_num_threads() == 2
        shared = [check.name for _, check in all_checks() if check.all_threads]
        for kernel in ("patch moments of bytes", "patch moments of float32", "CKA", "ten training"):
            assert any(name.startswith(kernel) for name in shared), kernel
    finally:
        torch.set_num_threads(before)


def test_not_a_number_and_no_number_are_failures():
    for deviation in (math.nan, math.inf):
        check = Check("x", "y", 1.0, lambda d=deviation: iter([("a", 0.0), ("b", d), ("c", 2.0)]))
        finding = run_check(check, "cpu")
        assert finding.problem == f"b: off by {deviation}, allowed 1"
        assert json.loads(json.dumps(finding.as_dict(), allow_nan=False))["deviation"] is None
    assert run_check(Check("x", "y", 1.0, lambda: iter([])), "cpu").problem


def test_arrays_of_other_shapes_or_unsigned_numbers_are_far_apart():
    assert checks.max_difference(np.zeros(3), np.zeros((3, 1))) == math.inf
    assert checks.max_difference(np.uint8([1]), np.uint8([2])) == 1
    assert checks.relative_difference(torch.tensor([1.0, 5.0]), [2.0, 4.0]) == 0.25


def test_a_way_that_is_wrong_here_is_a_warning_where_the_numbers_are_right(monkeypatch):
    """torch 2.14.1 has such a fault for products of bytes with one row."""

    def garbage(left, right, out):
        out.copy_(out + 1)

    monkeypatch.setattr(checked_products, "_as_int8", garbage)
    monkeypatch.setattr(checked_products, "_has_int8", lambda: True)
    monkeypatch.setattr(checked_products, "_rejected", set())
    found = [run_check(check, "cpu") for check in named("patch moments of bytes, o")]
    assert all(finding.passed for finding in found)
    assert sum(len(finding.warnings) for finding in found) == 1
    assert "matrices in int8" in found[0].warnings[0]


def test_every_way_wrong_is_a_failure(monkeypatch, alone):
    def refuse(*args):
        raise UsageError("multiplies wrongly in every way")

    monkeypatch.setattr(sums, "chunk_sums", refuse)
    assert set(problems("patch moments")) == {"multiplies wrongly in every way"}


def test_the_references_and_inputs_do_without_torch():
    for module in (inputs, references):
        imported = [
            line
            for line in Path(module.__file__).read_text().splitlines()
            if line.startswith(("import ", "from "))
        ]
        assert imported
        assert not [line for line in imported if "torch" in line or "repsim_energy" in line]


def test_the_inputs_are_the_same_everywhere():
    """The stored answers depend on these inputs."""
    assert inputs.noise(3, seed=7).tolist() == [17, 42, 16]
    images = inputs.smooth_images(2, 3, 5, 4)
    assert images[0, :, 0, 0].tolist() == [57, 52, 117]
    assert images.sum() == 14167


def test_references_equal_loops():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 9, (2, 2, 4, 5))
    count, total, second = references.patch_sums(images, (2, 3))
    patches = [
        images[i, :, y : y + 2, x : x + 3].ravel()
        for i in range(2)
        for y in range(3)
        for x in range(3)
    ]
    assert count == len(patches)
    np.testing.assert_array_equal(total, np.sum(patches, 0))
    np.testing.assert_array_equal(second, sum(np.outer(p, p) for p in patches))


def test_the_stored_answers_are_what_float64_gives(alone):
    """Any machine computes the same with the module's command."""
    made = make_stored.answers()
    stored = json.loads(FILE.read_text())
    np.testing.assert_allclose(made["leaves"], stored["leaves"], atol=0.05)
    for one, other in zip(made["ten_steps"], stored["ten_steps"], strict=True):
        assert one.keys() == other.keys()
        for name, values in other.items():
            np.testing.assert_allclose(one[name], values, rtol=1e-6, atol=1e-8)


def test_rounding_to_float32_decides_nothing_in_the_stored_training(monkeypatch, alone):
    """No activation is within 1e-5 of the kink of ReLU, and no two maxima in pooling.

    Errors of float32 are smaller, so that it never takes another branch.
    """
    margins = []

    def relu(module, x):
        margins.append(float(x.detach().abs().min() / x.detach().std()))
        return x.clamp(min=0)

    def pool(module, x):
        four = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).sort(-1).values
        gaps = (four[..., -1] - four[..., -2])[four[..., -1] > 0]
        margins.append(float(gaps.detach().min()))
        return four[..., -1]

    monkeypatch.setattr(nn.ReLU, "forward", relu)
    monkeypatch.setattr(nn.MaxPool2d, "forward", pool)
    for seed in ten_steps.SEEDS:
        ten_steps.train_in_float64(seed)
    assert len(margins) == 2 * 11 * 3  # seeds, steps and the test images, places
    assert min(margins) > 1e-5


def test_every_gpu_is_examined(monkeypatch):
    """Each reported GPU gets the checks, also without one on this machine."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [str(d) for d in examination.devices()] == ["cpu", "cuda:0", "cuda:1"]
    names = [check.name for device, check in all_checks() if device == "cuda:1"]
    for start in ("patch moments of bytes, odd", "CKA of float32, whole", "ten training steps"):
        assert any(name.startswith(start) for name in names), start


def test_what_is_computed_on_a_gpu_is_asked_for_there(monkeypatch):
    """No check passes on a device without numbers, so none is computed on the CPU instead."""
    meta = torch.device("meta")
    found = [
        run_check(check, "meta")
        for module in examination.CHECK_MODULES
        for check in module.checks(meta)
    ]
    assert found
    assert not [finding.name for finding in found if finding.passed]
