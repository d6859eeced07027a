"""Tidy tables of a result as pandas data frames."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import pandas as pd  # a dependency of xarray
import xarray as xr
from numpy.typing import NDArray

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.numerics.inference.multiplicity import METHODS, adjusted
from repsim_energy.results.attributes import attribute_of
from repsim_energy.results.present import existing
from repsim_energy.results.summary import OF_PAIRS, check_pairs, naming_dims, summarize
from repsim_energy.results.whole import check_whole, numbers_of, refuse_grid

__all__ = ["pairs", "profiles", "runs", "table", "to_dataframe"]

Statistic = Literal["mean", "std", "n", "low", "high", "ci_low", "ci_high", "n_missing"]

IN_SUMMARY = {"std": "spread", "low": "null_low", "high": "null_high"}
"""Statistic -> its name in a summary, where they differ."""

RUN_VARIABLES = (
    *("steps", "train_accuracy", "test_accuracy", "init_similarity", "fit_correlation"),
    *("fit_steps", "fit_at_bound", "run_id"),
)
"""Variables of each network, in the order of their columns."""

SIDES = ("dataset", "model", "seed", "layer")
"""Dimensions that name one side of a pair."""


def table(
    result: xr.Dataset, statistic: Statistic = "mean", of: str = "similarity"
) -> pd.DataFrame:
    """Return similarities between models, averaged over pairs of seeds.

    A network is never compared with itself: :func:`summarize` defines which pairs count.

    Parameters
    ----------
    result : of :func:`compare` or :func:`open_result`
    statistic : ``mean``, ``std`` (standard deviation with n - 1 in the denominator), ``n`` (number
        of pairs), ``low`` or ``high`` (mean ends of the null interval), ``ci_low`` or ``ci_high``
        (ends of the 95% confidence interval of the mean), ``n_missing`` (pairs of failed or
        undefined networks)
    of : ``similarity`` or ``beyond_theory``

    Returns
    -------
    pandas.DataFrame
        One row and one column for each model; for each data set, model and layer if there are
        several. NaN without a pair: on the diagonal of a model with one seed.

    Raises
    ------
    UsageError
        If there are no such similarities, not the same networks on both sides of the pairs, or for
        another statistic.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> result = rs.compare({"a": bank, "b": -bank}, torch.rand(20, 1, 6, 6))
    >>> int(rs.table(result, "n").loc["a", "b"])
    1
    """
    if statistic not in get_args(Statistic):
        raise unknown_name("statistic", str(statistic), get_args(Statistic))
    outer = check_pairs(result, of)
    values = summarize(result, of)[IN_SUMMARY.get(statistic, statistic)]
    dims = [*outer, "seed"]
    of_group = existing(result, dims).any(-1).ravel()
    labels = values.group.values[of_group]
    name = " ".join(naming_dims(result, outer))
    return pd.DataFrame(
        values.values[np.ix_(of_group, of_group)],
        index=pd.Index(labels.astype(object), name=name or None),
        columns=pd.Index(labels.astype(object), name=f"{name}_ref" if name else None),
    )


def pairs(result: xr.Dataset) -> pd.DataFrame:
    """Return the similarities of all pairs of different networks, one pair a row.

    Of two networks there is one row, in the order of the result. In metrics on activations a row
    is a pair of layers: of two networks, or two different layers of one network.

    Parameters
    ----------
    result : of :func:`compare` or :func:`open_result`

    Returns
    -------
    pandas.DataFrame
        Columns ``dataset``, ``model``, ``seed`` and, if there are layers, ``layer``; the same of
        the other network, ending in ``_ref``; ``similarity``, ``null_low`` and ``null_high``, and
        of filters ``beyond_theory``, ``beyond_null_low`` and ``beyond_null_high``. If the null has
        p-values: ``p_value``, ``calibrated``, and the p-values corrected for the number of rows,
        ``p_holm`` and ``p_bh`` (see :func:`adjust_p_values`).
        Pairs that are undefined, or of a failed training, are NaN. There are no rows for seeds and
        layers that a network does not have.

    Raises
    ------
    UsageError
        If there are no similarities, or not the same networks on both sides of the pairs.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> result = rs.compare({"a": bank, "b": -bank}, torch.rand(20, 1, 6, 6))
    >>> rs.pairs(result)[["model", "model_ref", "similarity"]].round(6)
      model model_ref  similarity
    0     a         b         1.0
    """
    check_pairs(result)
    names = [name for of, ends in OF_PAIRS.items() for name in (of, *ends)]
    names += ["p_value", "calibrated"]
    whole = result[[name for name in names if name in result]]
    for dim in SIDES:
        for side in (dim, f"{dim}_ref"):
            if side in whole.coords and whole.coords[side].ndim == 0:
                whole = whole.expand_dims(side)
    dims = [dim for dim in SIDES if dim in whole.similarity.dims]
    refs = [f"{dim}_ref" for dim in dims]
    shape = [whole.sizes[dim] for dim in dims]
    known = [dim for dim in dims if dim in result.similarity.dims]
    members = np.flatnonzero(existing(result, known))
    first, second = np.triu_indices(len(members), k=1)
    a, b = members[first], members[second]
    columns = {
        name: _labels(whole, name)[place]
        for names, flat in ((dims, a), (refs, b))
        for name, place in zip(names, np.unravel_index(flat, shape), strict=True)
    }
    size = int(np.prod(shape))
    for name in whole.data_vars:
        values = numbers_of(whole, str(name), [*dims, *refs]).transpose(*dims, *refs).values
        columns[str(name)] = values.reshape(size, size)[a, b]
    if "p_value" in columns:
        columns |= {f"p_{method}": adjusted(columns["p_value"], method) for method in METHODS}
    return pd.DataFrame(columns)


def profiles(
    result: xr.Dataset, stage: str | None = None, *, normalized: bool = False
) -> pd.DataFrame:
    """Return the energy profiles of all networks, one component of one network a row.

    Parameters
    ----------
    result : of :func:`compare` with a metric on filters
    stage : ``init``, ``trained`` or ``change``; by default the stage that was compared
    normalized : whether each profile is divided by its largest value. A profile of zeros remains
        zero

    Returns
    -------
    pandas.DataFrame
        Columns ``dataset``, ``model``, ``seed``, ``stage``, ``component``, ``energy`` (in weight
        units, or 1 if normalized) and ``eigenvalue`` (pixel value squared). A failed training has
        NaN. There are no rows for components without variance, nor for stages at which the filters
        of a network are not known.

    Raises
    ------
    UsageError
        If the result has no energy profiles, or not this stage.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> result = rs.compare({"a": bank}, torch.rand(20, 1, 6, 6))
    >>> found = rs.profiles(result, normalized=True)
    >>> list(found.columns), len(found), float(found.energy.max())
    (['dataset', 'model', 'seed', 'stage', 'component', 'energy', 'eigenvalue'], 4, 1.0)
    """
    if "energy" not in getattr(result, "data_vars", ()):
        raise UsageError(
            "got a result without energy profiles, expected one of a metric on filters, such as "
            "metric=energy"
        )
    check_whole(result)
    refuse_grid(result)
    energy = numbers_of(result, "energy", ["component"])
    if "stage" not in result or not energy.size:
        raise UsageError("got a result without stages or networks, expected a whole one")
    stages = [str(label) for label in np.atleast_1d(result["stage"].values)]
    wanted = attribute_of(result, "stage", "") if stage is None else stage
    if wanted not in stages:
        raise unknown_name("stage", wanted, stages)
    if normalized:
        largest = energy.max("component")
        scaled = energy / largest.where(largest > 0, 1.0)
        result = result.assign(energy=scaled.transpose(*energy.dims))
    frame = to_dataframe(result, "energy")
    frame = frame[frame["stage"] == wanted].reset_index(drop=True)
    if "eigenvalue" in result:
        keys = ["dataset", "component"] if "dataset" in frame else ["component"]
        variance = to_dataframe(result, "eigenvalue")[[*keys, "eigenvalue"]]
        frame = frame.merge(variance, on=keys, how="left")
    columns = ["dataset", "model", "seed", "stage", "component", "energy", "eigenvalue"]
    return frame[[name for name in columns if name in frame]]


def runs(result: xr.Dataset) -> pd.DataFrame:
    """Return accuracies, steps and fits of all networks, one network a row.

    Numbers that belong to a stage are those of the stage that was compared.
    """
    refuse_grid(result)
    names = [name for name in RUN_VARIABLES if name in result]
    if not names:
        raise UsageError("got a result without 'steps', expected a result of compare")
    frame = None
    for name in names:
        values = to_dataframe(result, name)
        if "stage" in result[name].dims:
            if not attribute_of(result, "stage", ""):
                raise UsageError("got a result without the stage that was compared; compare again")
            values = values[values["stage"] == attribute_of(result, "stage")]
        keys = [dim for dim in SIDES if dim in values]
        values = values[[*keys, name]]
        frame = values if frame is None else frame.merge(values, on=keys, how="left")
    return frame


def to_dataframe(result: xr.Dataset, name: str) -> pd.DataFrame:
    """Return a variable of a result, one value a row.

    Similarities are in it twice, and of each network with itself too: :func:`pairs` has each pair
    once.

    Parameters
    ----------
    result : of :func:`compare` or :func:`open_result`
    name : of a variable or a coordinate, such as ``energy``

    Returns
    -------
    pandas.DataFrame
        A column for each dimension with its labels (numbers from 0 for a dimension without labels),
        one for the variable, and one for each coordinate along its dimensions, such as
        ``first_layer``. There are no rows for what a network does not have: seeds of given
        networks, layers of other models, stages and snapshots that are not known, components
        without variance.

    Raises
    ------
    UsageError
        If there is no such variable.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(2, 1, 2, 2)}, torch.rand(20, 1, 6, 6))
    >>> rs.to_dataframe(result, "given")[["dataset", "model", "given"]]
      dataset model  given
    0  images     a      1
    """
    check_whole(result)
    if name not in result.variables:
        raise unknown_name("variable", str(name), map(str, result.variables))
    variable = result[name]
    dims = [str(dim) for dim in variable.dims]
    places = dict(zip(dims, np.nonzero(existing(result, dims)), strict=True))
    coords = {str(c): _objects(values) for c, values in variable.coords.items()}
    columns = {dim: _labels(result, dim)[place] for dim, place in places.items()}
    at = tuple(places.values())
    columns[name] = variable.values[at] if dims else variable.values.reshape(1)
    rows = len(columns[name])
    for coord, values in coords.items():
        if coord not in columns:
            along = tuple(places[str(dim)] for dim in variable.coords[coord].dims)
            columns[coord] = values[along] if along else np.repeat(values.reshape(1), rows)
    return pd.DataFrame(columns)


def _labels(result: xr.Dataset, dim: str) -> NDArray[Any]:
    """Return the labels of a dimension, or the numbers of its entries if it has none."""
    return _objects(result[dim]) if dim in result.coords else np.arange(result.sizes[dim])


def _objects(values: xr.DataArray) -> NDArray[Any]:
    """Return an array whose texts are objects of Python, so that rows share them."""
    array = values.values
    return array.astype(object) if array.dtype.kind in "US" else array
