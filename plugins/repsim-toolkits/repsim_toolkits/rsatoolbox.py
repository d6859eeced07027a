"""Conversion of results to dissimilarity matrices of rsatoolbox, for its inference and plots."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np
import repsim_energy as rs

from repsim_toolkits.loading import load

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

__all__ = ["to_rdms"]

AXES = ("dataset", "model", "seed", "layer")


def to_rdms(result: xr.Dataset) -> Any:
    """Convert a result's similarities S to ``rsatoolbox.rdm.RDMs``: one matrix, 1 - S.

    A pattern is a network. Its descriptors are ``model`` and ``seed``, and ``dataset`` and
    ``layer`` if there are several. Those of the matrix are ``metric`` and ``basis_id``. If the
    metric is a distance, the matrix is S.

    Parameters
    ----------
    result : a result of ``repsim_energy.compare`` or ``open_result``, with any metric

    Returns
    -------
    rsatoolbox.rdm.RDMs
        Networks without any similarity are left out: further seeds of a given network, failed
        trainings, layers that a model lacks. Single undefined pairs are NaN, such as pairs across
        data sets with different bases.

    Raises
    ------
    repsim_energy.UsageError
        If rsatoolbox is missing, or the result has no similarities, fewer than two networks, or a
        selection along ``model`` but not along ``model_ref``.
    """
    rdm = load("rsatoolbox.rdm", "RDMs", toolkit="rsatoolbox", remedy="pip install rsatoolbox")
    axes = _axes(result)
    networks = list(itertools.product(*(result[axis].values.tolist() for axis in axes)))
    similarity = result.similarity.transpose(*axes, *(f"{axis}_ref" for axis in axes))
    square: NDArray[np.float64] = similarity.values.reshape(len(networks), len(networks))
    there = np.flatnonzero(np.isfinite(square).any(1))
    if len(there) < 2:
        raise rs.UsageError(
            f"the result has similarities of {len(there)} networks, expected two or more; "
            "compare more models or seeds"
        )
    distance = result.attrs["direction"] == "distance"
    square = square[np.ix_(there, there)]
    several = [axis for axis in axes if axis in ("model", "seed") or result.sizes[axis] > 1]
    return rdm.RDMs(
        (square if distance else 1 - square)[None],
        dissimilarity_measure="distance" if distance else "1 - similarity",
        rdm_descriptors={
            "metric": [str(result.attrs["metric"])],
            "basis_id": [",".join(map(str, np.ravel(result.coords.get("basis_id", ""))))],
        },
        pattern_descriptors={
            axis: [networks[n][axes.index(axis)] for n in there] for axis in several
        },
    )


def _axes(result: xr.Dataset) -> list[str]:
    """Return the axes of ``similarity`` without ``_ref``; check that the result is square."""
    if "similarity" not in getattr(result, "data_vars", ()):
        raise rs.UsageError(
            f"got a {type(result).__name__} without 'similarity', expected a result; "
            "take what compare or open_result of repsim_energy returns"
        )
    dims = set(result.similarity.dims)
    axes = [axis for axis in AXES if dims & {axis, f"{axis}_ref"}]
    for axis in axes:
        if not np.array_equal(result.get(axis, []), result.get(f"{axis}_ref", [])):
            raise rs.UsageError(
                f"the result is not square, '{axis}' and '{axis}_ref' differ; "
                f"select the same of both, as lists: isel({axis}=[...], {axis}_ref=[...])"
            )
    return axes
