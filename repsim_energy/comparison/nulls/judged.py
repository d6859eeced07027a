"""Null intervals, thresholds, p-values and calibrated scores of all pairs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.measured import Variables
from repsim_energy.errors import UndefinedSimilarityWarning, warn
from repsim_energy.interfaces import Metric
from repsim_energy.numerics.inference.monte_carlo import (
    LEVEL,
    calibrated_score,
    monte_carlo_p,
    null_threshold,
    towards_similar,
)
from repsim_energy.results import Variable
from repsim_energy.results.nulls import NULLS

__all__ = ["Numbers", "best_values", "exact_numbers", "judge", "null_variables"]

ALIKE = 1e-6
"""Relative difference below which the values of networks with themselves are the same."""

Numbers = dict[str, NDArray[np.float64]]


def null_variables(
    numbers: Mapping[str, NDArray[np.float64]], dims: tuple[str, ...], word: str, prefix: str = ""
) -> Variables:
    """Return numbers of pairs as variables that say which null they belong to.

    Parameters
    ----------
    word : name of the null
    prefix : of the names, ``best_`` for the best of several layers
    """
    of = "for " + NULLS[word]
    meanings = {
        "null_low": f"lower end of the central 95% {of}",
        "null_high": f"upper end of the central 95% {of}",
        "null_threshold": f"value that 5% reach towards more similar networks, {of}",
        "p_value": f"probability of a value at least as similar, {of}",
        "calibrated": "value on the scale from the threshold (0) to equal networks (1)",
        "similarity": "value of the most similar pair of layers",
    }
    return {prefix + name: Variable(dims, numbers[name], meanings[name]) for name in numbers}


def best_values(metric: Metric, similarity: NDArray[np.float64]) -> NDArray[np.float64] | float:
    """Return the value of equal networks: the bound of the metric, if it has one.

    Without a bound it is the value of networks with themselves, where these are the same for both
    networks of a pair. Otherwise it is NaN, with a warning.

    Parameters
    ----------
    similarity : (q, q) values of all pairs
    """
    bound = float(metric.bounds[metric.direction == "similarity"])
    if np.isfinite(bound):
        return bound
    own = similarity.diagonal()
    same = np.isclose(own[:, None], own, rtol=ALIKE, atol=0)
    known = ~np.isnan(own)
    if not same[np.ix_(known, known)].all():
        warn(
            f"'{metric.name}' has no best value, neither as a bound nor as the same value of all "
            "networks with themselves; calibrated scores are NaN where there is none",
            UndefinedSimilarityWarning,
        )
    return np.where(same, own[:, None], np.nan)


def judge(
    metric: Metric,
    similarity: NDArray[np.float64],
    draws: NDArray[np.float64],
    of: NDArray[np.int64],
    best: NDArray[np.float64] | float,
) -> Numbers:
    """Return the numbers of all pairs against drawn values.

    Parameters
    ----------
    similarity : (q, q) values of all pairs
    draws : (M, g, g) values under the null, of kinds of networks; NaN where a pair has none
    of : (q,) the kind of each network
    best : value of equal networks, of each pair or of all

    Returns
    -------
    dict
        (q, q) arrays, NaN for undefined pairs and for networks with themselves
    """
    low, high = np.quantile(draws, ((1 - LEVEL) / 2, (1 + LEVEL) / 2), axis=0)
    of_pairs = np.ix_(of, of)
    ends = {
        "null_low": low[of_pairs],
        "null_high": high[of_pairs],
        "null_threshold": null_threshold(draws, metric.direction)[of_pairs],
    }
    p = np.full(similarity.shape, np.nan)
    members = [np.flatnonzero(of == kind) for kind in range(draws.shape[1])]
    for a, rows in enumerate(members):
        for b, columns in enumerate(members):
            block = np.ix_(rows, columns)
            p[block] = monte_carlo_p(similarity[block], draws[:, a, b], metric.direction)
    score = calibrated_score(similarity, ends["null_threshold"], best)
    return _without_itself(similarity, {**ends, "p_value": p, "calibrated": score})


def exact_numbers(
    metric: Metric,
    similarity: NDArray[np.float64],
    members: Mapping[int, NDArray[np.float64]],
    best: NDArray[np.float64] | float,
) -> Numbers:
    """Return thresholds, p-values and scores of all pairs by the metric's ``null_distribution``.

    Parameters
    ----------
    similarity : (q, q) values of all pairs
    members : place of a network in it -> its representation
    """
    pairs: dict[int, list[tuple[int, int]]] = {}
    known = {}
    for i, a in members.items():
        for j, b in members.items():
            if i < j and not np.isnan(similarity[i, j]):
                law = metric.null_distribution(a, b)  # type: ignore[attr-defined]
                known[id(law)] = law  # which also keeps its id from being used again
                pairs.setdefault(id(law), []).append((i, j))
    threshold, p = np.full((2, *similarity.shape), np.nan)
    similar = towards_similar(metric.direction) > 0
    for key, of_law in pairs.items():
        i, j = np.array(of_law).T
        law = known[key]
        p[i, j] = p[j, i] = (law.sf if similar else law.cdf)(similarity[i, j])
        threshold[i, j] = threshold[j, i] = float(law.ppf(LEVEL if similar else 1 - LEVEL))
    score = calibrated_score(similarity, threshold, best)
    numbers = {"null_threshold": threshold, "p_value": p, "calibrated": score}
    return _without_itself(similarity, numbers)


def _without_itself(similarity: NDArray[np.float64], numbers: Numbers) -> Numbers:
    """Set what belongs to undefined pairs and to networks with themselves to NaN."""
    undefined = np.isnan(similarity) | np.eye(len(similarity), dtype=bool)
    return {name: np.where(undefined, np.nan, values) for name, values in numbers.items()}
