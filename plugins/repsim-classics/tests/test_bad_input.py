"""What has no answer is NaN with a warning, or one line that says what to do."""

import math

import numpy as np
import pytest
import repsim_energy as rs
import torch
from cases import METRICS, ONE_OF_EACH, measure, represent

from repsim_classics.cca import CCA, PWCCA, SVCCA
from repsim_classics.neighbors import MutualKNN
from repsim_classics.procrustes import Procrustes
from repsim_classics.rbf_cka import RBFCKA
from repsim_classics.rsa import RSA

every = pytest.mark.parametrize("name", ONE_OF_EACH)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def undefined(metric, features, words):
    """Assert that a warning says why there is no value, and both ends of the interval are NaN."""
    with pytest.warns(rs.RepsimWarning, match=words):
        representation = represent(metric, features)
    other = represent(metric, randn(len(features), 5, seed=1))
    for pair in ((representation, other), (other, representation)):
        assert math.isnan(metric.compare(*pair))
        assert all(math.isnan(end) for end in metric.null_interval(*pair))


@every
@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, -1e30])
def test_constant_activations_have_no_value(name, value):
    undefined(ONE_OF_EACH[name], torch.full((60, 7), value), "reported as NaN")


@every
@pytest.mark.parametrize("width", [7, 300])
def test_activations_that_are_constant_but_for_rounding_have_no_value(name, width):
    constant = torch.full((60, width), 0.1) * (1 + 1e-7 * randn(60, width))
    undefined(ONE_OF_EACH[name], constant, "reported as NaN")


@every
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(name, value):
    features = randn(60, 7)
    features[3, 2] = value
    with pytest.raises(rs.DataError, match="NaN or infinite values, expected finite"):
        represent(ONE_OF_EACH[name], features)


@every
def test_other_images_are_refused(name):
    metric = ONE_OF_EACH[name]
    a, b = represent(metric, randn(60, 7)), represent(metric, randn(50, 7))
    for method in (metric.compare, metric.null_interval):
        with pytest.raises(rs.ShapeError, match="show both networks the same images"):
            method(a, b)


@every
def test_too_few_images_and_wrong_shapes_are_refused(name):
    metric = ONE_OF_EACH[name]
    with pytest.raises(rs.DataError, match=f"got 2 images, expected at least . for {name}"):
        represent(metric, randn(2, 7))
    with pytest.raises(rs.ShapeError, match="expected \\(images, ...\\)"):
        represent(metric, randn(60))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Procrustes(form="round"), "form is 'round', expected squared or angular"),
        (lambda: CCA(statistic="median"), "statistic is 'median', expected mean or r2"),
        (lambda: SVCCA(variance=0), "variance is 0, expected above 0 and at most 1"),
        (lambda: SVCCA(variance=99), "variance is 99, expected"),
        (lambda: SVCCA(variance=math.nan), "variance is nan"),
        (lambda: MutualKNN(k=0), "k is 0, expected at least 1"),
        (lambda: MutualKNN(distance="taxi"), "distance is 'taxi', expected cosine or euclidean"),
        (lambda: RBFCKA(bandwidth=0), "bandwidth is 0, expected a number above 0"),
        (lambda: RBFCKA(bandwidth=math.nan), "bandwidth is nan"),
        (lambda: RBFCKA(estimator="best"), "estimator is 'best', expected debiased or biased"),
        (lambda: RSA(method="neg_riem_dist"), "method is 'neg_riem_dist', expected spearman or"),
        (lambda: RSA(dissimilarity="poisson"), "dissimilarity is 'poisson', expected correlation"),
    ],
)
def test_wrong_options_are_refused_in_one_line(make, words):
    with pytest.raises(rs.UsageError, match=words) as refused:
        make()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("metric", [CCA(), SVCCA(variance=1.0), PWCCA()], ids=lambda m: m.name)
@pytest.mark.parametrize("width", [59, 60, 200])
def test_as_many_directions_as_images_have_no_canonical_correlations(metric, width):
    """Every one of them would be 1, also with pure noise."""
    undefined(metric, randn(60, width), "60 images .*show more images")


@pytest.mark.parametrize("metric", [CCA(), PWCCA()], ids=lambda m: m.name)
def test_correlations_that_are_1_by_counting_are_said(metric):
    a, b = represent(metric, randn(60, 40)), represent(metric, randn(60, 30, seed=1))
    with pytest.warns(rs.RepsimWarning, match=r"11 of 30 canonical .* more than 70 images"):
        value = metric.compare(a, b)
    assert value > 0.7
    assert sum(np.linalg.svd(metric._basis(a).T @ metric._basis(b))[1] > 1 - 1e-9) == 11


@pytest.mark.parametrize("k", [59, 60, 100])
def test_neighbors_that_are_all_others_are_refused(k):
    with pytest.raises(rs.UsageError, match=f"k is {k} of 60 images, expected at most 58"):
        represent(MutualKNN(k=k), randn(60, 7))


def test_images_without_direction_have_no_cosine():
    features = randn(60, 7)
    features[[4, 9]] = 0
    undefined(MutualKNN(), features, "2 of 60 images have activations of zero alone")
    features[9] = 1
    assert measure(MutualKNN(distance="euclidean"), features, features) == 1


def test_neighbors_that_are_equally_near_are_said():
    one_hot = torch.eye(3).repeat(20, 1)
    for metric in (MutualKNN(k=5), MutualKNN(k=5, distance="euclidean")):
        with pytest.warns(rs.RepsimWarning, match="60 of 60 images have several .* in place 5"):
            represent(metric, one_hot)


def test_equal_features_of_an_image_correlate_with_nothing():
    features = randn(60, 7)
    features[5] = 0.3
    undefined(RSA(), features, "some images have equal activations in all features")
    undefined(RSA(), randn(60, 1), "some images have equal activations in all features")
    assert measure(RSA(dissimilarity="euclidean"), features, features) == pytest.approx(1)


def test_rdms_that_are_constant_have_no_correlation():
    """rsatoolbox itself gives 0 here."""
    corners = torch.eye(60)
    for name, metric in METRICS.items():
        if name.startswith("rsa") and metric.dissimilarity == "euclidean":
            if metric.method in ("cosine", "cosine_cov", "bures"):
                assert measure(metric, corners, corners) == pytest.approx(1)
            else:
                undefined(metric, corners, "equally far apart")


def test_kernels_without_a_width_or_a_pattern_have_no_value():
    mostly_off = torch.zeros(60, 7)
    mostly_off[:10] = randn(10, 7)
    undefined(RBFCKA(), mostly_off, "more than half of the distances")
    with pytest.warns(rs.RepsimWarning, match=r"bandwidth 0.001 is the same for all pairs"):
        assert math.isnan(measure(RBFCKA(bandwidth=1e-3), randn(60, 7), randn(60, 7)))
