"""The energy profile of a filter bank and the similarity of two profiles."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import FlatProfileWarning, ShapeError
from repsim_energy.numerics.arrays import array_of, takes_arrays
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from repsim_energy.interfaces import PatchBasis

__all__ = [
    "energy_profile",
    "measured",
    "profile_similarities",
    "profile_similarity",
    "split_defined",
]


@takes_arrays
@own_settings()
def energy_profile(filters: Tensor, basis: PatchBasis) -> NDArray[np.float64]:
    r"""Return how strongly a filter bank responds to each principal component.

    .. math:: e_i = \sqrt{\tfrac1K \sum_{k=1}^K (w_k^\top u_i)^2}

    Source: Chowers & Weiss (2023), Definition 2.2, Equation 1.

    Parameters
    ----------
    filters : (k, c, kh, kw), or (k, d) flattened channel-first
    basis : the components, of patches of the same shape

    Returns
    -------
    (r,) float64 amplitudes >= 0 in weight units, one for each component of the basis.
    Unchanged by a permutation of the filters, by an orthogonal mixing of them and by the signs of
    the components.

    Raises
    ------
    ShapeError
        Where the filters do not see the patches of the basis.

    Examples
    --------
    >>> from repsim_energy.numerics.patches.moments import patch_moments
    >>> images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> basis = patch_moments(images, (2, 2)).basis()
    >>> energy_profile(basis.components[:1], basis).round(6)
    array([1., 0., 0., 0.])
    """
    _check_filters(filters, basis)
    flat = filters.detach().flatten(1).to(device="cpu", dtype=torch.float64)
    responses = flat @ basis.components.T
    profile: NDArray[np.float64] = responses.square().mean(0).sqrt().numpy()
    return profile


def _check_filters(filters: Tensor, basis: PatchBasis) -> None:
    if filters.ndim not in (2, 4) or len(filters) == 0:
        raise ShapeError(
            f"filters have shape {tuple(filters.shape)}, expected (k, c, kh, kw) or (k, d)"
        )
    d = basis.components.shape[1]
    fits = tuple(filters.shape[1:]) == basis.patch if filters.ndim == 4 else filters.shape[1] == d
    if not fits:
        raise ShapeError(
            f"filters see {_inputs(tuple(filters.shape[1:]))} but the basis has {d} components of "
            f"{_inputs(basis.patch)}; fit the basis with the patch of the filters"
        )


def _inputs(shape: tuple[int, ...]) -> str:
    if len(shape) == 1:
        return f"{shape[0]} inputs"
    return f"{shape[1]}x{shape[2]} patches of {shape[0]} channels"


def profile_similarity(a: ArrayLike, b: ArrayLike) -> float:
    r"""Return the Pearson correlation of two energy profiles.

    .. math:: r = \frac{\langle a-\bar a,\; b-\bar b\rangle}{\|a-\bar a\|\,\|b-\bar b\|}

    Source: Chowers & Weiss (2023), section 2.

    Parameters
    ----------
    a, b : (d,) profiles on one basis. Components where both are NaN are left out: results mark
        components without variance so.

    Returns
    -------
    A number in [-1, 1]. NaN, with a :class:`FlatProfileWarning`, where a profile is constant or
    not finite.

    Raises
    ------
    ShapeError
        For profiles of different length: they are never padded.

    Examples
    --------
    >>> round(profile_similarity([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]), 12)
    1.0
    """
    x, y = array_of(a), array_of(b)
    if x.ndim != 1 or x.shape != y.shape:
        raise ShapeError(
            f"profiles have shapes {x.shape} and {y.shape}, expected two of one length; "
            "measure both on one basis"
        )
    return float(profile_similarities(np.stack([x, y]))[0, 1])


@own_settings()
def profile_similarities(profiles: ArrayLike) -> NDArray[np.float64]:
    """Return the Pearson correlations of all pairs of (m, d) profiles on one basis.

    Returns
    -------
    (m, m), symmetric; see :func:`profile_similarity`

    Examples
    --------
    >>> profile_similarities([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0], [3.0, 2.0, 0.0]]).round(12)
    array([[ 1.,  1., -1.],
           [ 1.,  1., -1.],
           [-1., -1.,  1.]])
    """
    x = array_of(profiles)
    if x.ndim != 2:
        raise ShapeError(f"profiles have shape {x.shape}, expected (m, d), one a row")
    x, varies = split_defined(np.compress(measured(x), x, axis=1))
    if not varies.all():
        warnings.warn(
            "a profile is flat or not finite, its correlation is undefined and reported as NaN",
            FlatProfileWarning,
            stacklevel=3,
        )
    centered = x - x.mean(1, keepdims=True)
    norms = np.linalg.norm(centered, axis=1)
    unit = centered / np.where(varies, norms, np.nan)[:, None]
    correlations: NDArray[np.float64] = np.clip(unit @ unit.T, -1.0, 1.0)
    return correlations


def measured(profiles: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (d,) which components any of (m, d) profiles knows; all of them where none does."""
    known = np.asarray(~np.isnan(profiles).all(0))
    return known if known.any() else np.ones_like(known)


def split_defined(
    profiles: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (m, d) profiles, zero where they are not finite or constant, and (m,) where not."""
    finite = np.where(np.isfinite(profiles).all(1, keepdims=True), profiles, 0.0)
    deviation = np.linalg.norm(finite - finite.mean(1, keepdims=True), axis=1)
    varies = deviation > 8 * np.finfo(np.float64).eps * np.linalg.norm(finite, axis=1)
    return np.where(varies[:, None], finite, 0.0), varies
