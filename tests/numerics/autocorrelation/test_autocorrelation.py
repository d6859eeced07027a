"""Autocorrelation: against a loop over pairs of places, its invariances, and known processes."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.autocorrelation import autocorrelation as module
from repsim_energy.numerics.autocorrelation import lag_sums
from repsim_energy.numerics.autocorrelation.autocorrelation import (
    autocorrelation,
    patch_autocovariance,
)
from repsim_energy.numerics.patches.moments import patch_moments


@pytest.fixture
def bank(rng):
    return torch.randn(5, 3, 2, 3, generator=rng, dtype=torch.float64)


@pytest.fixture
def moments(pictures):
    return patch_autocovariance(pictures.images, (2, 3), max_shift=4)


def close(found, expected, atol=1e-10):
    for name in ("curve", "horizontal", "vertical", "map"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name), rtol=0, atol=atol)


def orthogonal(n, rng):
    return torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64))[0]


def slow_moments(images, kh, kw, m):
    """Every pair of places by itself; the mean patch is that of the whole set."""
    n, c, h, w = images.shape
    height, width = h - kh + 1, w - kw + 1
    patches = torch.zeros(n, height, width, c * kh * kw, dtype=torch.float64)
    for i, y, x in itertools.product(range(n), range(height), range(width)):
        patches[i, y, x] = images[i, :, y : y + kh, x : x + kw].double().flatten()
    patches -= patches.mean((0, 1, 2))
    lags = torch.zeros(2 * m + 1, 2 * m + 1, c * kh * kw, c * kh * kw, dtype=torch.float64)
    for dy, dx in itertools.product(range(-m, m + 1), repeat=2):
        pairs = 0
        for i, y, x in itertools.product(range(n), range(height), range(width)):
            if 0 <= y + dy < height and 0 <= x + dx < width:
                lags[dy + m, dx + m] += torch.outer(patches[i, y, x], patches[i, y + dy, x + dx])
                pairs += 1
        lags[dy + m, dx + m] /= pairs
    return lags


@pytest.fixture(params=["pixel products", "spectra"])
def way(request, monkeypatch):
    if request.param == "spectra":
        monkeypatch.setattr(module, "MAX_IMAGE_NUMBERS", 0)


@pytest.mark.parametrize(
    ("shape", "patch", "m"),
    [
        ((3, 2, 5, 6), (1, 1), 4),
        ((2, 2, 5, 6), (2, 3), 3),
        ((2, 1, 4, 7), (2, 3), 0),
        ((2, 1, 3, 3), (3, 3), 0),
    ],
)
def test_moments_equal_a_loop_over_pairs_of_places(shape, patch, m, way, rng):
    images = torch.randn(shape, generator=rng) + 3
    found = patch_autocovariance(images, patch, max_shift=m)
    assert found.patch == (shape[1], *patch)
    torch.testing.assert_close(found.values, slow_moments(images, *patch, m), rtol=0, atol=1e-12)


def test_autocorrelation_equals_a_loop_over_pairs_of_places(rng):
    maps = torch.randn(4, 3, 6, 5, generator=rng).cumsum(2).cumsum(3) + 5
    slow = slow_moments(maps, 1, 1, 3).diagonal(dim1=2, dim2=3).sum(2)
    slow /= slow[3, 3].clone()
    found = autocorrelation(maps, max_shift=3)
    torch.testing.assert_close(found.map, slow, rtol=0, atol=1e-12)
    torch.testing.assert_close(found.horizontal, slow[3, 3:], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.vertical, slow[3:, 3], rtol=0, atol=1e-12)
    torch.testing.assert_close(found.curve, (slow[3, 3:] + slow[3:, 3]) / 2, rtol=0, atol=1e-12)


def test_moments_at_shift_zero_are_the_covariance_of_patches(pictures, moments):
    covariance = patch_moments(pictures.images, (2, 3)).covariance()
    torch.testing.assert_close(moments.values[4, 4], covariance, rtol=1e-9, atol=1e-12)


def test_shift_zero_is_one_and_opposite_shifts_are_equal(bank, moments, pictures):
    for found in (moments.autocorrelation(bank), autocorrelation(pictures.images, max_shift=4)):
        assert found.map.shape == (9, 9)
        assert float(found.map[4, 4]) == float(found.curve[0]) == 1
        torch.testing.assert_close(found.map, found.map.flip(0, 1), rtol=0, atol=1e-10)
    torch.testing.assert_close(
        moments.values, moments.values.flip(0, 1).transpose(2, 3), rtol=0, atol=1e-12
    )


def test_white_noise_has_no_correlation_with_its_neighbors(rng):
    found = autocorrelation(torch.randn(100, 3, 16, 16, generator=rng), max_shift=4)
    assert found.curve[1:].abs().max() < 0.015  # three standard deviations of a mean of 77,000
    apart = found.map.clone()
    apart[4, 4] = 0
    assert apart.abs().max() < 0.03


def test_a_moving_average_of_noise_falls_along_a_straight_line(rng):
    """The mean of b neighbors along a row shares a part 1 - delta / b with the one delta on."""
    noise = torch.randn(200, 1, 24, 28, generator=rng)
    found = autocorrelation(F.avg_pool2d(noise, (1, 5), stride=1), max_shift=6)
    line = torch.tensor([1, 0.8, 0.6, 0.4, 0.2, 0, 0], dtype=torch.float64)
    torch.testing.assert_close(found.horizontal, line, rtol=0, atol=0.02)
    assert found.vertical[1:].abs().max() < 0.03


def test_along_rows_shifts_horizontally(rng):
    constant_rows = torch.randn(6, 2, 9, 1, generator=rng).expand(-1, -1, -1, 9)
    found = autocorrelation(constant_rows, max_shift=5)
    torch.testing.assert_close(found.horizontal, torch.ones(6, dtype=torch.float64))
    assert found.vertical[1:].abs().max() < 0.9


def test_the_mean_of_the_whole_set_is_removed_and_not_that_of_each_image(rng):
    """Images that are flat by themselves differ from each other: all places of one agree."""
    flat = torch.randn(20, 1, 1, 1, generator=rng).expand(-1, -1, 6, 6)
    ones = torch.ones(4, dtype=torch.float64)
    torch.testing.assert_close(autocorrelation(flat, max_shift=3).curve, ones)
    torch.testing.assert_close(autocorrelation(flat + 100, max_shift=3).curve, ones)


def test_a_banks_autocorrelation_is_that_of_its_maps(pictures, bank, moments):
    maps = F.conv2d(pictures.images.double() / 255, bank)
    close(moments.autocorrelation(bank), autocorrelation(maps, max_shift=4))
    shifted = F.conv2d(pictures.images.double() / 255, bank, torch.arange(5.0).double())
    close(moments.autocorrelation(bank), autocorrelation(shifted, max_shift=4))


def test_scale_order_signs_and_orthogonal_mixing_of_filters_do_not_matter(bank, moments, rng):
    plain = moments.autocorrelation(bank)
    mixed = (orthogonal(5, rng) @ bank.flatten(1)).view_as(bank)
    for other in (1000 * bank, -bank, bank[[3, 0, 4, 1, 2]], mixed, bank.flatten(1)):
        close(moments.autocorrelation(other), plain, atol=1e-11)


def test_scaling_one_filter_or_turning_the_patch_does_matter(bank, moments, rng):
    plain = moments.autocorrelation(bank).curve
    louder = bank.clone()
    louder[0] *= 10
    for other in (louder, bank.flatten(1) @ orthogonal(18, rng), bank.flip(1, 2)):
        assert (moments.autocorrelation(other).curve - plain).abs().max() > 1e-3


def test_all_orthonormal_components_see_what_the_patches_themselves_do(pictures, moments, rng):
    basis = patch_moments(pictures.images, (2, 3)).basis()
    patches = F.unfold(pictures.images.double() / 255, (2, 3)).view(60, 18, 11, 10)
    expected = autocorrelation(patches, max_shift=4)
    close(moments.autocorrelation(basis.components), expected)
    close(moments.autocorrelation(orthogonal(18, rng)), expected)


def test_nothing_depends_on_the_chunks_of_images(pictures, moments, way, monkeypatch):
    whole = autocorrelation(pictures.images, max_shift=4)
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    monkeypatch.setattr(lag_sums, "CHUNK_BYTES", 1)
    one_by_one = patch_autocovariance(pictures.images, (2, 3), max_shift=4)
    torch.testing.assert_close(one_by_one.values, moments.values, rtol=0, atol=1e-12)
    close(autocorrelation(pictures.images, max_shift=4), whole, atol=1e-12)


def test_bytes_are_read_as_zero_to_one(pictures, moments):
    floats = pictures.images.double() / 255
    found = patch_autocovariance(floats, (2, 3), max_shift=4)
    torch.testing.assert_close(found.values, moments.values, rtol=0, atol=1e-12)
    close(autocorrelation(pictures.images, max_shift=4), autocorrelation(floats, max_shift=4))


def test_images_and_shifts_that_do_not_fit_are_refused(pictures, moments):
    for shift in (-1, 11):
        with pytest.raises(UsageError, match="11x10 responses.* expected 0 to 9"):
            patch_autocovariance(pictures.images, (2, 3), max_shift=shift)
    with pytest.raises(UsageError, match="max_shift is 15"):
        autocorrelation(pictures.images)
    with pytest.raises(UsageError, match=r"7x7 patches of 224x224 images take \d+ GB.* 4 GB; give"):
        patch_autocovariance(torch.zeros(1, 3, 224, 224, dtype=torch.uint8), (7, 7))
    with pytest.raises(ShapeError, match="smaller than the 13x2 kernel"):
        patch_autocovariance(pictures.images, (13, 2), max_shift=0)
    with pytest.raises(ShapeError, match=r"expected \(n, c, h, w\)"):
        autocorrelation(torch.zeros(3, 8, 8), max_shift=1)
    with pytest.raises(ShapeError, match=r"27 inputs .* patches \(3, 2, 3\)"):
        moments.autocorrelation(torch.zeros(4, 3, 3, 3))


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (torch.full((3, 1, 8, 8), 25, dtype=torch.uint8), "no variance"),
        (torch.full((2, 3, 6, 6), torch.nan), "no variance|NaN or infinite"),
        (torch.zeros(0, 3, 8, 8), "no images"),
    ],
)
def test_what_does_not_vary_has_no_autocorrelation(images, words):
    with pytest.raises(DataError, match=words):
        autocorrelation(images, max_shift=2)
    with pytest.raises(DataError, match=words):
        patch_autocovariance(images, (2, 2), max_shift=2)


def test_a_bank_of_zeros_has_no_autocorrelation(rng):
    moments = patch_autocovariance(torch.rand(4, 1, 6, 6, generator=rng), (2, 2), max_shift=2)
    with pytest.raises(DataError, match="not all zero"):
        moments.autocorrelation(torch.zeros(3, 1, 2, 2))
