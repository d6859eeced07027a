"""Networks, banks and results that the tests share, and adapters by toolkit."""

from __future__ import annotations

import importlib
import sys

import matplotlib

matplotlib.use("Agg")

import pytest
import repsim_energy as rs
import torch
from torch import nn


def tiny(num_classes, in_channels, *, width=16):
    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, num_classes),
    )


def wide(num_classes, in_channels):
    return tiny(num_classes, in_channels, width=32)


def normal(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="session")
def images():
    """120 images whose neighboring pixels agree, so that components differ in variance."""
    coarse = normal(120, 3, 6, 6, seed=1)
    smooth = nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    return ((smooth.clamp(-2, 2) + 2) * 63).to(torch.uint8)


@pytest.fixture(scope="session")
def basis(images):
    return rs.patch_moments(images, (3, 3)).basis()


@pytest.fixture(scope="session")
def banks(basis):
    """Four banks of different width whose profiles are neither flat nor alike."""
    scales = basis.eigenvalues.clamp(min=1e-6)
    return [
        (normal(k, 27, seed=k) * scales**power @ basis.components).float().reshape(k, 3, 3, 3)
        for k, power in ((4, 0.5), (8, 0.1), (16, -0.2), (16, 0.0))
    ]


@pytest.fixture(scope="session")
def result(images):
    """Two trained models by two seeds and a bank, which stands at the first seed alone."""
    models = {"tiny": tiny, "wide": wide, "bank": normal(8, 3, 3, 3, seed=5)}
    labels = torch.arange(len(images)) % 2
    with pytest.warns(rs.RepsimWarning, match="of its own initialization"):  # five steps are few
        return rs.compare(models, (images, labels), seeds=2, recipe="quick:steps=5")


@pytest.fixture(scope="session")
def cka_result(images):
    pictures = rs.ImageSet(images, torch.arange(len(images)) % 2, ("a", "b"), "images")
    return rs.compare(
        {"tiny": tiny, "wide": wide},
        rs.Dataset("images", pictures, pictures),
        metric="cka",
        seeds=2,
        recipe="quick:steps=5",
        layers=["0", "output"],
        images=100,
    )


@pytest.fixture
def adapter(monkeypatch):
    """Return a function that imports an adapter on its real toolkit or on given stand-ins."""
    before = {}

    def import_anew(name, stand_ins=None):
        module = f"repsim_toolkits.{name}"
        before.setdefault(module, sys.modules.pop(module, None))
        for top in stand_ins or {}:
            monkeypatch.setitem(sys.modules, top, stand_ins[top])
        try:
            return importlib.import_module(module)
        except rs.UsageError as error:
            if stand_ins is not None:
                raise
            pytest.skip(f"not run on the real toolkit: {error}")

    yield import_anew
    for module, old in before.items():
        sys.modules.pop(module, None)
        if old is not None:
            sys.modules[module] = old
