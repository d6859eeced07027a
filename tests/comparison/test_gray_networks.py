"""Networks of gray images on color images: the filters of the luma, ``channels="luma"``."""

import numpy as np
import pytest
import torch
from PIL import Image
from samples import both_splits, noise_images, smooth_images
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.metrics.energy import EnergyProfileCorrelation

LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


@pytest.fixture
def images():
    return smooth_images(torch.Generator().manual_seed(0))


def bank(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_a_gray_filter_responds_to_color_patches_as_to_their_luma():
    """Of pixels by Pillow, through a real forward pass."""
    pixels = noise_images(4, (3, 9, 9)).images
    gray = [Image.fromarray(one.permute(1, 2, 0).numpy()).convert("L") for one in pixels]
    gray = torch.tensor(np.stack([np.asarray(one) for one in gray]))[:, None].float()
    layer = nn.Conv2d(1, 5, 3, bias=False)
    color = nn.functional.conv2d(pixels.float(), layer.weight * LUMA)
    rounding = 0.51 * layer.weight.abs().sum((1, 2, 3)).view(1, -1, 1, 1)
    assert ((layer(gray) - color).abs() <= rounding).all()


@pytest.mark.parametrize("patch", ["auto", "4x5"])
def test_their_energy_is_that_of_the_filters_of_the_luma(patch, images):
    gray = bank(8, 1, 3, 3)
    models = {"gray": gray, "as color": gray * LUMA, "color": bank(8, 3, 3, 3, seed=1)}
    result = rs.compare(models, images, channels={"gray": "luma"}, patch=patch, resamples=0)
    first, second, _ = result.energy.sel(stage="trained").values.reshape(3, -1)
    np.testing.assert_allclose(first, second, 1e-6)
    assert float(result.similarity.values[0, 0, 0, 0, 1, 0]) == pytest.approx(1)
    assert result.channels.values.tolist() == ["luma", "rgb", "rgb"]


def test_their_theory_is_that_of_gray_images(images):
    """The fit is that of the same filters among the gray images themselves."""
    patches = rs.patch_moments(images.images, (3, 3)).basis()
    luma = torch.einsum("ncp,c->np", patches.components.view(-1, 3, 9), LUMA.flatten().double())
    covariance = luma.T @ (patches.eigenvalues[:, None] * luma)
    values, vectors = torch.linalg.eigh(covariance)
    gray = (vectors * values**-0.5).T.reshape(9, 1, 3, 3).float()
    result = rs.compare({"gray": gray}, images, channels="luma", stage="trained")
    fit = result.sel(stage="trained").isel(model=0, dataset=0, seed=0)
    assert float(fit.fit_correlation) > 0.9999
    np.testing.assert_allclose(fit.fit_profile, fit.energy, rtol=0.02)


def test_two_gray_banks_have_an_interval_of_their_own(images):
    banks = {f"{seed}": bank(16, 1, 3, 3, seed=seed) for seed in range(12)}
    banks["color"] = bank(16, 3, 3, 3, seed=20)
    words = dict.fromkeys(list(banks)[:12], "luma")
    result = rs.compare(banks, images, channels=words, null="metric", resamples=0)
    upper = np.triu_indices(12, 1)
    value, low, high = (
        result[name].squeeze(drop=True).values for name in ("similarity", "null_low", "null_high")
    )
    assert 0.87 <= ((low <= value) & (value <= high))[upper].mean() <= 1
    assert (low[upper] > 0.381).all()  # independent gray filters share that they see no color
    assert np.allclose(high[12, :12], rs.pearson_null_interval(27)[1])


def test_other_metrics_receive_filters_of_three_channels(images):
    seen = []

    class Shapes(EnergyProfileCorrelation):
        def represent(self, subject):
            seen.append(tuple(subject.filters.shape))
            return super().represent(subject)

    rs.compare(
        {"gray": bank(4, 1, 3, 3)}, images, Shapes(), channels="luma", null="metric", resamples=0
    )
    assert seen == [(4, 3, 3, 3)]


def test_a_fully_connected_gray_network_sees_whole_images():
    images = noise_images(500, (3, 5, 5))
    net = nn.Sequential(nn.Flatten(), nn.Linear(25, 4))
    whole = (net[1].weight.detach().view(4, 1, 5, 5) * LUMA).contiguous()
    models = {"gray": net, "as color": whole}
    result = rs.compare(models, images, channels={"gray": "luma"}, stage="trained")
    np.testing.assert_allclose(*result.energy.sel(stage="trained").values.reshape(2, -1), 1e-5)


def test_what_is_unclear_is_refused(images):
    gray, color = bank(8, 1, 3, 3), bank(8, 3, 3, 3)
    with pytest.raises(ShapeError, match=r"see 1; .* channels=luma where gray is 0.299 R"):
        rs.compare({"gray": gray, "color": color}, images)
    with pytest.raises(UsageError, match="whose filters see 3 channels, expected 1"):
        rs.compare({"color": color}, images, channels="luma")
    with pytest.raises(UsageError, match="which is for images of 3 channels"):
        rs.compare({"gray": gray}, images.images[:, :1], channels="luma")
    net = nn.Sequential(nn.Conv2d(1, 4, 3))
    with pytest.raises(UsageError, match="which is for metrics on filters; give images of one"):
        rs.compare({"net": net}, both_splits(images), "cka", channels="luma")
