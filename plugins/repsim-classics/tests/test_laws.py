"""What holds for any features: symmetry, bounds, what is ignored, triangles."""

import numpy as np
import pytest
import repsim_energy as rs
import torch
from cases import METRICS, ONE_OF_EACH, measure, represent, rotation
from hypothesis import given, settings
from hypothesis import strategies as st

from repsim_classics import activations
from repsim_classics.activations import read_rows
from repsim_classics.cca import CCA
from repsim_classics.coordinates import nuclear_norm, principal_coordinates, quick_nuclear_norm
from repsim_classics.procrustes import Procrustes

CLOSE = 1e-7
"""rsatoolbox's Bures similarity takes the roots of eigenvalues that are zero but for rounding."""

SEEDS = st.integers(0, 2**32 - 1)
WIDTHS = st.integers(1, 9)

CHANGES = {
    "permutation": lambda x, seed: np.random.default_rng(seed).permutation(x, axis=1),
    "scale": lambda x, seed: x * 10.0 ** (seed % 13 - 6),
    "orthogonal": lambda x, seed: x @ rotation(x.shape[1], seed),
    "translation": lambda x, seed: x + np.random.default_rng(seed).standard_normal(x.shape[1]),
    "linear": lambda x, seed: x @ (rotation(x.shape[1], seed) * np.linspace(1, 5, x.shape[1])),
}

FAST = [m for name, m in METRICS.items() if "kendall" not in name and "tau" not in name]


def features(seed, width, images=30):
    """Skewed features of different sizes around a mean, as activations are."""
    rng = np.random.default_rng(seed)
    return np.exp(0.7 * rng.standard_normal((images, width))) * rng.uniform(0.3, 3, width)


@given(SEEDS, st.integers(3, 9), st.integers(3, 9))
@settings(max_examples=10, deadline=None)
def test_symmetric_bounded_and_best_for_itself(seed, p, q):
    x, y = features(seed, p), features(seed + 1, q)
    for metric in FAST:
        a, b = represent(metric, x), represent(metric, y)
        value, (low, high) = metric.compare(a, b), metric.bounds
        assert low <= value <= high
        assert value == pytest.approx(metric.compare(b, a), abs=CLOSE)
        best = high if metric.direction == "similarity" else low
        assert metric.compare(a, a) == pytest.approx(best, abs=1e-7)


@given(SEEDS, st.integers(3, 9), st.integers(3, 9))
@settings(max_examples=10, deadline=None)
def test_declared_invariances(seed, p, q):
    x, y = features(seed, p), features(seed + 1, q)
    for metric in FAST:
        before = measure(metric, x, y)
        for name in metric.invariances:
            after = measure(metric, x, CHANGES[name](y, seed))
            assert after == pytest.approx(before, abs=CLOSE), (metric.name, name)


@given(SEEDS, WIDTHS, WIDTHS, WIDTHS)
@settings(max_examples=60, deadline=None)
def test_the_angle_of_procrustes_obeys_the_triangle_inequality(seed, p, q, r):
    metric = Procrustes(form="angular")
    x, y, z = (represent(metric, features(seed + i, w)) for i, w in enumerate((p, q, r)))
    assert metric.compare(x, z) <= metric.compare(x, y) + metric.compare(y, z) + 1e-9


def test_the_squared_distance_of_procrustes_does_not():
    line = np.linspace(-1, 1, 30)[:, None]
    other = np.cos(np.linspace(0, 2 * np.pi, 30))[:, None]
    between = np.hstack((line / np.linalg.norm(line), other / np.linalg.norm(other - other.mean())))
    metric = Procrustes()
    x, y, z = (represent(metric, f) for f in (line, between, other))
    assert metric.compare(x, z) > metric.compare(x, y) + metric.compare(y, z) + 0.1


@given(SEEDS, st.integers(2, 7))
@settings(max_examples=15, deadline=None)
def test_more_axes_than_images_show_nothing_new(seed, width):
    """The same points in a space of 50 dimensions, which is wider than there are images."""
    x, y = features(seed, width), features(seed + 1, 8)
    wide = np.linalg.qr(np.random.default_rng(seed).standard_normal((50, width)))[0]
    for metric in FAST:
        if "orthogonal" in metric.invariances:
            assert measure(metric, x @ wide.T, y) == pytest.approx(measure(metric, x, y), abs=1e-7)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_columns_a_few_at_a_time_are_all_at_once(name, pair, monkeypatch):
    metric = ONE_OF_EACH[name]
    at_once = measure(metric, *pair)
    monkeypatch.setattr(activations, "BLOCK_COLUMNS", 4)
    assert measure(metric, *pair) == pytest.approx(at_once, abs=1e-12)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_maps_are_flattened_in_any_order_of_memory(name):
    metric = ONE_OF_EACH[name]
    maps, others = torch.randn(2, 60, 3, 4, 2, generator=torch.Generator().manual_seed(1))
    others += maps
    flat = measure(metric, maps.flatten(1), others.flatten(1))
    assert measure(metric, maps, others) == flat
    last = maps.contiguous(memory_format=torch.channels_last)
    assert measure(metric, last, others) == pytest.approx(flat, abs=1e-6)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_float32_is_float64_and_size_does_not_count(name, pair):
    metric = ONE_OF_EACH[name]
    exact = measure(metric, *pair)
    single = [f.astype(np.float32) for f in pair]
    assert measure(metric, *single) == pytest.approx(exact, abs=2e-5)
    for size in (1e-30, 1e30):
        scaled = single[0] * np.float32(size)
        assert measure(metric, scaled, single[1]) == pytest.approx(exact, abs=2e-5)
    for size in (1e-250, 1e250):
        assert measure(metric, pair[0] * size, pair[1]) == pytest.approx(exact, abs=1e-9)


@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize("width", [40, 300])
def test_rounding_is_no_direction(width, offset, rng):
    """A layer behind a bottleneck has the rank of the bottleneck, whatever its arithmetic adds."""
    narrow = torch.as_tensor(rng.standard_normal((200, 7))).float()
    wide = narrow @ torch.as_tensor(rng.standard_normal((7, width))).float() + offset
    basis, sizes = principal_coordinates(read_rows(rs.Activations(wide), "", 3))
    assert basis.shape == (200, 7)
    np.testing.assert_allclose(basis.T @ basis, np.eye(7), atol=1e-10)
    assert measure(CCA(), wide, narrow) == pytest.approx(1, abs=1e-4)


def test_the_quick_nuclear_norm_is_the_nuclear_norm(rng):
    for shape in ((5, 9), (9, 5), (7, 7)):
        matrix = rng.standard_normal(shape)
        assert quick_nuclear_norm(matrix) == pytest.approx(nuclear_norm(matrix), rel=1e-9)


def test_unrelated_directions_have_known_canonical_correlations(rng):
    """Squared correlations of p and q directions among n images have mean max(p, q) / (n - 1)."""
    metric = CCA(statistic="r2")
    found = [measure(metric, *(rng.standard_normal((50, w)) for w in (6, 11))) for _ in range(300)]
    assert np.mean(found) == pytest.approx(11 / 49, abs=4 * np.std(found) / np.sqrt(300))
