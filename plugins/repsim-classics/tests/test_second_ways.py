"""Each value by another road: other libraries, other decompositions, slow loops."""

import itertools
import math

import numpy as np
import pytest
import rsatoolbox
import scipy.linalg
import scipy.spatial
import scipy.stats
from cases import measure, represent
from scipy.spatial.distance import pdist, squareform
from sklearn.cross_decomposition import CCA as SklearnCCA
from sklearn.neighbors import NearestNeighbors

from repsim_classics.cca import CCA, PWCCA, SVCCA
from repsim_classics.neighbors import MutualKNN
from repsim_classics.procrustes import Procrustes
from repsim_classics.rbf_cka import RBFCKA
from repsim_classics.rsa import RSA


def centered(x):
    return x - x.mean(0)


def canonical_correlations(x, y):
    """By the generalized eigenvalue problem of the covariances, which needs no basis."""
    x, y = centered(x), centered(y)
    p, q = x.shape[1], y.shape[1]
    cross = np.zeros((p + q, p + q))
    cross[:p, p:] = x.T @ y
    own = scipy.linalg.block_diag(x.T @ x, y.T @ y)
    return scipy.linalg.eigh(cross + cross.T, own, eigvals_only=True)[::-1][: min(p, q)]


def test_procrustes_is_what_the_best_rotation_leaves(pair):
    x, y = (centered(f) / np.linalg.norm(centered(f)) for f in pair)
    x = np.pad(x, ((0, 0), (0, 5)))
    turn, _ = scipy.linalg.orthogonal_procrustes(y, x)
    left = np.square(x - y @ turn).sum()
    assert measure(Procrustes(), *pair) == pytest.approx(left, abs=1e-12)


def test_procrustes_is_scipys_disparity_without_the_free_scale(pair):
    disparity = scipy.spatial.procrustes(np.pad(pair[0], ((0, 0), (0, 5))), pair[1])[2]
    angle = measure(Procrustes(form="angular"), *pair)
    assert math.sin(angle) ** 2 == pytest.approx(disparity, abs=1e-12)
    assert 2 - 2 * math.cos(angle) == pytest.approx(measure(Procrustes(), *pair), abs=1e-12)


def test_procrustes_is_rsatoolboxs_bures_similarity(pair):
    rdms = [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(f)) for f in pair]
    bures = rsatoolbox.rdm.compare(*rdms, "bures").item()
    assert 1 - measure(Procrustes(), *pair) / 2 == pytest.approx(bures, abs=1e-6)


def test_cca_by_the_eigenvalues_of_covariances(pair):
    found = canonical_correlations(*pair)
    assert measure(CCA(), *pair) == pytest.approx(found.mean(), abs=1e-12)
    assert measure(CCA(statistic="r2"), *pair) == pytest.approx((found**2).mean(), abs=1e-12)


def test_cca_by_qr_and_by_sklearn(pair):
    q, r = (np.linalg.qr(centered(f))[0] for f in pair)
    assert measure(CCA(), *pair) == pytest.approx(np.linalg.norm(q.T @ r, "nuc") / 9, abs=1e-12)
    u, v = SklearnCCA(9, max_iter=20_000, tol=1e-14).fit_transform(*pair)
    found = [np.corrcoef(u[:, i], v[:, i])[0, 1] for i in range(9)]
    assert measure(CCA(), *pair) == pytest.approx(np.mean(found), abs=1e-9)


def test_squared_cca_is_the_variance_that_a_regression_explains(pair):
    """Of whitened features, which have the same canonical correlations."""
    x, y = (np.linalg.qr(centered(f))[0] for f in pair)
    residuals = x - y @ scipy.linalg.lstsq(y, x)[0]
    explained = 1 - np.square(residuals).sum() / np.square(x).sum()
    assert measure(CCA(statistic="r2"), *pair) == pytest.approx(explained, abs=1e-12)


@pytest.mark.parametrize("variance", [0.3, 0.9, 0.99])
def test_svcca_is_cca_of_leading_eigenvectors(pair, variance):
    kept = []
    for features in pair:
        values, vectors = np.linalg.eigh(np.cov(features.T))
        values, vectors = values[::-1], vectors[:, ::-1]
        count = next(k for k in range(1, 99) if values[:k].sum() / values.sum() >= variance)
        kept.append(centered(features) @ vectors[:, :count])
    found = canonical_correlations(*kept).mean()
    assert measure(SVCCA(variance=variance), *pair) == pytest.approx(found, abs=1e-10)


def test_pwcca_by_a_slow_loop(pair):
    x, y = (centered(f) for f in pair)
    wx, wy = (scipy.linalg.inv(scipy.linalg.sqrtm(f.T @ f)) for f in (x, y))
    u, rho, vt = np.linalg.svd(wx @ x.T @ y @ wy)
    means = []
    for features, directions in ((x, x @ wx @ u), (y, y @ wy @ vt.T)):
        alpha = [
            sum(abs(np.dot(directions[:, i], features[:, j])) for j in range(features.shape[1]))
            for i in range(9)
        ]
        means.append(sum(a * r for a, r in zip(alpha, rho, strict=True)) / sum(alpha))
    assert abs(means[0] - means[1]) > 1e-4  # the two directions do differ
    assert measure(PWCCA(), *pair) == pytest.approx(np.mean(means), abs=1e-10)


@pytest.mark.parametrize("dissimilarity", ["correlation", "euclidean"])
def test_rdms_are_those_of_rsatoolbox_and_scipy(pair, dissimilarity):
    metric = RSA(method="corr", dissimilarity=dissimilarity)
    for features in pair:
        rdm = represent(metric, features)
        theirs = rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(features), method=dissimilarity)
        scipys = {"correlation": "correlation", "euclidean": "sqeuclidean"}[dissimilarity]
        for other in (theirs.get_vectors()[0], pdist(features, scipys)):
            np.testing.assert_allclose(rdm / rdm.max(), other / other.max(), atol=1e-12)


@pytest.mark.parametrize("dissimilarity", ["correlation", "euclidean"])
@pytest.mark.parametrize(
    "method", ["spearman", "corr", "cosine", "kendall", "tau-a", "rho-a", "corr_cov", "cosine_cov"]
)
def test_rsa_is_rsatoolbox_from_end_to_end(pair, dissimilarity, method):
    rdms = [rsatoolbox.rdm.calc_rdm(rsatoolbox.data.Dataset(f), method=dissimilarity) for f in pair]
    theirs = rsatoolbox.rdm.compare(*rdms, method).item()
    metric = RSA(method=method, dissimilarity=dissimilarity)
    assert measure(metric, *pair) == pytest.approx(theirs, abs=1e-10)


def test_rank_comparers_by_slow_loops(pair):
    x, y = (f[:12] for f in pair)
    p, q = pdist(x, "correlation"), pdist(y, "correlation")
    concordant = sum(
        np.sign((p[i] - p[j]) * (q[i] - q[j])) for i, j in itertools.combinations(range(66), 2)
    )
    assert measure(RSA(method="tau-a"), x, y) == pytest.approx(concordant / (66 * 65 / 2))
    assert measure(RSA(), x, y) == pytest.approx(scipy.stats.spearmanr(p, q).statistic)


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_mutual_neighbors_by_a_slow_loop_and_sklearn(pair, distance):
    shared = 0
    distances = [squareform(pdist(f, distance)) for f in pair]
    for i in range(80):
        others = [j for j in range(80) if j != i]
        first, second = (set(sorted(others, key=d[i].__getitem__)[:7]) for d in distances)
        shared += len(first & second)
    metric = MutualKNN(k=7, distance=distance)
    assert measure(metric, *pair) == pytest.approx(shared / (80 * 7), abs=1e-12)
    for features in pair:
        theirs = NearestNeighbors(n_neighbors=7, metric=distance).fit(features).kneighbors()[1]
        ours = represent(metric, features)
        np.testing.assert_array_equal(np.sort(ours), np.sort(theirs))


def gaussian_kernel(features, bandwidth):
    squares = squareform(pdist(features, "sqeuclidean"))
    return np.exp(-squares / (2 * bandwidth**2 * np.median(squares)))


def song(k, m):
    """Equation 5 of Song et al. (2012), written out."""
    n, one = len(k), np.ones(len(k))
    k, m = k - np.diag(np.diag(k)), m - np.diag(np.diag(m))
    return (
        np.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def gretton(k, m):
    n = len(k)
    h = np.eye(n) - 1 / n
    return np.trace(k @ h @ m @ h)


@pytest.mark.parametrize("bandwidth", [0.3, 1.0])
@pytest.mark.parametrize(("estimator", "hsic"), [("debiased", song), ("biased", gretton)])
def test_rbf_cka_by_its_definition(pair, estimator, hsic, bandwidth):
    k, m = (gaussian_kernel(f, bandwidth) for f in pair)
    expected = hsic(k, m) / math.sqrt(hsic(k, k) * hsic(m, m))
    metric = RBFCKA(estimator=estimator, bandwidth=bandwidth)
    assert measure(metric, *pair) == pytest.approx(expected, abs=1e-12)


def test_a_broad_gaussian_is_linear_cka(pair):
    """exp(-t) is 1 - t for small t, and the constant is centered away."""
    import repsim_energy as rs
    import torch

    for estimator in ("debiased", "biased"):
        linear = rs.cka(*map(torch.as_tensor, pair), estimator=estimator)
        broad = measure(RBFCKA(estimator=estimator, bandwidth=300.0), *pair)
        assert broad == pytest.approx(linear, abs=1e-4)
