"""Every registered metric keeps to what it declares: what holds is shown, and what does not."""

import numpy as np
import pytest
import torch

from repsim_energy.interfaces import Metric, Subject
from repsim_energy.numerics.patches import patch_moments
from repsim_energy.registry import load_registry, resolve_metric


def turn(n):
    generator = torch.Generator().manual_seed(5)
    return torch.linalg.qr(torch.randn(n, n, generator=generator, dtype=torch.float64))[0]


CHANGES = {
    "permutation": lambda units: units.flip(0),
    "scale": lambda units: 3 * units,
    "orthogonal": lambda units: turn(len(units)) @ units,
    "translation": lambda units: units + torch.arange(1.0, len(units) + 1)[:, None],
    "linear": lambda units: torch.diag(torch.linspace(0.1, 9, len(units)).double()) @ units,
}
"""What can be done to units (filters or features, a row each); metrics declare what they ignore."""


@pytest.fixture(scope="module")
def registry():
    return load_registry(plugins=False)


@pytest.fixture(params=["energy", "energy_profile_correlation", "cka", "cka:estimator=biased"])
def metric(request, registry):
    return resolve_metric(registry, request.param)


@pytest.fixture
def represent(metric, pictures):
    basis = patch_moments(pictures.images, (3, 3)).basis()

    def of(units):
        if metric.operates_on == "filters":
            return metric.represent(Subject(filters=units, basis=basis))
        return metric.represent(Subject(activations=units.T))

    return of


@pytest.fixture
def pair(rng):
    a = torch.randn(12, 27, generator=rng, dtype=torch.float64)
    scale = torch.linspace(2, 0.1, 27).double()
    return a * scale, (0.5 * a + torch.randn(12, 27, generator=rng, dtype=torch.float64)) * scale


def test_a_metric_has_the_whole_interface(metric):
    assert isinstance(metric, Metric)
    assert metric.operates_on in ("filters", "activations")
    assert metric.direction in ("similarity", "distance")
    assert metric.invariances <= set(CHANGES)


@pytest.mark.parametrize("change", CHANGES)
def test_declared_invariances_hold_and_others_fail(metric, represent, pair, change):
    a, b = pair
    before = metric.compare(represent(a), represent(b))
    after = metric.compare(represent(a), represent(CHANGES[change](b)))
    if change in metric.invariances:
        assert after == pytest.approx(before, abs=1e-9)
    else:
        assert abs(after - before) > 1e-3


def test_a_metric_is_symmetric_bounded_and_deterministic(metric, represent, pair):
    a, b = (represent(units) for units in pair)
    kept = a.copy(), b.copy()
    value = metric.compare(a, b)
    assert value == pytest.approx(metric.compare(b, a), abs=1e-12)
    assert metric.bounds[0] - 1e-12 <= value <= metric.bounds[1] + 1e-12
    assert metric.compare(a, a) == pytest.approx(1)
    assert metric.compare(a, b) == value
    assert metric.null_band(a, b) == metric.null_band(a, b)
    assert metric.null_band(a, b)[0] < metric.null_band(a, b)[1]
    np.testing.assert_array_equal(a, kept[0])
    np.testing.assert_array_equal(b, kept[1])


def test_all_pairs_at_once_are_the_pairs_one_by_one(metric, represent, rng):
    if not hasattr(metric, "compare_all"):
        pytest.skip("this metric compares pair by pair")
    banks = [represent(torch.randn(9, 27, generator=rng, dtype=torch.float64)) for _ in range(5)]
    similarity, low, high = metric.compare_all(np.stack(banks))
    for i, a in enumerate(banks):
        for j, b in enumerate(banks):
            assert similarity[i, j] == pytest.approx(metric.compare(a, b), abs=1e-12)
            assert (low[i, j], high[i, j]) == metric.null_band(a, b)
