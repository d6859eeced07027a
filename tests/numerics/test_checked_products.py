"""Products of rows: exact in every way, and checked, so that a faulty kernel changes no number."""

import itertools
import warnings

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import RepsimError, RepsimWarning
from repsim_energy.numerics import checked_products
from repsim_energy.numerics.checked_products import row_products
from repsim_energy.numerics.self_check import self_check

INT8, FLOAT32 = "_as_int8", "_in_exact_parts"


@pytest.fixture(autouse=True)
def _no_way_is_known(monkeypatch):
    """Each test finds out anew how this machine multiplies."""
    self_check()
    monkeypatch.setattr(checked_products, "_rejected", set())


@pytest.fixture
def images(rng):
    """Smooth and extreme bytes, in several chunks' shapes."""
    smooth = torch.randint(0, 256, (40, 3, 6, 8), generator=rng, dtype=torch.uint8)
    return smooth.repeat_interleave(2, 2).repeat_interleave(2, 3)


def plain_moments(images, kh, kw):
    """Sum and second moment, multiplied entry by entry in int64."""
    windows = images.long().unfold(2, kh, 1).unfold(3, kw, 1)
    patches = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    second = sum((p[:, :, None] * p[:, None]).sum(0) for p in patches.split(4096))
    return patches.sum(0), second


@pytest.fixture
def sabotage(monkeypatch):
    """Let torch's product of int8 go wrong in one way."""

    def patch(fault):
        multiply = sabotaged(fault)
        monkeypatch.setattr(torch, "_int_mm", lambda a, b, *, out: multiply(a, b, out))
        monkeypatch.setattr(checked_products, "_has_int8", lambda: True)

    return patch


def sabotaged(fault):
    """Return a product of (m, k) and (k, n) that goes wrong in one way."""
    calls = itertools.count()

    def multiply(left, right, out):
        exact = left.double() @ right.double()
        out.copy_(exact.to(out.dtype))
        FAULTS[fault](out, next(calls), right)

    return multiply


def _garbage(out):
    return out.random_(generator=torch.Generator().manual_seed(1))


FAULTS = {
    "garbage for one shape": lambda out, call, right: len(right) == 40 and _garbage(out),
    "every fifth call": lambda out, call, right: call % 5 == 4 and _garbage(out),
    "the 7th call alone": lambda out, call, right: call == 6 and _garbage(out),
    "zeros": lambda out, call, right: out.zero_(),
    "a stale result": lambda out, call, right: out.fill_(7_000_000),
    "one entry": lambda out, call, right: out[len(out) // 2, 0].add_(1),
    "the last entry of tall products": lambda out, call, right: (
        len(right) > 99 and out[-1, -1].sub_(1)
    ),
    "two entries that cancel": lambda out, call, right: (out[0, 0].add_(1), out[-1, -1].sub_(1)),
    "two entries of a column that cancel": lambda out, call, right: (
        out[0, 0].add_(1),
        out[-1, 0].sub_(1),
    ),
    "rows in another order": lambda out, call, right: out.copy_(out.roll(1, 0)),
    "transposed": lambda out, call, right: (
        out.shape[0] == out.shape[1] and out.copy_(out.T.clone())
    ),
    "saturation": lambda out, call, right: out.clamp_(-(2**15), 2**15 - 1),
    "16 bits": lambda out, call, right: out.bitwise_and_(0xFFFF),
    "twice the numbers": lambda out, call, right: out.mul_(2),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("patch", [(3, 3), (2, 5)])
def test_no_fault_of_the_fast_product_reaches_the_moments(fault, patch, images, sabotage):
    sabotage(fault)
    with pytest.warns(RepsimWarning, match=r"torch .* a wrong product of torch.int8 matrices"):
        moments = rs.patch_moments(images, patch)
    total, second = plain_moments(images, *patch)
    assert torch.equal(moments.total, total.double())
    assert torch.equal(moments.second, second.double())
    assert moments.products == {"float32"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # the way is not tried, nor warned of, again
        again = rs.patch_moments(images, patch)
    assert torch.equal(again.second, moments.second)


@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_of_the_fast_product_reaches_any_public_number(fault, images, sabotage):
    """What is computed from images: profiles, similarities, fits, energies, autocorrelations."""

    def numbers():
        basis = rs.patch_moments(images, (3, 3)).basis()
        banks = torch.randn(2, 8, 3, 3, 3, generator=torch.Generator().manual_seed(2))
        profiles = [rs.energy_profile(bank, basis) for bank in banks]
        lags = rs.patch_autocovariance(images, (3, 3), max_shift=3)
        yield basis.eigenvalues, *profiles, rs.component_energies(images, basis)
        fit = rs.fit_profile(profiles[0], basis.eigenvalues)
        yield rs.profile_similarity(*profiles), fit.profile
        yield lags.values, lags.autocorrelation(banks[0]).curve

    expected = [np.asarray(n) for group in numbers() for n in group]
    sabotage(fault)
    with pytest.warns(RepsimWarning, match="a wrong product"):
        found = [np.asarray(n) for group in numbers() for n in group]
    for a, b in zip(found, expected, strict=True):
        assert np.array_equal(a, b)


def test_where_two_ways_fail_a_third_is_taken(images, monkeypatch):
    for way in (INT8, FLOAT32):
        monkeypatch.setattr(checked_products, way, sabotaged("one entry"))
    with pytest.warns(RepsimWarning):
        moments = rs.patch_moments(images, (3, 3))
    assert torch.equal(moments.second, plain_moments(images, 3, 3)[1].double())
    assert moments.products == {"float64"}


def test_where_every_way_fails_there_is_no_number(images, monkeypatch):
    for way in (INT8, FLOAT32, "_with_numpy"):
        monkeypatch.setattr(checked_products, way, sabotaged("one entry"))
    with pytest.warns(RepsimWarning), pytest.raises(RepsimError, match="repsim doctor"):
        rs.patch_moments(images, (3, 3))


@pytest.mark.parametrize("fault", ["one entry", "zeros", "every fifth call", "transposed"])
def test_wrong_products_of_floats_are_found_too(fault, images, monkeypatch):
    floats = images.float()
    monkeypatch.setattr(checked_products, "_directly", _far_off(sabotaged(fault)))
    with pytest.warns(RepsimWarning, match="torch.float32"):
        moments = rs.patch_moments(floats, (3, 3))
    assert moments.products == {"float64"}
    expected = plain_moments(images, 3, 3)[1].double()
    torch.testing.assert_close(moments.second, expected, rtol=1e-12, atol=0)


def _far_off(multiply):
    """Make a fault of one unit large beside the rounding of float32."""

    def scaled(left, right, out):
        right_one = left @ right
        multiply(left, right, out)
        out.copy_(right_one + (out - right_one.round()) * 1e7)

    return scaled


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0, 1e6, 1e20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_floats_of_any_size_keep_their_digits_and_warn_of_nothing(scale, dtype, rng):
    values = (torch.randn(30, 2, 9, 9, generator=rng) * scale).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        moments = rs.patch_moments(values, (2, 2))
        moments.basis()
    exact = rs.patch_moments(values.double() / scale, (2, 2)).second * scale**2
    size = float(exact.abs().max())
    torch.testing.assert_close(moments.second / size, exact / size, rtol=0, atol=1e-6)


@pytest.mark.parametrize("way", [INT8, FLOAT32, "_with_numpy"])
@pytest.mark.parametrize("terms", [1, 2, 5, 1023, 1025, 3000])
def test_every_way_is_exact_for_the_largest_numbers(way, terms, rng):
    """Where the processor has such products at all."""
    if way == INT8 and not checked_products._has_int8():
        pytest.skip("no products of int8")
    multiply = getattr(checked_products, way)
    extreme = torch.tensor([-128, 127], dtype=torch.int8)
    left = extreme[torch.randint(0, 2, (terms, 2), generator=rng)]
    right = extreme[torch.randint(0, 2, (terms, 9), generator=rng)]
    out = torch.zeros(2, 9, dtype=torch.int32)
    multiply(left.T, right, out)
    assert torch.equal(out.long(), (left.long()[:, :, None] * right.long()[:, None]).sum(0))


def test_products_count_rows_below_and_columns_inside_alone(rng):
    parts = [torch.randint(-128, 128, (5, n, 2, 6), generator=rng).to(torch.int8) for n in (3, 4)]
    sums, products, _ = row_products(lambda: parts, slice(1, 4), [(0, 1), (1, 4)], 3)
    whole = torch.cat(parts, 1).long()
    inner = whole[..., 1:4].flatten(2)
    assert torch.equal(sums[1], inner[1:4].sum((0, 1)))
    below = torch.einsum("ykm,ykn->mn", inner[1:4], whole[2:5].flatten(2))
    assert torch.equal(products[1, 1], below)
    assert not products[1, 2].any()  # row 3 has no second row below


def test_the_self_check_refuses_a_machine_that_computes_wrongly(monkeypatch):
    from repsim_energy.numerics import self_check as module

    assert self_check() == "passed"
    real = module.basis_from_moments
    monkeypatch.setattr(
        module, "basis_from_moments", lambda c, *rest: real(c + 1e-3 * c.diag().diag(), *rest)
    )
    self_check.cache_clear()
    with pytest.raises(RepsimError, match=r"\(eigenvectors\).*repsim doctor"):
        self_check()
    monkeypatch.undo()
    self_check.cache_clear()
    assert self_check() == "passed"
