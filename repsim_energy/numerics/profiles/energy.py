"""Energy profile of a filter bank, and similarity of profiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import FlatProfileWarning, ShapeError, warn
from repsim_energy.numerics.arrays import array_of, finite_or_nan, takes_arrays
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from repsim_energy.interfaces import PatchBasis

__all__ = [
    "check_filters",
    "energy_profile",
    "profile_of_power",
    "profile_similarities",
    "profile_similarity",
    "profiles_of_banks",
    "profiles_on_bases",
    "responses",
    "similarities_of_stacks",
    "unchecked_profile",
    "varying_profiles",
    "with_value",
]


MAX_STACKED = 2**20
"""Numbers of the components of several bases, up to which they are multiplied together."""


@takes_arrays
@own_settings()
def energy_profile(filters: Tensor, basis: PatchBasis) -> NDArray[np.float64]:
    r"""Return the root mean square response of a filter bank to each principal component.

    .. math:: e_i = \sqrt{\tfrac1K \sum_{k=1}^K (w_k^\top u_i)^2}

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Definition 2.2 and Equation 1; arXiv:2206.02454.

    Parameters
    ----------
    filters : (k, c, kh, kw), or (k, d) flattened channel-first
    basis : r principal components of patches of the same shape

    Returns
    -------
    (r,) float64 >= 0, in units of the weights. It does not depend on the order of the filters, on
    an orthogonal mixing of them, or on the signs of the components. It is constant for an
    orthonormal basis and any other tight frame, on every basis; the rounding of the filters to
    their dtype is then removed. NaN, with an :class:`UndefinedSimilarityWarning`, for filters that
    are not finite, or whose squares are not.

    Raises
    ------
    ShapeError
        For filters of another shape than the patches of the basis.

    Warns
    -----
    UndefinedSimilarityWarning
        If an energy is NaN.

    Examples
    --------
    >>> from repsim_energy.numerics.patches.moments import patch_moments
    >>> images = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> basis = patch_moments(images, (2, 2)).basis()
    >>> energy_profile(basis.components[:1], basis).round(6)
    array([1., 0., 0., 0.])
    """
    return finite_or_nan(unchecked_profile(filters, basis), "energy profile")


def unchecked_profile(filters: Tensor, basis: PatchBasis) -> NDArray[np.float64]:
    """Return the energy profile of filters of which somebody else says that they are not finite."""
    return profile_of_power(responses(filters, basis).square(), filters.dtype)


def profiles_of_banks(banks: Tensor, basis: PatchBasis) -> NDArray[np.float64]:
    """Return the (n, r) energy profiles of n filter banks of one size (n, k, c, kh, kw)."""
    power = responses(banks.flatten(0, 1), basis).square()
    return profile_of_power(power.unflatten(0, banks.shape[:2]), banks.dtype)


def profiles_on_bases(filters: Tensor, bases: Sequence[PatchBasis]) -> list[NDArray[np.float64]]:
    """Return the energy profile of one filter bank on each of several bases."""
    sizes = {basis.components.shape for basis in bases}
    if len(sizes) != 1 or len(bases) * bases[0].components.numel() > MAX_STACKED:
        return [unchecked_profile(filters, basis) for basis in bases]
    check_filters(filters, bases[0])
    flat = filters.detach().flatten(1).to(device="cpu", dtype=torch.float64)
    power = (flat @ torch.stack([basis.components for basis in bases]).mT).square()
    return list(profile_of_power(power, filters.dtype))


def responses(filters: Tensor, basis: PatchBasis) -> Tensor:
    """Return the (k, r) float64 responses of filters to the components of a basis."""
    check_filters(filters, basis)
    flat = filters.detach().flatten(1).to(device="cpu", dtype=torch.float64)
    return flat @ basis.components.T


def profile_of_power(power: Tensor, dtype: torch.dtype) -> NDArray[np.float64]:
    """Return (..., r) energy profiles of the (..., k, r) squared responses of filters of a type.

    A profile is constant if all that varies is the rounding of the filters.
    """
    profiles: NDArray[np.float64] = power.mean(-2).sqrt().numpy()
    if not dtype.is_floating_point:
        return profiles
    known = np.isfinite(profiles).all(-1, keepdims=True)
    finite = np.where(known, profiles, 0.0)
    mean = finite.mean(-1, keepdims=True)
    with np.errstate(over="ignore"):
        deviation = np.linalg.norm(finite - mean, axis=-1, keepdims=True)
        rounding = torch.finfo(dtype).eps * np.linalg.norm(finite, axis=-1, keepdims=True)
    return np.where(known & (deviation <= rounding), mean, profiles)


def check_filters(filters: Tensor, basis: PatchBasis) -> None:
    """Refuse filters of another shape than the patches of a basis."""
    if filters.is_complex() or filters.ndim not in (2, 4) or len(filters) == 0:
        raise ShapeError(
            f"filters have shape {tuple(filters.shape)} and are {filters.dtype}, expected real "
            "numbers (k, c, kh, kw) or (k, d)"
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

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", section 2; arXiv:2206.02454.

    Parameters
    ----------
    a, b : (d,) profiles on one basis. Components where both are NaN are left out: in results these
        are components without variance.

    Returns
    -------
    float
        In [-1, 1]. NaN, with a :class:`FlatProfileWarning`, for a profile that is constant or not
        finite.

    Raises
    ------
    ShapeError
        For profiles of different lengths. They are never padded.
    DataError
        For complex numbers, and what is no array of numbers.

    Warns
    -----
    FlatProfileWarning
        For a profile that is constant or not finite.

    Examples
    --------
    >>> round(profile_similarity([1.0, 2.0, 4.0], [2.0, 4.0, 8.0]), 12)
    1.0
    """
    return float(profile_similarities(stack_profiles(a, b))[0, 1])


@own_settings()
def profile_similarities(profiles: ArrayLike) -> NDArray[np.float64]:
    r"""Return the Pearson correlations of all pairs of energy profiles.

    .. math:: r_{ij} = \frac{\langle e_i-\bar e_i,\; e_j-\bar e_j\rangle}
        {\|e_i-\bar e_i\|\,\|e_j-\bar e_j\|}

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", section 2; arXiv:2206.02454.

    Parameters
    ----------
    profiles : (m, d), one profile a row, all on one basis. Components where all are NaN are left
        out.

    Returns
    -------
    (m, m) float64 in [-1, 1], symmetric. NaN for pairs with a profile that is constant or not
    finite.

    Raises
    ------
    ShapeError
        For profiles that are not (m, d).
    DataError
        For complex numbers, and what is no array of numbers.

    Warns
    -----
    FlatProfileWarning
        For a profile that is constant or not finite.

    Examples
    --------
    >>> profile_similarities([[1.0, 2.0, 4.0], [2.0, 4.0, 8.0], [3.0, 2.0, 0.0]]).round(12)
    array([[ 1.,  1., -1.],
           [ 1.,  1., -1.],
           [-1., -1.,  1.]])
    """
    x = array_of(profiles)
    if x.ndim != 2 or 0 in x.shape:
        raise ShapeError(f"profiles have shape {x.shape}, expected (m, d) with one profile a row")
    correlations: NDArray[np.float64] = similarities_of_stacks(x[None])[0]
    return correlations


def similarities_of_stacks(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n, m, m) correlations within each of n stacks of profiles (n, m, d).

    Warns
    -----
    FlatProfileWarning
        As :func:`profile_similarities`, of which this is the correlation of each stack.
    """
    known = with_value(profiles.reshape(-1, profiles.shape[-1]))
    x, varies = varying_profiles(np.compress(known, profiles, axis=-1))
    if not varies.all():
        warn(
            "a profile is flat or not finite, its correlation is undefined and reported as NaN",
            FlatProfileWarning,
        )
    centered = x - x.mean(-1, keepdims=True)
    norms = np.linalg.norm(centered, axis=-1)
    unit = centered / np.where(varies, norms, np.nan)[..., None]
    correlations: NDArray[np.float64] = np.clip(unit @ np.swapaxes(unit, -1, -2), -1.0, 1.0)
    return correlations


def stack_profiles(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Return two (d,) profiles as (2, d), and refuse profiles of different lengths."""
    x, y = array_of(a), array_of(b)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ShapeError(
            f"profiles have shapes {x.shape} and {y.shape}, expected two of one length; "
            "measure both on one basis"
        )
    return np.stack([x, y])


def with_value(profiles: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return a mask (d,) of the components that are not NaN in all of (m, d) profiles.

    Where all numbers are NaN, all components are kept.
    """
    known = np.asarray(~np.isnan(profiles).all(0))
    return known if known.any() else np.ones_like(known)


def varying_profiles(
    profiles: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (..., d) profiles with undefined ones set to zero, and a mask (...) of the others.

    A profile is undefined where it is constant, rounding aside, or not finite.
    """
    finite = np.where(np.isfinite(profiles).all(-1, keepdims=True), profiles, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):  # squares that are too large are undefined
        deviation = np.linalg.norm(finite - finite.mean(-1, keepdims=True), axis=-1)
        varies = deviation > 8 * np.finfo(np.float64).eps * np.linalg.norm(finite, axis=-1)
    return np.where(varies[..., None], finite, 0.0), varies
