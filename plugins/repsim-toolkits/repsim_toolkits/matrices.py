r"""A filter bank as a matrix that toolkits for activations take, and its energy profile again.

.. math:: X = (W U)^\top, \qquad e_i = \sqrt{(X X^\top)_{ii} / K}

Toolkits expect (samples, features). Here the samples are the d components and the features the
K filters, so that banks of different width fit together and an orthogonal mixing of the filters
multiplies X from the right, which is what those toolkits call a rotation of the features.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import numpy as np
import repsim_energy as rs
import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import ArrayLike, NDArray

    Bank = nn.Module | Tensor | NDArray[Any]
    Matrix = Tensor | ArrayLike

__all__ = [
    "component_matrices",
    "component_matrix",
    "energy_profile_angle",
    "energy_profile_correlation",
    "energy_profile_of",
]


def component_matrix(
    bank: Bank, basis: rs.PatchBasis | xr.Dataset, *, layer: str | None = None
) -> NDArray[np.float64]:
    r"""Return the responses of a filter bank to the components, one component a row.

    .. math:: X_{ik} = w_k^\top u_i

    Source: Chowers & Weiss (2023), Definition 2.2: :math:`e_i^2` is the mean of row i, squared.

    Parameters
    ----------
    bank : filters (k, c, kh, kw) or (k, d) flattened channel-first; or a network
    basis : the components; or a result of metrics on filters, whose components are then taken, so
        that the matrix is comparable with its profiles
    layer : of a network, the dotted name of the convolution; without it the first one

    Returns
    -------
    (d, k) float64 in weight units

    Raises
    ------
    repsim_energy.ShapeError
        Where the filters do not see the patches of the basis.
    repsim_energy.UsageError
        For a network without convolution, or a result without one set of components.

    Examples
    --------
    >>> basis = rs.patch_moments(torch.rand(4, 1, 8, 8), (2, 2)).basis()
    >>> abs(component_matrix(basis.components[:1], basis).T).round(6)
    array([[1., 0., 0., 0.]])
    """
    if isinstance(bank, nn.Module):
        bank = rs.read_filters(rs.find_first_conv(bank, layer).module)
    if not isinstance(bank, Tensor | np.ndarray):
        raise rs.UsageError(
            f"got a {type(bank).__name__} as filter bank, expected filters (k, c, kh, kw) or a "
            "torch.nn.Module; build the network first"
        )
    filters = torch.as_tensor(bank).detach().to(device="cpu", dtype=torch.float64)
    known = basis if isinstance(basis, rs.PatchBasis) else _basis_of(basis)
    rs.energy_profile(filters, known)  # refuses filters that do not fit the basis
    matrix: NDArray[np.float64] = (known.components @ filters.flatten(1).T).numpy()
    return matrix


def _basis_of(result: xr.Dataset) -> rs.PatchBasis:
    """Return a result's components as a basis; its mean and count are not in results."""
    _check_on_filters(result, "components")
    if result.components.sizes.get("dataset", 1) != 1:
        names = ", ".join(map(str, result.dataset.values))
        raise rs.UsageError(
            f"the result has a basis for each of {names}, expected one; take result.isel(dataset=0)"
        )
    values = result.components.values
    d, patch = values.shape[-4], values.shape[-3:]
    kept = np.isfinite(result.eigenvalue.values).flatten()  # those that have variance
    components = torch.tensor(values.reshape(d, -1)[kept], dtype=torch.float64)
    eigenvalues = torch.tensor(result.eigenvalue.values.flatten()[kept], dtype=torch.float64)
    centered = result.attrs.get("centered") == "true"
    mean = torch.full((d,), math.nan, dtype=torch.float64)
    return rs.PatchBasis(components, eigenvalues, mean, patch, centered, count=0)


def _check_on_filters(result: xr.Dataset, variable: str) -> None:
    if variable not in getattr(result, "data_vars", ()):
        raise rs.UsageError(
            f"got a {type(result).__name__} without '{variable}', expected a result of a metric on "
            "filters such as metric='energy'; a basis may also be a PatchBasis, moments.basis()"
        )


def component_matrices(
    result: xr.Dataset, stage: str | None = None
) -> dict[tuple[str, str, int], NDArray[np.float64]]:
    r"""Return a matrix for each network of a result, with the energy profile of that network.

    Results hold profiles, not filters. A matrix of one column, the profile itself, has the same
    diagonal of :math:`X X^\top / K` and hence the same energy profile. Its other entries are not
    those of the filters: give it to the measures of this package alone, and for any other measure
    take :func:`component_matrix` of the network.

    Parameters
    ----------
    result : of a metric on filters
    stage : init, trained or change; without it the one that the result compares

    Returns
    -------
    (dataset, model, seed) -> (d, 1) float64; networks that are not in the result are left out

    Raises
    ------
    repsim_energy.UsageError
        For a result without profiles, or without the stage.
    """
    _check_on_filters(result, "energy")
    stage = str(result.attrs["stage"]) if stage is None else stage
    if stage not in result.stage.values:
        known = ", ".join(map(str, result.stage.values))
        raise rs.UsageError(f"got stage '{stage}', expected one of {known}")
    axes = ("dataset", "model", "seed")
    profiles = result.energy.sel(stage=stage).transpose(*axes, "component")
    keys = itertools.product(*(result[axis].values.tolist() for axis in axes))
    rows = profiles.values.reshape(-1, profiles.sizes["component"])
    return {
        key: row[:, None].copy()
        for key, row in zip(keys, rows, strict=True)
        if np.isfinite(row).all()
    }


def energy_profile_of(matrix: Matrix) -> NDArray[np.float64]:
    r"""Return the energy profile of the filter bank behind a matrix.

    .. math:: e_i = \sqrt{(X X^\top)_{ii} / K}

    Source: Chowers & Weiss (2023), Definition 2.2, Equation 1.

    Parameters
    ----------
    matrix : (d, k), components by filters

    Returns
    -------
    (d,) float64 amplitudes >= 0 in weight units

    Raises
    ------
    repsim_energy.ShapeError
        For anything but a matrix of one filter or more.

    Examples
    --------
    >>> energy_profile_of([[3.0, 3.0], [0.0, 2.0]]).round(6)
    array([3.      , 1.414214])
    """
    if isinstance(matrix, Tensor):
        matrix = matrix.detach().cpu().double().numpy()
    x = np.asarray(matrix, dtype=np.float64)
    if x.ndim != 2 or x.shape[1] == 0:
        raise rs.ShapeError(
            f"the matrix has shape {x.shape}, expected (components, filters); "
            "make it by component_matrix(filters, basis)"
        )
    profile: NDArray[np.float64] = np.sqrt(np.square(x).mean(1))
    return profile


def energy_profile_correlation(x: Matrix, y: Matrix) -> float:
    """Return the similarity of two filter banks, given as matrices on one basis.

    The Pearson correlation of their energy profiles; NaN with a warning where one is flat.

    Source: Chowers & Weiss (2023), section 2.

    Parameters
    ----------
    x, y : (d, k) and (d, k'), components by filters

    Raises
    ------
    repsim_energy.ShapeError
        For anything but two matrices of as many components.

    Examples
    --------
    >>> round(energy_profile_correlation([[3.0], [2.0], [1.0]], [[6.0], [-4.0], [2.0]]), 12)
    1.0
    """
    return rs.profile_similarity(energy_profile_of(x), energy_profile_of(y))


def energy_profile_angle(x: Matrix, y: Matrix) -> float:
    r"""Return the distance :math:`\arccos r` in [0, pi] of two filter banks, given as matrices.

    The angle between the centered profiles, hence a metric: it is symmetric and keeps the triangle
    inequality. Of equal profiles it is 0 up to the arc cosine's rounding, about 2e-8.

    Parameters
    ----------
    x, y : as of :func:`energy_profile_correlation`, which also says what is refused

    Examples
    --------
    >>> round(energy_profile_angle([[3.0], [2.0], [1.0]], [[1.0], [2.0], [3.0]]), 6)
    3.141593
    """
    return math.acos(energy_profile_correlation(x, y))
