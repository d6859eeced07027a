"""Covariances of filters: what they depend on, closed forms, and other programs."""

import numpy as np
import pytest
import scipy.linalg
import torch
from scipy.special import beta

import repsim_energy as rs
from repsim_energy.numerics.covariance.matrix import (
    diagonality,
    effective_rank,
    independent_diagonality,
    misalignment_or_nan,
)
from repsim_energy.numerics.covariance.null import (
    covariance_null_interval,
    misalignment_null_interval,
)
from repsim_energy.numerics.covariance.similarity import covariance_values

KINDS = ("cosine", "bures", "operator")
DRAW = torch.Generator().manual_seed(0)
BASIS = rs.patch_moments(
    torch.randn(40, 3, 12, 12, generator=DRAW, dtype=torch.float64).cumsum(2).cumsum(3), (3, 3)
).basis()


def white(count, seed, components=27):
    return np.random.default_rng(seed).standard_normal((count, components))


def covariance_of(responses):
    """The covariance of filters with these responses to the components of the basis."""
    return rs.filter_covariance(responses @ BASIS.components.numpy(), BASIS)


def test_it_is_the_mean_outer_product_of_responses():
    filters = torch.randn(9, 3, 3, 3, generator=DRAW)
    expected = np.zeros((27, 27))
    for w in filters.flatten(1).double().numpy():
        responses = [w @ u for u in BASIS.components.numpy()]
        for i in range(27):
            for j in range(27):
                expected[i, j] += responses[i] * responses[j] / 9
    found = rs.filter_covariance(filters, BASIS)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(found, found.T)
    profile = rs.energy_profile(filters, BASIS)
    np.testing.assert_allclose(np.sqrt(np.diag(found)), profile, rtol=1e-12)


def test_banks_of_one_profile_can_differ_in_all_that_the_profile_leaves_out():
    responses = white(36, 8)
    random = np.random.default_rng(1)
    others = np.stack([random.permutation(column) for column in responses.T], axis=1)
    banks = [part @ BASIS.components.numpy() for part in (responses, others)]
    profiles = [rs.energy_profile(bank, BASIS) for bank in banks]
    assert rs.profile_similarity(*profiles) == pytest.approx(1, abs=1e-12)
    one, other = (rs.filter_covariance(bank, BASIS) for bank in banks)
    assert rs.compare_covariances(one, other) == pytest.approx(0.59, abs=0.02)
    above = np.triu_indices(27, 1)
    assert abs(np.corrcoef(one[above], other[above])[0, 1]) < 0.1


@pytest.mark.parametrize("kind", KINDS)
def test_order_signs_mixing_and_scale_of_filters_do_not_matter(kind):
    responses, other = white(40, 0) * np.geomspace(3, 0.1, 27), covariance_of(white(50, 1))
    random = np.random.default_rng(2)
    mixing = np.linalg.qr(random.standard_normal((40, 40)))[0]
    value = rs.compare_covariances(covariance_of(responses), other, kind=kind)
    for same in (
        random.permutation(responses),
        responses * random.choice([-1, 1], (40, 1)),
        mixing @ responses,
        1e-6 * responses,
        np.repeat(responses, 3, axis=0),
    ):
        again = rs.compare_covariances(covariance_of(same), other, kind=kind)
        assert again == pytest.approx(value, abs=1e-10)
        assert rs.compare_covariances(other, covariance_of(same), kind=kind) == pytest.approx(
            value, abs=1e-10
        )
        itself = rs.compare_covariances(covariance_of(responses), covariance_of(same), kind=kind)
        assert itself == pytest.approx(float(kind != "operator"), abs=1e-7)


@pytest.mark.parametrize("filters", [9, 40])
def test_bures_is_that_of_matrix_square_roots(filters):
    a, b = (covariance_of(white(filters, seed) * np.geomspace(2, 0.3, 27)) for seed in (0, 1))
    a, b = (c + 1e-9 * np.eye(27) for c in (a, b))  # sqrtm needs it for few filters
    root = scipy.linalg.sqrtm(a)
    fidelity = np.trace(scipy.linalg.sqrtm(root @ b @ root)).real
    expected = fidelity / np.sqrt(np.trace(a) * np.trace(b))
    assert rs.compare_covariances(a, b, kind="bures") == pytest.approx(expected, abs=1e-7)


def test_the_operator_distance_is_that_to_a_reference_of_norm_one():
    a, b = (covariance_of(white(40, seed)) for seed in (0, 1))
    a, b = (c / np.linalg.norm(c, 2) for c in (a, b))
    expected = np.linalg.norm(a - b, 2) / np.linalg.norm(b, 2)
    assert rs.compare_covariances(5 * a, b / 3, kind="operator") == pytest.approx(expected)


def test_diagonal_covariances_are_compared_as_their_diagonals():
    a, b = np.random.default_rng(0).random((2, 27)) + 0.1
    cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
    bures = np.sqrt(a * b).sum() / np.sqrt(a.sum() * b.sum())
    operator = np.abs(a / a.max() - b / b.max()).max()
    for kind, expected in zip(KINDS, (cosine, bures, operator), strict=True):
        found = rs.compare_covariances(np.diag(a), np.diag(b), kind=kind)
        assert found == pytest.approx(expected, abs=1e-12)
    assert diagonality(np.diag(a)) == pytest.approx(1, abs=1e-15)
    assert misalignment_or_nan(np.diag(a)) == pytest.approx(0, abs=1e-6)
    assert effective_rank(np.diag(a)) == pytest.approx(a.sum() ** 2 / (a @ a))


def test_orthogonal_banks_have_nothing_in_common():
    a, b = np.diag([1.0, 2, 0, 0]), np.diag([0, 0, 3.0, 1])
    assert [rs.compare_covariances(a, b, kind=kind) for kind in KINDS] == [0, 0, 1]
    assert effective_rank(np.outer([3.0, 4], [3.0, 4])) == pytest.approx(1)


@pytest.mark.parametrize("kind", KINDS)
def test_all_pairs_at_once_are_the_pairs_one_by_one(kind):
    stack = np.stack([covariance_of(white(count, count)) for count in (8, 30, 64, 200)])
    found = covariance_values(stack, kind)
    for i, a in enumerate(stack):
        for j, b in enumerate(stack):
            assert found[i, j] == pytest.approx(rs.compare_covariances(a, b, kind=kind), abs=1e-12)


def test_misalignment_is_that_of_the_inverse_and_free_of_scale():
    c = covariance_of(white(64, 3) * np.geomspace(2, 0.1, 27))
    inverse = np.linalg.inv(c)
    expected = np.sqrt((np.sqrt(np.diag(c) * np.diag(inverse)) - 1).sum())
    assert rs.misalignment(c) == pytest.approx(expected, rel=1e-9)
    assert rs.misalignment(1e-8 * c) == pytest.approx(expected, rel=1e-9)
    scales = np.diag(np.geomspace(1, 5, 27))  # a scale for each component
    assert rs.misalignment(scales @ c @ scales) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("filters", "about"), [(32, 6.6), (64, 2.85), (128, 1.81), (1000, 0.6)])
def test_the_misalignment_of_white_filters_depends_on_their_number(filters, about):
    """1 / (C_ii (C^-1)_ii) has a beta distribution, from which the mean of M² follows."""
    half = (filters - 27 + 1) / 2
    mean_root = beta(half - 0.5, 13) / beta(half, 13)
    exact = np.sqrt(27 * (mean_root - 1))
    assert exact == pytest.approx(about, abs=0.05)
    found = np.array([misalignment_or_nan(covariance_of(white(filters, s))) for s in range(150)])
    assert np.sqrt(np.square(found).mean()) == pytest.approx(exact, rel=0.03)
    low, high = misalignment_null_interval(filters, 27)
    assert 0.9 <= np.mean((low < found) & (found < high)) <= 0.99


@pytest.mark.parametrize("scales", [np.ones(27), np.geomspace(1, 0.03, 27)])
def test_the_diagonality_of_independent_responses_has_a_closed_form(scales):
    drawn = [covariance_of(white(32, seed) * scales) for seed in range(200)]
    components = np.square(scales).sum() ** 2 / np.power(scales, 4).sum()
    mean = np.mean([diagonality(covariance) for covariance in drawn])
    assert mean == pytest.approx(34 / (33 + components), abs=0.02)
    estimates = [independent_diagonality(covariance, 32) for covariance in drawn]
    assert np.mean(estimates) == pytest.approx(mean, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_the_null_interval_contains_pairs_of_white_banks(kind):
    low, high = covariance_null_interval(64, 32, 27, kind)
    assert (low, high) == covariance_null_interval(32, 64, 27, kind)
    found = [
        rs.compare_covariances(
            covariance_of(white(64, seed)), covariance_of(white(32, 1000 + seed)), kind=kind
        )
        for seed in range(200)
    ]
    assert 0.9 <= np.mean([low < value < high for value in found]) <= 0.99


@pytest.mark.parametrize(
    "covariance",
    [
        covariance_of(white(26, 0)),
        covariance_of(np.float32(white(20, 0))),
        covariance_of(np.repeat(white(20, 0), 3, axis=0)),
        np.zeros((3, 3)),
        np.diag([np.inf, 1.0]),
    ],
    ids=["few", "few in float32", "equal", "zero", "infinite"],
)
def test_the_misalignment_of_a_singular_covariance_is_undefined(covariance):
    with pytest.warns(rs.SingularCovarianceWarning, match="no inverse"):
        assert np.isnan(rs.misalignment(covariance))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 2)), np.full((2, 2), np.inf), np.full((2, 2), np.nan)]
)
def test_a_covariance_of_zeros_or_without_numbers_has_no_similarity(kind, wrong):
    with pytest.warns(rs.UndefinedSimilarityWarning, match="zero or not finite"):
        assert np.isnan(rs.compare_covariances(np.eye(2), wrong, kind=kind))


def test_components_without_variance_are_left_out():
    a, b = (covariance_of(white(40, seed)) for seed in (0, 1))
    padded = [np.pad(c, (0, 2), constant_values=np.nan) for c in (a, b)]
    assert rs.compare_covariances(*padded) == rs.compare_covariances(a, b)
    assert rs.misalignment(padded[0]) == rs.misalignment(a)


@pytest.mark.parametrize("shape", [(3,), (2, 3), (2, 2, 2), (0, 0)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(rs.ShapeError, match=r"expected \(r, r\)"):
        rs.misalignment(np.ones(shape))
    with pytest.raises(rs.ShapeError, match=r"expected \(r, r\)"):
        rs.compare_covariances(np.eye(3), np.ones(shape))


def test_other_sizes_and_kinds_are_refused():
    with pytest.raises(rs.ShapeError, match="measure both on one basis"):
        rs.compare_covariances(np.eye(3), np.eye(4))
    with pytest.raises(rs.UsageError, match="unknown kind of covariance similarity 'burs'"):
        rs.compare_covariances(np.eye(3), np.eye(3), kind="burs")
    with pytest.raises(rs.ShapeError, match="filters see"):
        rs.filter_covariance(torch.ones(4, 1, 3, 3), BASIS)
