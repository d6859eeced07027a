r"""Filter banks as matrices for toolkits that compare activations, and their energy profiles.

.. math:: X = (W U)^\top, \qquad e_i = \sqrt{(X X^\top)_{ii} / K}

Toolkits expect (samples, features). Here the samples are the d components and the features are the
K filters. Banks with different numbers of filters can then be compared, and an orthogonal mixing of
the filters is a rotation of the features: it multiplies X from the right.
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
    r"""Return the responses of a filter bank to the components, one row per component.

    .. math:: X_{ik} = w_k^\top u_i

    Source: Chowers & Weiss (2023), Definition 2.2: :math:`e_i^2` is the mean of row i, squared.

    Parameters
    ----------
    bank : filters (k, c, kh, kw) or (k, d) flattened channel-first; or a network
    basis : the components; or a result of a metric on filters, whose components are then used, so
        that the matrix can be compared with its profiles
    layer : the dotted name of the convolution in a network; by default the first one

    Returns
    -------
    (d, k) float64 in weight units

    Raises
    ------
    repsim_energy.ShapeError
        If the patches of filters and basis have different shapes.
    repsim_energy.UsageError
        If the network has no convolution, or the result has no components or several bases.

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
    """Return the basis of a result, without mean and count, which results do not store."""
    _check_on_filters(result, "components")
    if result.components.sizes.get("dataset", 1) != 1:
        names = ", ".join(map(str, result.dataset.values))
        raise rs.UsageError(
            f"the result has a basis for each of {names}, expected one; take result.isel(dataset=0)"
        )
    values = result.components.values
    d, patch = values.shape[-4], values.shape[-3:]
    kept = np.isfinite(result.eigenvalue.values).flatten()  # components with variance
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

    Results hold profiles, not filters. A matrix with one column, the profile itself, has the same
    diagonal of :math:`X X^\top / K` and thus the same energy profile. Its other entries are not
    those of the filters: use it with the measures of this package only. For any other measure use
    :func:`component_matrix` of the network.

    Parameters
    ----------
    result : a result of a metric on filters
    stage : init, trained or change; by default the stage that the result compares

    Returns
    -------
    (dataset, model, seed) -> (d, 1) float64. Networks without a profile are left out.

    Raises
    ------
    repsim_energy.UsageError
        If the result has no profiles, or lacks the stage.
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
    r"""Return the energy profile of a filter bank that is given as a matrix.

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
        If the matrix does not have two axes and at least one filter.

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

    It is the Pearson correlation of their energy profiles; NaN with a warning if one is flat.

    Source: Chowers & Weiss (2023), section 2.

    Parameters
    ----------
    x, y : (d, k) and (d, k'), components by filters

    Raises
    ------
    repsim_energy.ShapeError
        If the matrices do not have the same number of components.

    Examples
    --------
    >>> round(energy_profile_correlation([[3.0], [2.0], [1.0]], [[6.0], [-4.0], [2.0]]), 12)
    1.0
    """
    return rs.profile_similarity(energy_profile_of(x), energy_profile_of(y))


def energy_profile_angle(x: Matrix, y: Matrix) -> float:
    r"""Return the distance :math:`\arccos r` in [0, pi] of two filter banks, given as matrices.

    It is the angle between the centered profiles and thus a metric: symmetric, with the triangle
    inequality. For equal profiles it is 0 up to the rounding of the arc cosine, about 2e-8.

    Parameters
    ----------
    x, y : as in :func:`energy_profile_correlation`, with the same errors

    Examples
    --------
    >>> round(energy_profile_angle([[3.0], [2.0], [1.0]], [[1.0], [2.0], [3.0]]), 6)
    3.141593
    """
    return math.acos(energy_profile_correlation(x, y))
