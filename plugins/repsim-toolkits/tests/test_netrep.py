"""netrep: whole matrices of distances, here and in worker processes."""

from __future__ import annotations

import multiprocessing

import numpy as np
import pytest
import signatures

from repsim_toolkits import component_matrices, component_matrix
from repsim_toolkits.netrep import EnergyProfileAngle

try:
    from netrep.metrics import LinearMetric
    from netrep.multiset import pairwise_distances

    TOOLKIT = "real"
except ImportError:
    LinearMetric, pairwise_distances = signatures.LinearMetric, signatures.pairwise_distances
    TOOLKIT = "signature check, netrep is on GitHub alone"


class Parallel(EnergyProfileAngle, LinearMetric):
    """The README's way into netrep's own worker processes."""


toolkit = pytest.mark.parametrize("on", [TOOLKIT])


@toolkit
@pytest.mark.parametrize("enable_caching", [False, True])
def test_distances_of_a_result_are_its_similarities(on, result, enable_caching):
    matrices = list(component_matrices(result).values())
    found = pairwise_distances(
        EnergyProfileAngle(), matrices, verbose=False, enable_caching=enable_caching
    )
    n = result.sizes["model"] * result.sizes["seed"]
    similarity = result.similarity.values.reshape(n, n)[:5, :5]
    np.testing.assert_allclose(np.cos(found), similarity, atol=1e-12)


@toolkit
def test_train_and_test_matrices(on, banks, basis):
    train = [component_matrix(bank, basis) for bank in banks]
    test = [x[5:] for x in train]
    found = pairwise_distances(EnergyProfileAngle(), train, test, verbose=False)
    expected = [pairwise_distances(EnergyProfileAngle(), x, verbose=False) for x in (train, test)]
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(*found)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # netrep forks
@toolkit
def test_worker_processes_of_netrep_give_the_same(on, banks, basis):
    matrices = [component_matrix(bank, basis) for bank in banks]
    parallel, untested = Parallel().pairwise_distances(matrices, processes=2, verbose=False)
    expected = pairwise_distances(EnergyProfileAngle(), matrices, verbose=False)
    np.testing.assert_array_equal(parallel, expected)
    assert np.isinf(untested[0, 1])


def test_a_new_process_can_score(banks, basis):
    pairs = [(component_matrix(banks[0], basis), component_matrix(b, basis)) for b in banks[1:]]
    metric = EnergyProfileAngle()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.starmap(metric.score, pairs) == [metric.fit_score(*pair) for pair in pairs]
