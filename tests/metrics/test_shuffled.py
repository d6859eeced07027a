"""The null interval by shuffling, and what a metric on top of it need not do itself."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import t

import repsim_energy as rs


class Alignment(rs.ShuffledMetric):
    """The product of unit-length unbiased Gram matrices: debiased linear CKA."""

    name = "alignment"
    bounds = (-1.0, 1.0)
    invariances = frozenset({"permutation", "scale", "orthogonal", "translation"})

    def represent(self, subject):
        rows = rs.flatten_activations(subject.values)
        matrix = rs.unbiased_gram(rs.centered_gram(rows)).numpy()
        if np.abs(matrix).max() < 1e-9:
            return self.undefined(matrix.shape, "activations are the same for all images")
        return matrix / np.linalg.norm(matrix)

    def value(self, a, b):
        return float(np.clip(np.vdot(a, b), -1, 1))

    def shuffle(self, representation, generator):
        order = generator.permutation(len(representation))
        return representation[np.ix_(order, order)]


class RowAngles(rs.ShuffledMetric):
    """The mean cosine of rows, whose representation needs no shuffle of its own."""

    name = "row_angles"
    direction = "distance"
    bounds = (0.0, 2.0)
    invariances = frozenset({"scale"})

    def represent(self, subject):
        rows = rs.flatten_activations(subject.values).double().numpy()
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def value(self, a, b):
        return float(1 - (a * b).sum(1).mean())


def drawn(seed, n=50, d=6):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def represent(metric, values):
    return metric.represent(rs.Activations(values))


def test_a_metric_of_public_pieces_keeps_the_rules_and_is_cka():
    rs.testing.check_metric(Alignment())
    x, y = drawn(0), drawn(0) + drawn(1)
    metric = Alignment()
    found = metric.compare(represent(metric, x), represent(metric, y))
    assert found == pytest.approx(rs.cka(x, y), abs=1e-12)


def test_the_interval_is_students_for_one_more_of_twenty_shuffles():
    metric = Alignment()
    a, b = represent(metric, drawn(0)), represent(metric, drawn(1))
    generator = np.random.default_rng(0)
    values = []
    for _ in range(20):
        order = generator.permutation(50)
        values.append((a * b[np.ix_(order, order)]).sum())
    reach = t.ppf(0.975, 19) * np.std(values, ddof=1) * math.sqrt(21 / 20)
    expected = (np.mean(values) - reach, np.mean(values) + reach)
    assert metric.null_interval(a, b) == pytest.approx(expected, abs=1e-12)
    assert metric.null_interval(a, b) == metric.null_interval(a, b)


def test_95_percent_of_unrelated_values_lie_inside():
    metric, inside = RowAngles(), []
    for seed in range(20):
        a, b = represent(metric, drawn(seed)), represent(metric, drawn(100 + seed))
        low, high = metric.null_interval(a, b)
        rng = np.random.default_rng(7)
        values = [metric.value(a, b[rng.permutation(50)]) for _ in range(100)]
        inside.append(np.mean([low <= value <= high for value in values]))
    assert 0.9 < np.mean(inside) < 0.99


def test_the_interval_stays_within_the_bounds():
    metric = RowAngles()
    metric.bounds = (0.95, 1.0)
    a, b = represent(metric, drawn(0)), represent(metric, drawn(1))
    assert metric.null_interval(a, b) == (0.95, 1.0)


def test_an_undefined_representation_makes_all_its_values_nan():
    metric = Alignment()
    with pytest.warns(rs.UndefinedSimilarityWarning, match="same for all images; reported as NaN"):
        a = represent(metric, torch.ones(50, 6))
    b = represent(metric, drawn(0))
    for pair in ((a, b), (b, a), (a, a)):
        assert math.isnan(metric.compare(*pair))
        assert all(map(math.isnan, metric.null_interval(*pair)))


def test_representations_of_other_images_are_refused():
    metric = RowAngles()
    a, b = represent(metric, drawn(0)), represent(metric, drawn(1, n=49))
    for method in (metric.compare, metric.null_interval):
        with pytest.raises(rs.ShapeError, match="50 and 49 rows"):
            method(a, b)
