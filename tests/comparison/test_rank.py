"""Components without variance: left out, counted, and without influence on any number."""

import warnings

import numpy as np
import pytest
import samples
import torch

from repsim_energy import (
    RepsimWarning,
    compare,
    energy_profile,
    fit_profile,
    patch_moments,
    profile_similarity,
)
from repsim_energy.numerics.profiles.null import pearson_null_interval

DIMENSIONS = 9
"""What gray patches of 3x3 pixels vary in."""


def colored():
    return samples.smooth_images(torch.Generator().manual_seed(0)).images


def gray(channels=1):
    pixels = colored()[:, :1]
    return pixels.expand(-1, channels, -1, -1).contiguous()


def banks():
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(16, 3, 3, 3, generator=generator)
    return {"a": first, "b": first + 0.8 * torch.randn(16, 3, 3, 3, generator=generator)}


def similarity(banks, images):
    with pytest.warns(RepsimWarning, match="18 of 27 components of the patches have no variance"):
        return compare(banks, images, stage="trained", seeds=1, null="white")


def as_float32(images):
    return images.float() / 255


def as_normalized(images):
    return (images.float() / 255 - 0.45) / 0.225


def as_float64(images):
    return images.double() / 255


def upside_down_batches(images):
    return images.flip(0)


@pytest.mark.parametrize(
    "change", [as_float32, as_normalized, as_float64, upside_down_batches, torch.clone]
)
def test_gray_in_three_channels_gives_the_numbers_of_the_one_channel(change):
    result = similarity(banks(), change(gray(3)))
    one = compare(
        {name: bank.sum(1, keepdim=True) for name, bank in banks().items()},
        gray(),
        stage="trained",
        seeds=1,
        null="white",
    )
    for name in ("similarity", "null_low", "null_high", "p_value", "calibrated"):
        found, expected = (r[name].values[0, 0, 0, 0, 1, 0] for r in (result, one))
        assert found == pytest.approx(expected, abs=1e-5)
    np.testing.assert_allclose(result.fit_correlation, one.fit_correlation, atol=1e-4)


def test_the_result_counts_and_marks_what_is_left_out():
    result = similarity(banks(), gray(3))
    assert result.components_without_variance.values.tolist() == [18]
    assert result.sizes["component"] == 27
    for name in ("energy", "eigenvalue", "components"):
        by_component = result[name].sel(stage="trained") if name == "energy" else result[name]
        others = [dim for dim in by_component.dims if dim != "component"]
        known = np.isfinite(by_component).all(others).values
        np.testing.assert_array_equal(known, np.arange(27) < DIMENSIONS)


def test_profiles_of_a_result_can_be_compared_and_fitted_as_they_are():
    result = similarity(banks(), gray(3))
    a, b = result.energy.sel(stage="trained").values[0, :, 0]
    assert profile_similarity(a, b) == pytest.approx(result.similarity.values[0, 0, 0, 0, 1, 0])
    fit = fit_profile(a, result.eigenvalue.values[0])
    expected = result.fit_correlation.sel(stage="trained").values[0, 0, 0]
    assert fit.correlation == pytest.approx(expected)


@pytest.mark.parametrize("scale", [(0.3, 0.5, 0.9), (1e-3, 1.0, 1.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_channels_that_are_multiples_of_one_have_the_components_of_one(scale, dtype):
    images = as_float64(gray()).to(dtype) * torch.tensor(scale, dtype=dtype).view(3, 1, 1)
    with pytest.warns(RepsimWarning, match="18 of 27"):
        assert patch_moments(images, (3, 3)).basis().without_variance == 18


@pytest.mark.parametrize("value", [0, 85, 255])
@pytest.mark.parametrize("kind", [torch.clone, as_float32, as_float64])
def test_a_constant_channel_is_left_out(value, kind):
    images = colored().clone()
    images[:, 1] = value
    with pytest.warns(RepsimWarning, match="9 of 27"):
        basis = patch_moments(kind(images), (3, 3)).basis()
    assert basis.components.shape == (18, 27)
    assert basis.components.view(18, 3, 9)[:, 1].abs().max() < 1e-5
    two = patch_moments(kind(images[:, [0, 2]].contiguous()), (3, 3)).basis()
    torch.testing.assert_close(basis.eigenvalues, two.eigenvalues, rtol=1e-4, atol=1e-7)


def test_a_bank_that_sees_only_what_does_not_vary_has_no_correlation():
    bank = torch.randn(16, 3, 3, 3, generator=torch.Generator().manual_seed(1))
    colors = bank - bank.mean(1, keepdim=True)  # no response to gray
    with pytest.warns(RepsimWarning, match="18 of 27"):
        basis = patch_moments(gray(3), (3, 3)).basis()
    assert energy_profile(colors, basis).max() < 1e-6


def test_images_of_full_rank_lose_nothing(recwarn):
    for images in (colored(), as_float32(colored())):
        assert patch_moments(images, (3, 3)).basis().without_variance == 0
    assert not recwarn.list


def test_a_network_that_is_not_finite_stays_undefined_beside_components_left_out():
    profiles = np.full((2, 5), np.nan)
    profiles[0, :3] = [1.0, 2.0, 4.0]
    with pytest.warns(RepsimWarning):
        assert np.isnan(profile_similarity(*profiles))
    with pytest.warns(RepsimWarning):
        assert np.isnan(profile_similarity([1.0, 2.0, np.nan], [1.0, np.nan, 3.0]))


def test_the_null_interval_is_that_of_the_components_there_are():
    result = similarity(banks(), gray(3))
    low, high = pearson_null_interval(DIMENSIONS)
    assert result.null_low.values[0, 0, 0, 0, 1, 0] == pytest.approx(low)
    assert result.null_high.values[0, 0, 0, 0, 1, 0] == pytest.approx(high)


@pytest.mark.parametrize(
    ("number", "words"),
    [(np.nan, "hold NaN or infinite"), (np.inf, "hold NaN or infinite"), (0, "is undefined")],
)
def test_filters_without_a_profile_are_named_with_their_network(number, words):
    generator = torch.Generator().manual_seed(0)
    banks = {name: torch.randn(8, 3, 3, 3, generator=generator) for name in ("one", "two", "bad")}
    banks["bad"] *= number
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = compare(banks, colored(), "energy", stage="trained")
    said = [*found.attrs["failures"].splitlines(), *(str(one.message) for one in warned)]
    assert any("bad" in line and words in line for line in said)
    assert not any("one" in line.split() or "'one'" in line for line in said)
    pairs = found.similarity.squeeze()
    assert pairs.sel(model="bad").isnull().all()
    assert pairs.sel(model_ref="bad").isnull().all()
    assert bool(pairs.sel(model="one", model_ref="two").notnull())
