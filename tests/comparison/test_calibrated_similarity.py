"""Scores, p-values and thresholds are those of calibrated-similarity, up to its 200 shuffles."""

import numpy as np
import pytest
import torch
from samples import Net

import repsim_energy as rs

pytest.importorskip(
    "calibrated_similarity",
    reason="the package calibrated-similarity is an oracle of the extra test",
)
from calibrated_similarity import calibrate, calibrate_layers  # noqa: E402

N = 60


class Rows(torch.nn.Module):
    """A linear layer on the pixels of an image."""

    def __init__(self, weights):
        super().__init__()
        self.weights = torch.nn.Parameter(weights)

    def forward(self, images):
        return images.flatten(1) @ self.weights


def network(weights):
    """Two layers of features of an image, one after the other."""
    first, second = weights
    return Net(lambda self, x: self.high(self.low(x)), low=Rows(first), high=Rows(second))


@pytest.fixture(scope="module")
def case():
    """Two networks that share some features, the images, and the activations of their layers."""
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(N, 3, 6, 6, generator=generator)
    shared = torch.randn(108, 1, generator=generator)
    networks = {}
    for name in "ab":
        own = torch.randn(108, 7, generator=generator)
        first = torch.cat([0.6 * shared, own], 1) / 4
        networks[name] = (first, torch.randn(8, 5, generator=generator))
    rows = (images - 0.5).flatten(1)
    activations = {name: [rows @ one, rows @ one @ two] for name, (one, two) in networks.items()}
    modules = {name: network(weights) for name, weights in networks.items()}
    result = rs.compare(
        modules,
        images,
        "cka:estimator=biased",
        layers=["low", "high"],
        images=N,
        normalize="0.5/1",
        null="permutation",
    )
    return result, activations


def cka(x, y):
    """Biased linear CKA, written out."""
    x, y = (f.double() - f.double().mean(0) for f in (x, y))
    return ((x.T @ y).norm() / (x.T @ x).norm() * ((x.T @ y).norm() / (y.T @ y).norm())).float()


def close(ours, theirs, error):
    score, p, threshold = theirs
    # the standard deviation of a share of 200 shuffles, and of a difference of two of them
    assert ours["p"] == pytest.approx(float(p), abs=4 * np.sqrt(2 * 0.25 / 200))
    if min(ours["p"], float(p)) < 0.02:
        assert abs(ours["p"] - float(p)) < 0.04
    assert ours["threshold"] == pytest.approx(float(threshold), abs=error)
    assert max(0.0, ours["score"]) == pytest.approx(float(score), abs=2 * error)


def numbers(result, prefix, **where):
    names = {"p": "p_value", "threshold": "null_threshold", "score": "calibrated"}
    found = result.sel(model="a", model_ref="b", **where).squeeze(drop=True)
    return {key: float(found[prefix + name]) for key, name in names.items()}


@pytest.mark.parametrize("layer", [0, 1])
def test_each_pair_of_layers(layer, case):
    result, activations = case
    theirs = calibrate(
        activations["a"][layer],
        activations["b"][layer],
        cka,
        generator=torch.Generator().manual_seed(1),
    )
    name = ["low", "high"][layer]
    where = {"model": "a", "model_ref": "b", "layer": name, "layer_ref": name}
    low, high = (result[f"null_{end}"].sel(where).item() for end in ("low", "high"))
    spread = high - low
    close(numbers(result, "", layer=name, layer_ref=name), theirs, 0.35 * spread)


def test_the_best_pair_of_layers(case):
    result, activations = case
    theirs = calibrate_layers(
        activations["a"], activations["b"], cka, generator=torch.Generator().manual_seed(1)
    )
    spread = float((result.null_high - result.null_low).sel(model="a", model_ref="b").max())
    close(numbers(result, "best_"), theirs, 0.35 * spread)
