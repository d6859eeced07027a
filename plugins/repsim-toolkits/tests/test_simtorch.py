"""simtorch: weights through its models, a basis from its images, its plot."""

from __future__ import annotations

import math

import numpy as np
import pytest
import repsim_energy as rs
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

simtorch = pytest.importorskip("simtorch", reason="simtorch is not installed: pip install simtorch")

from conftest import tiny, wide  # noqa: E402
from simtorch.model import SimilarityModel  # noqa: E402
from simtorch.similarity import CKA  # noqa: E402

from repsim_toolkits.simtorch import EnergyProfileCorrelation  # noqa: E402


def model(network):
    return SimilarityModel(network, model_name=type(network).__name__, layers_to_include=["0"])


def test_the_basis_is_that_of_the_images_in_the_loader(images, basis):
    a, b = tiny(2, 3), wide(2, 3)
    loader = DataLoader(TensorDataset(images, torch.zeros(len(images))), batch_size=50)
    compared = EnergyProfileCorrelation(model(a), model(b))
    expected = rs.profile_similarity(
        rs.energy_profile(a[0].weight, basis), rs.energy_profile(b[0].weight, basis)
    )
    assert compared.compute(loader)[0, 0] == pytest.approx(expected, abs=1e-12)


def test_it_stands_beside_the_measures_of_simtorch(images):
    a, b = model(tiny(2, 3)), model(tiny(2, 3))
    loader = DataLoader(TensorDataset(images.float() / 255), batch_size=60)
    energy, cka = EnergyProfileCorrelation(a, b), CKA(a, b)
    assert issubclass(EnergyProfileCorrelation, CKA.__mro__[1])
    for measure in (energy, cka):
        found = measure.compute(loader)
        assert found.shape == (1, 1)
        assert math.isfinite(found[0, 0])


def test_it_is_plotted_by_simtorch(basis):
    compared = EnergyProfileCorrelation(model(tiny(2, 3)), model(wide(2, 3)), basis=basis)
    value = compared.compute()[0, 0]
    axes = compared.plot_similarity()
    assert axes.get_title() == "energy_profile_correlation: Sequential vs Sequential"
    np.testing.assert_allclose(axes.collections[0].get_array().ravel(), [value])


def test_what_cannot_be_compared_is_refused(images):
    seven = nn.Sequential(nn.Conv2d(3, 4, 7))
    with pytest.raises(rs.UsageError, match="neither basis= nor images"):
        EnergyProfileCorrelation(model(tiny(2, 3)), model(tiny(2, 3))).compute()
    with pytest.raises(rs.ShapeError, match="7x7 patches"):
        EnergyProfileCorrelation(model(tiny(2, 3)), model(seven)).compute([(images,)])
    flat = SimilarityModel(nn.Sequential(nn.Linear(3, 3)), layers_to_include=["0"])
    with pytest.raises(rs.UsageError, match="no Conv2d"):
        EnergyProfileCorrelation(flat, flat).compute([(images,)])
