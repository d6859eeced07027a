"""Similarities of all pairs of representations."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.measured import Variables
from repsim_energy.comparison.nulls.judged import null_variables
from repsim_energy.errors import UndefinedSimilarityWarning, first_few, warn
from repsim_energy.interfaces import Metric
from repsim_energy.results import Variable

__all__ = ["Pairs", "compare_pairs", "pair_variables", "warn_undefined"]

MAX_NAMED = 5
"""Maximum number of networks that a warning names."""

Index = tuple[int, ...]
Pairs = dict[str, NDArray[np.float64]]


def compare_pairs(
    metric: Metric,
    representations: Mapping[Index, NDArray[np.float64]],
    shape: Index,
    group: Callable[[Index], Hashable],
    *,
    intervals: bool = True,
) -> Pairs:
    """Return ``similarity``, ``null_low`` and ``null_high`` of all pairs.

    Parameters
    ----------
    representations : index of a network -> what ``metric.represent`` returned
    shape : sizes of the dimensions of these indices
    group : index -> key of its group; pairs of different groups are NaN
    intervals : whether the metric's own null intervals are wanted; else there is ``similarity``
        alone

    Returns
    -------
    dict
        Symmetric arrays of shape ``shape + shape``, NaN for missing representations. The null
        interval of a network with itself is NaN.
    """
    size = math.prod(shape)
    out = np.full((3, size, size), np.nan)
    groups: dict[Hashable, list[Index]] = {}
    for index in representations:
        groups.setdefault(group(index), []).append(index)
    for members in groups.values():
        at = np.array([np.ravel_multi_index(index, shape) for index in members])
        out[:, at[:, None], at] = _all(
            metric, [representations[index] for index in members], intervals
        )
    out[1:, np.arange(size), np.arange(size)] = np.nan
    names = ("similarity", "null_low", "null_high")[: 3 if intervals else 1]
    return {name: values.reshape(shape + shape) for name, values in zip(names, out, strict=False)}


def pair_variables(pairs: Pairs, dims: tuple[str, ...], null: str) -> Variables:
    """Return the values of all pairs as variables with these dimensions.

    Parameters
    ----------
    null : its name
    """
    similarity = Variable(dims, pairs["similarity"], "similarity of two networks")
    rest = {name: values for name, values in pairs.items() if name != "similarity"}
    return {"similarity": similarity, **null_variables(rest, dims, null)}


def warn_undefined(pairs: Pairs, labels: Mapping[Any, str]) -> None:
    """Warn of networks whose similarity with themselves is undefined.

    Parameters
    ----------
    labels : index of a network (or of a layer of it) -> its label
    """
    similarity = pairs["similarity"]
    names = [name for at, name in labels.items() if np.isnan(similarity[(*at, *at)])]
    if names:
        warn(
            f"the similarity of {first_few(names, MAX_NAMED)} is undefined, with itself "
            "too; all pairs of it are NaN",
            UndefinedSimilarityWarning,
        )


def _all(
    metric: Metric, members: list[NDArray[np.float64]], intervals: bool
) -> NDArray[np.float64]:
    """Return the (3, m, m) similarities and ends of null intervals, NaN if they are not wanted."""
    if hasattr(metric, "compare_all"):
        return np.stack(metric.compare_all(np.stack(members)))
    values = np.full((3, len(members), len(members)), np.nan)
    for i, j in combinations_with_replacement(range(len(members)), 2):
        a, b = members[i], members[j]
        interval = metric.null_interval(a, b) if intervals and i != j else (np.nan, np.nan)
        values[:, i, j] = values[:, j, i] = (metric.compare(a, b), *interval)
    return values
