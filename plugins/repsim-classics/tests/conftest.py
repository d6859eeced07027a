"""A cache of their own, alike features, the data of a published demo, small images."""

import numpy as np
import pytest
import repsim_energy as rs
import torch


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.delenv("REPSIM_NO_PLUGINS", raising=False)


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def pair(rng):
    """80 images in two alike networks of 9 and 14 units that are correlated among themselves."""
    x = rng.standard_normal((80, 9)) @ rng.standard_normal((9, 9))
    return x, x @ rng.standard_normal((9, 14)) + 4 * rng.standard_normal((80, 14)) + 3


@pytest.fixture
def demo():
    """The data of google-research/representation_similarity/Demo.ipynb."""
    random = np.random.RandomState(1337)  # noqa: NPY002 (what the demo drew from)
    x = random.randn(100, 10)
    return x, random.randn(100, 10) + x


@pytest.fixture
def pictures():
    """60 smooth color images of 12x12 pixels in three classes."""
    noise = torch.randn(60, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    smooth = torch.nn.functional.avg_pool2d(noise, 5, stride=1)
    pixels = ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).to(torch.uint8)
    return rs.ImageSet(pixels, torch.arange(60) % 3, ("a", "b", "c"), "pictures")
