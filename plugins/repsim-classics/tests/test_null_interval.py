"""Values of unrelated networks lie in the null interval, and shuffling has known averages."""

import numpy as np
import pytest
from cases import METRICS, ONE_OF_EACH, represent

from repsim_classics.cca import CCA
from repsim_classics.neighbors import MutualKNN


def shuffled_values(metric, a, b, count, seed=7):
    generator = np.random.default_rng(seed)
    return np.array([metric.value(a, metric.shuffle(b, generator)) for _ in range(count)])


@pytest.mark.parametrize("name", [n for n in METRICS if "kendall" not in n and "tau" not in n])
def test_the_interval_holds_95_percent_of_unrelated_values(name, rng):
    """Averaged over networks, because a single interval from 20 shuffles is imprecise."""
    metric, inside = METRICS[name], []
    for _ in range(6):
        a, b = (represent(metric, rng.standard_normal((50, w))) for w in (8, 12))
        low, high = metric.null_interval(a, b)
        values = shuffled_values(metric, a, b, 60)
        inside.append(np.mean((values >= low) & (values <= high)))
    assert 0.85 < np.mean(inside) <= 1
    assert high - low < 1.6 * np.ptp(values)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_alike_networks_lie_outside(name, pair):
    metric = ONE_OF_EACH[name]
    a, b = (represent(metric, features) for features in pair)
    low, high = metric.null_interval(a, b)
    value = metric.compare(a, b)
    assert value > high if metric.direction == "similarity" else value < low


@pytest.mark.parametrize("name", METRICS)
def test_shuffling_is_showing_the_images_in_another_order(name, pair):
    metric = METRICS[name]
    x, y = (features[:40] for features in pair)
    a, b = represent(metric, x), represent(metric, y)
    order = np.random.default_rng(3).permutation(40)
    expected = metric.compare(a, represent(metric, y[order]))
    shuffled = metric.shuffle(b, np.random.default_rng(3))
    assert metric.compare(a, shuffled) == pytest.approx(expected, abs=1e-9)


def test_unrelated_neighbors_are_shared_by_chance(pair):
    metric = MutualKNN(k=7)
    a, b = (represent(metric, features) for features in pair)
    values = shuffled_values(metric, a, b, 400)
    assert values.mean() == pytest.approx(7 / 79, abs=4 * values.std() / 20)


def test_shuffled_directions_correlate_by_chance(pair):
    metric = CCA(statistic="r2")
    a, b = (represent(metric, features) for features in pair)
    values = shuffled_values(metric, a, b, 400)
    assert values.mean() == pytest.approx(14 / 79, abs=4 * values.std() / 20)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_interval_is_the_same_each_time(name, pair):
    metric = ONE_OF_EACH[name]
    a, b = (represent(metric, features) for features in pair)
    assert metric.null_interval(a, b) == metric.null_interval(a, b)
