"""The summary of a result: similarities averaged over seeds."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.results.schema import Variable

__all__ = ["OF_PAIRS", "check_pairs", "naming_dims", "summarize"]

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


def summarize(result: xr.Dataset, of: str = "similarity") -> xr.Dataset:
    r"""Average the similarities of a result over seeds.

    A group is all seeds of one data set, model and (for metrics on activations) layer. Between the
    groups a and b

    .. math:: \mathrm{mean}_{ab} = \frac{1}{|P_{ab}|} \sum_{(s, t) \in P_{ab}} S_{as, bt}

    over the pairs of seeds P that have a similarity: within one group every pair of different seeds
    once, so that a network is not compared with itself; between two layers of one model the pairs
    of different seeds, or the layers of the same network if there is no such pair; else all pairs.

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
        intervals, and ``n`` is the number of pairs. NaN where there is no pair (``spread``: fewer
        than two pairs).

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
    outer = check_pairs(result, of)
    names = dict(zip(("similarity", *ENDS), (of, *OF_PAIRS[of]), strict=True))
    pairs = {name: _grouped(result, stored, outer) for name, stored in names.items()}
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
        "n": Variable(
            dims, np.isfinite(pairs["similarity"]).sum(-1), "number of pairs of seeds averaged"
        ),
    }
    labels = _labels(result, outer)
    return xr.Dataset(
        {name: variable.as_xarray() for name, variable in variables.items()},
        coords={"group": labels, "group_ref": labels},
    )


def check_pairs(result: xr.Dataset, of: str = "similarity") -> list[str]:
    """Return the dimensions of groups, after checking that both sides have the same networks."""
    if of not in OF_PAIRS:
        raise unknown_name("variable of pairs", str(of), OF_PAIRS)
    if "similarity" not in getattr(result, "data_vars", ()):
        raise UsageError(
            f"got a {type(result).__name__} without 'similarity', expected a result of compare"
        )
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


def _labels(result: xr.Dataset, outer: Sequence[str]) -> list[str]:
    """Return the name of each group: its model, and its data set and layer if there are several."""
    named = naming_dims(result, outer)
    return [
        " ".join(map(str, labels))
        for labels in itertools.product(*(result[dim].values for dim in named))
    ]


def naming_dims(result: xr.Dataset, outer: Sequence[str]) -> list[str]:
    """Return the dimensions whose labels make up the name of a group."""
    return [dim for dim in outer if result.sizes[dim] > 1 or dim == "model"]


def _grouped(result: xr.Dataset, name: str, outer: Sequence[str]) -> NDArray[np.float64]:
    """Return the values of all pairs of seeds (group, group_ref, seed * seed_ref).

    Pairs that do not count are NaN.
    """
    refs = [f"{dim}_ref" for dim in outer]
    seeds = result.sizes["seed"]
    groups = math.prod(result.sizes[dim] for dim in outer)
    ordered = result[name].transpose(*outer, "seed", *refs, "seed_ref").values
    pairs = ordered.reshape(groups, seeds, groups, seeds).swapaxes(1, 2)
    model = np.arange(groups) // (result.sizes["layer"] if "layer" in outer else 1)
    same_group = np.eye(groups, dtype=bool)[..., None, None]
    same_model = (model[:, None] == model)[..., None, None]
    later = ~np.tri(seeds, dtype=bool)
    other = later | later.T
    across = np.isfinite(np.where(other, pairs, np.nan)).any((2, 3), keepdims=True)
    counts = np.where(same_group, later, np.where(same_model & across, other, True))
    flat: NDArray[np.float64] = np.where(counts, pairs, np.nan).reshape(groups, groups, -1)
    return flat
