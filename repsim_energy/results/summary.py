"""The summary of a result: similarities averaged over seeds."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.results.attributes import attribute_of
from repsim_energy.results.intervals import counted_pairs, intervals_of_groups
from repsim_energy.results.present import existing
from repsim_energy.results.schema import Variable
from repsim_energy.results.whole import check_whole, numbers_of, refuse_grid

__all__ = [
    "HALVES",
    "OF_PAIRS",
    "SUMMARY",
    "bounds_of",
    "check_pairs",
    "group_labels",
    "groups_of",
    "interval_over",
    "is_summarized",
    "naming_dims",
    "summarize",
    "tables_of",
]

HALVES = "half_similarity"
"""Variable of the similarities for half-samples of the images."""

OUTER = ("dataset", "model", "layer")
"""Dimensions whose labels name a group of runs."""

ENDS = {
    "null_low": "lower end of the null interval",
    "null_high": "upper end of the null interval",
}

OF_PAIRS = {
    "similarity": ("null_low", "null_high"),
    "beyond_theory": ("beyond_null_low", "beyond_null_high"),
}
"""Variable of pairs -> the ends of its null interval."""


SUMMARY = {
    "mean_similarity": ("mean", "mean similarity over pairs of networks"),
    "spread_similarity": ("spread", "standard deviation of the similarity over pairs of networks"),
    "lowest_similarity": ("lowest", "lowest similarity of a pair of networks"),
    "highest_similarity": ("highest", "highest similarity of a pair of networks"),
    "n": ("n", "number of pairs of networks in the mean similarity"),
    "n_missing": ("n_missing", "number of pairs of failed or undefined networks"),
}
"""Variable of a result that has a summary of its pairs alone -> what it is, and its meaning."""


def summarize(result: xr.Dataset, of: str = "similarity") -> xr.Dataset:
    r"""Average the similarities of a result over seeds.

    A group is all seeds of one data set, model and (for metrics on activations) layer. Between the
    groups a and b

    .. math:: \mathrm{mean}_{ab} = \frac{1}{|P_{ab}|} \sum_{(s, t) \in P_{ab}} S_{as, bt}

    over the pairs of seeds P that have a similarity: within one group every pair of different seeds
    once, so that a network is not compared with itself; between two layers of one model the pairs
    of different seeds, or the layers of the same network if there is no such pair; else all pairs.

    Source: Schütt, Kipnis, Diedrichsen and Kriegeskorte (2023), "Statistical inference on
    representational geometries"; doi:10.7554/eLife.82566, for intervals over networks and images.

    Parameters
    ----------
    result : of :func:`repsim_energy.compare` or :func:`repsim_energy.open_result`, or a part of it
        with the same labels along each dimension and its ``_ref``
    of : ``similarity``, or ``beyond_theory`` for what filters share beyond the theory

    Returns
    -------
    xarray.Dataset
        ``mean`` and ``spread``, the standard deviation with n - 1 in the denominator,
        ``(group, group_ref)``; ``null_low`` and ``null_high`` are the means of the ends of the null
        intervals, ``n`` is the number of pairs, and ``n_missing`` that of the pairs of failed or
        undefined networks. NaN where there is no pair (``spread``: fewer than two pairs).
        ``ci_low`` and ``ci_high`` are the ends of the 95% confidence interval of the mean, NaN
        where nothing varies; the attribute ``interval_over`` says over what: ``seeds``,
        ``images``, both or nothing. What networks share beyond the theory has intervals over seeds
        alone. Of a result that was compared with ``pairs="summary"``: ``mean``, ``spread``,
        ``lowest``, ``highest``, ``n`` and ``n_missing``.

    Raises
    ------
    UsageError
        If there are no such similarities, or not the same networks on both sides of the pairs.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> result = rs.compare({"a": bank, "b": -bank}, torch.rand(20, 1, 6, 6))
    >>> rs.summarize(result)["mean"].values.round(6)
    array([[nan,  1.],
           [ 1., nan]])
    """
    if of == "similarity" and is_summarized(result):
        return _stored(result)
    groups = groups_of(result, check_pairs(result, of))
    names = dict(zip(("similarity", *ENDS), (of, *OF_PAIRS[of]), strict=True))
    tables = {name: tables_of(result, stored, groups.outer) for name, stored in names.items()}
    halved = of == "similarity" and HALVES in result and result.sizes.get("half", 0) > 0
    halves = tables_of(result, HALVES, groups.outer) if halved else None
    found = intervals_of_groups(
        tables["similarity"], halves, groups.model, groups.exists, bounds_of(result, of)
    )
    counts = counted_pairs(np.isfinite(tables["similarity"]), groups.model)
    pairs = {
        name: np.where(counts, table, np.nan).reshape(*table.shape[:2], -1)
        for name, table in tables.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no pair is NaN
        means = {name: np.nanmean(values, -1) for name, values in pairs.items()}
        spread = np.nanstd(pairs["similarity"], -1, ddof=1)
    dims = ("group", "group_ref")
    over = "over pairs of seeds"
    variables = {
        "mean": Variable(dims, means["similarity"], f"mean similarity {over}"),
        "spread": Variable(dims, spread, f"standard deviation of the similarity {over}"),
        **{name: Variable(dims, means[name], f"{ENDS[name]}, mean {over}") for name in ENDS},
        "n": Variable(dims, found.n, "number of pairs of seeds averaged"),
        "n_missing": Variable(dims, found.missing, "number of pairs of seeds without a number"),
        "ci_low": Variable(dims, found.low, "lower end of the 95% confidence interval"),
        "ci_high": Variable(dims, found.high, "upper end of the 95% confidence interval"),
    }
    labels = group_labels(result, groups.outer)
    return xr.Dataset(
        {name: variable.as_xarray() for name, variable in variables.items()},
        coords={"group": labels, "group_ref": labels},
        attrs={"interval_over": interval_over(groups.exists, halved)},
    )


def is_summarized(result: xr.Dataset) -> bool:
    """Return whether a result has a summary of its pairs in place of the pairs."""
    return "mean_similarity" in getattr(result, "data_vars", ())


def _stored(result: xr.Dataset) -> xr.Dataset:
    """Return the summary that a result has, in the form of :func:`summarize`."""
    check_whole(result)
    refuse_grid(result)
    dims = [str(dim) for dim in result.mean_similarity.dims if not str(dim).endswith("_ref")]
    named = [dim for dim in dims if result.sizes[dim] > 1 or dim != "dataset"]
    labels = [
        " ".join(map(str, one)) for one in itertools.product(*(result[d].values for d in named))
    ]
    order = [*dims, *(f"{dim}_ref" for dim in dims)]
    variables = {
        of: xr.Variable(
            ("group", "group_ref"),
            numbers_of(result, name, order).transpose(*order).values.reshape((len(labels),) * 2),
            result[name].attrs,
        )
        for name, (of, _) in SUMMARY.items()
    }
    return xr.Dataset(variables, coords={"group": labels, "group_ref": labels})


def interval_over(exists: NDArray[np.bool_], halved: bool) -> str:
    """Return what varies in the confidence intervals, in words.

    Parameters
    ----------
    exists : (g, s) networks that were to be compared
    halved : whether half-samples of the images were compared
    """
    varies = {"seeds": bool((exists.sum(-1) > 1).any()), "images": halved}
    return ", ".join(factor for factor, does in varies.items() if does)


def check_pairs(result: xr.Dataset, of: str = "similarity") -> list[str]:
    """Return the dimensions of groups, after checking that both sides have the same networks."""
    if of not in OF_PAIRS:
        raise unknown_name("variable of pairs", str(of), OF_PAIRS)
    if "similarity" not in getattr(result, "data_vars", ()):
        if is_summarized(result):
            raise UsageError(
                "got a summary of pairs, expected the similarities of all pairs; compare again "
                "without pairs=summary, or read rs.summarize"
            )
        raise UsageError(
            f"got a {type(result).__name__} without 'similarity', expected a result of compare"
        )
    check_whole(result)
    refuse_grid(result)
    numbers_of(result, "similarity")
    if of not in result:
        raise UsageError(
            f"got a result without '{of}', expected one of a metric on filters, by this version; "
            "compare again"
        )
    dims = result.similarity.dims
    for dim in (*OUTER, "seed"):
        own, ref = (result[d].values.tolist() if d in dims else [] for d in (dim, f"{dim}_ref"))
        if own != ref or (dim == "seed" and not own):
            raise UsageError(
                f"got a result with {len(own)} labels of '{dim}' and {len(ref)} of '{dim}_ref', "
                f"expected the same labels; select lists of both: isel({dim}=[0], {dim}_ref=[0])"
            )
        sides = [
            result.coords[d].item() for d in (dim, f"{dim}_ref") if d in result.coords and not own
        ]
        if len(set(sides)) > 1:
            raise UsageError(
                f"got a result with {dim}={sides[0]} and {dim}_ref={sides[1]}, expected the same "
                f"networks on both sides; select lists of both: sel({dim}={sides}, "
                f"{dim}_ref={sides})"
            )
    return [dim for dim in OUTER if dim in dims]


def group_labels(result: xr.Dataset, outer: Sequence[str]) -> list[str]:
    """Return the name of each group: its model, and its data set and layer if there are several."""
    named = naming_dims(result, outer)
    return [
        " ".join(map(str, labels))
        for labels in itertools.product(*(result[dim].values for dim in named))
    ]


def naming_dims(result: xr.Dataset, outer: Sequence[str]) -> list[str]:
    """Return the dimensions whose labels make up the name of a group."""
    return [dim for dim in outer if result.sizes[dim] > 1 or dim == "model"]


class Groups(NamedTuple):
    """Similarities of a result by groups of networks.

    Parameters
    ----------
    outer : dimensions of the groups
    model : (g,) number of the model of each group
    exists : (g, s) networks that were to be compared
    """

    outer: Sequence[str]
    model: NDArray[np.int64]
    exists: NDArray[np.bool_]


def groups_of(result: xr.Dataset, outer: Sequence[str]) -> Groups:
    """Return the groups of a result.

    Parameters
    ----------
    outer : of :func:`check_pairs`
    """
    count = math.prod(result.sizes[dim] for dim in outer)
    model = np.arange(count) // (result.sizes["layer"] if "layer" in outer else 1)
    return Groups(outer, model, existing(result, [*outer, "seed"]).reshape(count, -1))


def tables_of(result: xr.Dataset, name: str, outer: Sequence[str]) -> NDArray[np.float64]:
    """Return a variable of pairs as (..., group, group_ref, seed, seed_ref).

    Parameters
    ----------
    outer : of :func:`check_pairs`
    """
    refs = [f"{dim}_ref" for dim in outer]
    seeds = result.sizes["seed"]
    groups = math.prod(result.sizes[dim] for dim in outer)
    dims = [*outer, "seed", *refs, "seed_ref"]
    ordered = numbers_of(result, name, dims).transpose(..., *dims).values
    leading = ordered.shape[: ordered.ndim - 2 * (len(refs) + 1)]
    tables: NDArray[np.float64] = ordered.reshape(*leading, groups, seeds, groups, seeds)
    return tables.swapaxes(-3, -2)


def bounds_of(result: xr.Dataset, of: str = "similarity") -> tuple[float, float]:
    """Return the lowest and the highest possible value; infinite where a result does not say."""
    if of != "similarity" or attribute_of(result, "metric", "") == "energy_profile_correlation":
        return (-1.0, 1.0)
    text = str(attribute_of(result, "bounds", "-inf,inf"))
    try:
        low, high = map(float, text.split(","))
    except ValueError as error:
        raise UsageError(
            f"got a result with the bounds '{text[:40]}', expected two numbers; compare again"
        ) from error
    return (low, high)
