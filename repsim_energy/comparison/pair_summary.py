"""Summary of the similarities of all pairs, without an array of all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.measured import Coords, Variables, paired
from repsim_energy.comparison.network_options import for_each
from repsim_energy.comparison.plan import Plan
from repsim_energy.errors import UsageError, first_few
from repsim_energy.interfaces import Metric
from repsim_energy.numerics.inference.pair_moments import moments_of_pairs
from repsim_energy.numerics.memory import available_memory
from repsim_energy.results import Variable
from repsim_energy.results.summary import SUMMARY

__all__ = ["ALL", "Groups", "PairsLike", "group_coords", "groups_of_pairs", "summary_variables"]

ALL, SUMMARIZED = "all", "summary"
"""Words of the option ``pairs``."""

PairsLike = str | Mapping[str, str]

NUMBERS_PER_GROUP_PAIR = 12
"""Numbers of each pair of groups, with those that computing them takes."""


class Groups(NamedTuple):
    """Groups of models, between which similarities are summarized.

    Parameters
    ----------
    dim : name of their dimension, ``model`` or ``group``
    labels : of the groups
    of : (M,) the group of each model
    """

    dim: str
    labels: Sequence[str]
    of: NDArray[np.int64]


def groups_of_pairs(pairs: PairsLike, plan: Plan) -> Groups | None:
    """Return the groups that a user asks for, ``None`` for all pairs of networks.

    Raises
    ------
    UsageError
        For another word, models that are missing or unknown in a mapping, and summaries that do not
        fit into memory.
    """
    labels = [model.label for model in plan.models]
    if isinstance(pairs, str):
        if pairs not in (ALL, SUMMARIZED):
            raise UsageError(
                f"got pairs={pairs}, expected {ALL}, {SUMMARIZED} (by model), or a mapping from "
                "the labels of all models to the names of groups"
            )
        if pairs == ALL:
            return None
        groups = Groups("model", labels, np.arange(len(labels)))
    else:
        words = for_each("pairs", pairs, labels, "")
        if without := [label for label in labels if not words[label]]:
            raise UsageError(
                f"got pairs= without a group for {first_few(without, 5)}, expected one for each "
                "model"
            )
        names = list(dict.fromkeys(words[label] for label in labels))
        groups = Groups("group", names, np.array([names.index(words[one]) for one in labels]))
    count = len(plan.datasets) * len(groups.labels)
    needed, free = 8 * NUMBERS_PER_GROUP_PAIR * count**2, available_memory()
    if needed > free:
        raise UsageError(
            f"{count} groups make {count**2} pairs, whose summary takes {needed / 2**30:.1f} GB of "
            f"memory, expected at most the {free / 2**30:.1f} GB that are free; put models into "
            "groups, such as pairs={'net1': 'resnets', 'net2': 'resnets'}"
        )
    return groups


def group_coords(groups: Groups | None) -> Coords:
    """Return the labels of groups that are not those of models."""
    if groups is None or groups.dim == "model":
        return {}
    return {groups.dim: groups.labels, f"{groups.dim}_ref": groups.labels}


def summary_variables(
    plan: Plan,
    metric: Metric,
    groups: Groups,
    representations: Mapping[tuple[int, ...], NDArray[np.float64]],
    bases: Sequence[str],
) -> Variables:
    """Return the summary of the similarities of all pairs.

    Parameters
    ----------
    representations : index of a network -> what ``metric.represent`` returned
    bases : identifier of the basis of each data set; pairs of different ones have no similarity
    """
    keys = plan.keys
    members = [representations.get(key) for key in keys]
    group = np.array([key.dataset * len(groups.labels) + groups.of[key.model] for key in keys])
    basis = np.array([bases[key.dataset] for key in keys])
    known = np.array([one is not None for one in members])

    def values(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.float64]:
        found = np.full((len(i), len(j)), np.nan)
        for name in set(basis[i]) & set(basis[j]):
            a, b = (np.flatnonzero(known[k] & (basis[k] == name)) for k in (i, j))
            if len(a) and len(b):
                found[np.ix_(a, b)] = _between(
                    metric, [members[k] for k in i[a]], [members[k] for k in j[b]]
                )
        return found

    found = moments_of_pairs(group, len(plan.datasets) * len(groups.labels), values)
    dims = paired(("dataset", groups.dim))
    shape = (len(plan.datasets), len(groups.labels)) * 2
    stored = {**found._asdict(), "n_missing": found.missing}
    return {
        name: Variable(dims, stored[of].reshape(shape), meaning)
        for name, (of, meaning) in SUMMARY.items()
    }


def _between(
    metric: Metric, first: Sequence[NDArray[np.float64]], second: Sequence[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """Return the (m, n) similarities of representations."""
    if hasattr(metric, "compare_all"):
        whole: NDArray[np.float64] = metric.compare_all(np.stack([*first, *second]))[0]
        return whole[: len(first), len(first) :]
    values = [metric.compare(a, b) for a, b in product(first, second)]
    return np.reshape(values, (len(first), len(second)))
