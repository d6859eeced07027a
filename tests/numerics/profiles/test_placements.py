"""Filters at all places of larger patches: slow loops, closed forms and invariances."""

import itertools

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import ShapeError
from repsim_energy.numerics.patches.basis import basis_from_moments
from repsim_energy.numerics.profiles import placements
from repsim_energy.numerics.profiles.filter_sizes import crop_bank
from repsim_energy.numerics.profiles.placed_null import correlation_interval, white_profiles
from repsim_energy.numerics.profiles.placements import (
    basis_of_kernel,
    kernel_shares,
    placed_profile,
    placed_profiles,
)


def stationary_basis(channels, rows, columns, decay=0.7):
    """Components of patches of a stationary process, whose covariances depend on shifts alone."""
    pixels = np.array(list(itertools.product(range(channels), range(rows), range(columns))))
    shift = np.abs(pixels[:, None] - pixels[None]).astype(float)
    covariance = 0.4 ** shift[..., 0] * decay ** shift[..., 1] * (decay - 0.1) ** shift[..., 2]
    size = len(covariance)
    mean = torch.full((size,), 0.5, dtype=torch.float64)
    patch = (channels, rows, columns)
    return basis_from_moments(torch.from_numpy(covariance), mean, patch, True, 10**6)


def bank(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def slow_profile(filters, basis, dilation=(1, 1)):
    """The mean over filters of the mean over places, one number at a time."""
    u = basis.components.numpy().reshape(-1, *basis.patch)
    energy = np.zeros(len(u))
    for w in filters.double().numpy():
        _, kh, kw = w.shape
        tops = range(basis.patch[1] - dilation[0] * (kh - 1))
        lefts = range(basis.patch[2] - dilation[1] * (kw - 1))
        for i, component in enumerate(u):
            squares = [
                sum(
                    w[c, a, b] * component[c, top + dilation[0] * a, left + dilation[1] * b]
                    for c, a, b in np.ndindex(w.shape)
                )
                ** 2
                for top in tops
                for left in lefts
            ]
            energy[i] += np.mean(squares)
    return np.sqrt(energy / len(filters))


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
def test_it_is_the_mean_over_all_places(dilation):
    basis, filters = stationary_basis(2, 5, 4), bank(3, 2, 3, 2)
    expected = slow_profile(filters, basis, dilation)
    np.testing.assert_allclose(placed_profile(filters, basis, dilation), expected, 1e-12)
    placed = rs.place_filters(filters, (5, 4), dilation=dilation)
    np.testing.assert_allclose(rs.energy_profile(placed, basis), expected, 1e-7)


def test_filters_as_large_as_the_patch_have_the_profile_of_one_place():
    basis, filters = stationary_basis(2, 5, 4), bank(9, 2, 5, 4)
    np.testing.assert_array_equal(placed_profile(filters, basis), rs.energy_profile(filters, basis))
    assert torch.equal(rs.place_filters(filters, (5, 4)), filters)


def test_a_filter_is_the_same_wherever_zeros_surround_it():
    """Each of the filters lies at another place of the numbers that store it."""
    basis, filters = stationary_basis(2, 6, 6), bank(9, 2, 3, 3)
    stored = torch.zeros(9, 2, 5, 5)
    for k, one in enumerate(filters):
        stored[k, :, k % 3 : k % 3 + 3, k // 3 : k // 3 + 3] = one
    np.testing.assert_array_equal(placed_profile(stored, basis), placed_profile(filters, basis))
    assert torch.equal(rs.place_filters(stored, (6, 6)), rs.place_filters(filters, (6, 6)))


def test_filters_of_several_sizes_count_equally():
    basis, large, small = stationary_basis(1, 6, 5), bank(4, 1, 3, 3), bank(2, 1, 2, 1, seed=1)
    both = torch.cat([large, torch.nn.functional.pad(small, (2, 0, 0, 1))])
    squares = 4 * slow_profile(large, basis) ** 2 + 2 * slow_profile(small, basis) ** 2
    expected = np.sqrt(squares / 6)
    np.testing.assert_allclose(placed_profile(both, basis), expected, 1e-12)
    of_places = rs.energy_profile(rs.place_filters(both, (6, 5)), basis)
    np.testing.assert_allclose(of_places, expected, 1e-7)


def stored_in_larger_kernels(banks):
    return torch.nn.functional.pad(banks, (0, 1, 1, 0))


@pytest.mark.parametrize(
    ("banks", "dilation"),
    [
        (bank(7, 3, 2, 3, 2), (1, 1)),
        (bank(7, 3, 2, 3, 2), (2, 1)),
        (bank(4, 5, 2, 6, 5), (1, 1)),
        (stored_in_larger_kernels(bank(3, 4, 2, 3, 2)), (1, 1)),
        (bank(3, 4, 2, 3, 2) * (torch.arange(4) % 2).view(1, 4, 1, 1, 1), (1, 1)),
        (torch.zeros(2, 4, 2, 3, 2), (1, 1)),
        (bank(5, 2, 2, 5, 5), (1, 1)),
    ],
    ids=[
        *("small", "dilated", "as large as the patch", "with zeros around", "some dead"),
        *("all dead", "few and large"),
    ],
)
def test_many_banks_at_once_have_the_profiles_of_each(banks, dilation, monkeypatch):
    basis = stationary_basis(2, 6, 5)
    expected = np.stack([placed_profile(one, basis, dilation) for one in banks])
    for numbers in (placements.MAX_NUMBERS, 300):
        monkeypatch.setattr(placements, "MAX_NUMBERS", numbers)
        found = placed_profiles(banks, basis, dilation)
        np.testing.assert_allclose(found, expected, 1e-12, atol=1e-15)


def test_many_banks_of_gray_filters_see_the_luma():
    basis, banks = stationary_basis(3, 5, 4), bank(6, 3, 1, 2, 2)
    expected = np.stack([placed_profile(one, basis) for one in banks])
    np.testing.assert_allclose(placed_profiles(banks, basis), expected, 1e-12)


def test_dead_filters_have_no_energy_and_count():
    basis, filters = stationary_basis(1, 5, 5), bank(4, 1, 3, 3)
    dead = torch.cat([filters, torch.zeros(12, 1, 3, 3)])
    half = placed_profile(filters, basis) / 2
    np.testing.assert_allclose(placed_profile(dead, basis), half, 1e-12)


def test_of_stationary_images_the_variance_of_the_responses_is_that_of_their_own_patches():
    """The sum of variance times energy squared is the same for patches of every size."""
    filters = bank(8, 2, 3, 2).double()
    own = stationary_basis(2, 3, 2)
    expected = own.eigenvalues.numpy() @ rs.energy_profile(filters, own) ** 2
    for size in ((3, 2), (4, 4), (6, 5)):
        basis = stationary_basis(2, *size)
        found = basis.eigenvalues.numpy() @ placed_profile(filters, basis) ** 2
        assert found == pytest.approx(expected, rel=1e-12)


def test_components_of_a_smaller_kernel_are_those_of_its_patches():
    own, expected = basis_of_kernel(stationary_basis(2, 6, 5), (2, 3, 2)), stationary_basis(2, 3, 2)
    np.testing.assert_allclose(own.eigenvalues, expected.eigenvalues, 1e-10)
    np.testing.assert_allclose(own.mean, expected.mean)
    products = (own.components * expected.components).sum(1).abs()
    np.testing.assert_allclose(products, 1, 1e-8)


@pytest.mark.parametrize("dilation", [(1, 1), (2, 2)])
def test_shares_carry_a_covariance_of_filters_over_to_larger_patches(dilation):
    """Filters along single own components, whose covariance is diagonal, by definition."""
    basis = stationary_basis(2, 7, 6)
    own = basis_of_kernel(basis, (2, 3, 2), dilation)
    energies = np.linspace(1, 3, len(own.components))
    filters = own.components.reshape(-1, 2, 3, 2) * torch.from_numpy(energies)[:, None, None, None]
    shares = kernel_shares(basis, own, dilation)
    expected = np.sqrt(shares @ energies**2 / len(energies))
    np.testing.assert_allclose(placed_profile(filters, basis, dilation), expected, 1e-12)


def test_white_profiles_are_those_of_drawn_banks():
    """Means and standard deviations, against banks that are drawn and placed one by one."""
    basis = stationary_basis(1, 5, 5)
    drawn = white_profiles(basis, 6, (1, 3, 3), draws=4000)
    slow = np.stack([placed_profile(bank(6, 1, 3, 3, seed=s), basis) for s in range(1000)])
    error = 5 * slow.std(0) / np.sqrt(1000)
    assert (np.abs(drawn.mean(0) - slow.mean(0)) < error).all()
    np.testing.assert_allclose(drawn.std(0), slow.std(0), rtol=0.12)


def test_intervals_contain_the_correlations_of_independent_small_filters():
    """They are not about 0: small filters reach the same part of every component."""
    basis = stationary_basis(1, 5, 5)
    low, high = correlation_interval(
        white_profiles(basis, 16, (1, 3, 3), draws=2000, seed=1),
        white_profiles(basis, 8, (1, 2, 2), draws=2000, seed=2),
    )
    inside = [
        low
        <= rs.profile_similarity(
            placed_profile(bank(16, 1, 3, 3, seed=2 * s), basis),
            placed_profile(bank(8, 1, 2, 2, seed=2 * s + 1), basis),
        )
        <= high
        for s in range(300)
    ]
    assert 0.925 <= np.mean(inside) <= 0.975
    assert high > rs.pearson_null_interval(25)[1] + 0.1


def test_a_bank_is_cropped_to_the_pixels_that_any_stage_sees():
    first, second = torch.zeros(2, 1, 5, 5), torch.zeros(3, 2, 1, 5, 5)
    first[1, 0, 1, 2], second[0, 1, 0, 3, 3] = 1, 1
    cropped = crop_bank({"a": first, "b": second})
    assert cropped["a"].shape == (2, 1, 3, 2)
    assert cropped["b"].shape == (3, 2, 1, 3, 2)
    dead = {"a": torch.zeros(2, 1, 3, 3)}
    assert crop_bank(dead)["a"].shape == (2, 1, 3, 3)


@pytest.mark.parametrize(
    ("shape", "dilation", "said"),
    [
        ((4, 1, 6, 3), (1, 1), "span 6x3 pixels, expected at most the 5x5"),
        ((4, 1, 3, 3), (1, 3), "span 3x7 pixels"),
        ((4, 9), (1, 1), r"expected \(n, c, kh, kw\)"),
    ],
)
def test_filters_that_do_not_fit_are_refused(shape, dilation, said):
    with pytest.raises(ShapeError, match=said):
        rs.place_filters(torch.ones(shape), (5, 5), dilation=dilation)
