"""Filters at all places of a larger patch: their bank, their energy profile and their theory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, RepsimWarning
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.patches.basis import basis_from_moments
from repsim_energy.numerics.profiles.energy import profiles_of_banks, unchecked_profile
from repsim_energy.numerics.profiles.filter_sizes import by_size, check_fit, extent, fill_patches
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from repsim_energy.interfaces import PatchBasis

__all__ = [
    "LUMA",
    "basis_of_kernel",
    "kernel_shares",
    "place_filters",
    "placed_profile",
    "placed_profiles",
    "windows",
]

Pair = tuple[int, int]

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in gray, by ITU-R BT.601. Pillow's mode L has them."""

MAX_NUMBERS = 2**22
"""Numbers of the largest temporary array."""


@takes_arrays
@own_settings()
def place_filters(filters: Tensor, patch: Pair, *, dilation: Pair = (1, 1)) -> Tensor:
    r"""Return filters at all places of a larger patch, with zeros around them.

    A :math:`k \times k` filter fits into a :math:`K \times K` patch at :math:`(K-k+1)^2` places.
    The energy profile of the returned bank is the root mean square over filters and places,

    .. math:: e_i = \sqrt{\frac1N \sum_{n=1}^N \frac1{P_n} \sum_p (w_{n,p}^\top u_i)^2}

    A filter is placed by the pixels that it sees: rows and columns of zeros at its border, as of a
    3x3 filter stored in 5x5 numbers, are removed first. If filters then differ in size and
    thus in the number of places P, those with more places are scaled down, so that each filter
    counts as much as any other.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Definition 2.2; arXiv:2206.02454, for the profile of one place.

    Parameters
    ----------
    filters : (n, c, kh, kw), in any units
    patch : rows and columns in pixels, at least as many as the filters span
    dilation : rows and columns from one pixel that filters see to the next

    Returns
    -------
    (m, c, rows, columns) in the dtype of the filters, all places of one filter after the other for
    filters of one size

    Raises
    ------
    ShapeError
        For filters that are not (n, c, kh, kw), or do not fit into the patch.
    DataError
        For filters that are not finite.

    Examples
    --------
    >>> place_filters(torch.ones(8, 3, 3, 3), (7, 7)).shape
    torch.Size([200, 3, 7, 7])
    >>> place_filters(torch.ones(1, 1, 1, 2), (1, 3))[:, 0, 0].tolist()
    [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]]
    """
    check_fit(filters, patch, dilation)
    if not filters.isfinite().all():
        raise DataError("filters are NaN or infinite, expected finite numbers; clean them")
    groups = []
    for group in by_size(filters.detach()):
        rows, columns = extent(group, dilation)
        whole = group.new_zeros(*group.shape[:2], rows, columns)
        whole[:, :, :: dilation[0], :: dilation[1]] = group
        down, right = patch[0] - rows, patch[1] - columns
        places = [
            F.pad(whole, (left, right - left, top, down - top))
            for top in range(down + 1)
            for left in range(right + 1)
        ]
        groups.append(torch.stack(places, 1))
    if len(groups) == 1:
        return groups[0].flatten(0, 1)
    mean = sum(len(g) * g.shape[1] for g in groups) / len(filters)
    return torch.cat([(g * (mean / g.shape[1]) ** 0.5).flatten(0, 1) for g in groups])


@own_settings()
def placed_profile(
    filters: Tensor, basis: PatchBasis, dilation: Pair = (1, 1)
) -> NDArray[np.float64]:
    """Return the energy profile of filters at all places of the patches of a basis.

    It is that of :func:`place_filters`, without making the filters of all places.

    Parameters
    ----------
    filters : (n, c, kh, kw), or (n, 1, kh, kw) filters of the luma of color images
    dilation : as in :func:`place_filters`
    """
    patch = basis.patch[1:]
    check_fit(filters, patch, dilation)
    filters = filters.detach().cpu()
    if fill_patches(filters, basis):
        return unchecked_profile(filters, basis)
    total = torch.zeros(len(basis.components), dtype=torch.float64)
    for group in by_size(filters):
        flat = group.flatten(1).double()
        for some, seen in _parts(basis, group, dilation):
            total[some] += (flat @ seen).square().mean(2).sum(1)
    profile: NDArray[np.float64] = (total / len(filters)).sqrt().numpy()
    return profile


@own_settings()
def placed_profiles(
    banks: Tensor, basis: PatchBasis, dilation: Pair = (1, 1)
) -> NDArray[np.float64]:
    r"""Return the energy profiles of many banks at all places of the patches of a basis.

    They are those of :func:`placed_profile`. With the matrix :math:`S_p` that picks the pixels a
    filter sees at place p,

    .. math:: e_i^2 = \langle C, G_i \rangle, \quad C = \frac1N \sum_n w_n w_n^\top, \quad
        G_i = \frac1P \sum_p S_p u_i u_i^\top S_p^\top

    so that components are placed once for all banks. Each bank is measured alone if a filter has
    more numbers than the bank has responses to a component, because C is large then.

    Parameters
    ----------
    banks : (n, k, c, kh, kw), or (n, k, 1, kh, kw) filters of the luma of color images
    dilation : as in :func:`place_filters`

    Returns
    -------
    (n, r)
    """
    check_fit(banks[0], basis.patch[1:], dilation)
    every = banks.detach().cpu().flatten(0, 1)
    if fill_patches(every, basis):
        return profiles_of_banks(banks, basis)
    few = banks.shape[1] * _places(basis, every, dilation) < every[0].numel()
    if few or not torch.equal(next(by_size(every)), every):
        return np.stack([placed_profile(bank, basis, dilation) for bank in banks])
    flat = banks.detach().cpu().double().flatten(2)
    second = (flat.mT @ flat / flat.shape[1]).flatten(1)
    power = torch.empty(len(banks), len(basis.components), dtype=torch.float64)
    for some, seen in _parts(basis, banks[0], dilation, banks[0, 0].numel() ** 2):
        power[:, some] = second @ (seen @ seen.mT / seen.shape[2]).flatten(1).T
    profiles: NDArray[np.float64] = power.clamp_min_(0).sqrt_().numpy()  # rounded below 0
    return profiles


def _places(basis: PatchBasis, filters: Tensor, dilation: Pair) -> int:
    """Return the number of places of filters of one size in the patches of a basis."""
    rows, columns = extent(filters, dilation)
    return (basis.patch[1] - rows + 1) * (basis.patch[2] - columns + 1)


def _parts(
    basis: PatchBasis, group: Tensor, dilation: Pair, numbers: int = 1
) -> Iterator[tuple[slice, Tensor]]:
    """Yield the windows of some components at a time, (m, d, places).

    ``numbers`` is how many else are computed of each component.
    """
    places = _places(basis, group, dilation)
    step = max(1, MAX_NUMBERS // max(numbers, places * max(len(group), group[0].numel())))
    for start in range(0, len(basis.components), step):
        some = slice(start, start + step)
        yield some, windows(basis.components[some], basis, tuple(group.shape[1:]), dilation)


def windows(vectors: Tensor, basis: PatchBasis, kernel: tuple[int, ...], dilation: Pair) -> Tensor:
    """Return (m, d, places) the parts of (m, D) patches that a kernel sees at each place.

    Parameters
    ----------
    kernel : channels, rows and columns. A kernel of one channel sees the luma of color patches
    """
    patches = vectors.reshape(-1, *basis.patch)
    if kernel[0] == 1 and basis.patch[0] == 3:
        luma = torch.tensor(LUMA, dtype=vectors.dtype).view(3, 1, 1)
        patches = (patches * luma).sum(1, keepdim=True)
    return F.unfold(patches, kernel[1:], dilation=dilation)


def basis_of_kernel(
    basis: PatchBasis, kernel: tuple[int, int, int], dilation: Pair = (1, 1)
) -> PatchBasis:
    r"""Return the principal components of the pixels that a smaller kernel sees.

    Their covariance is the mean over all places of the kernel in the patches,

    .. math:: C_k = \frac1P \sum_p S_p^\top C_K S_p

    Parameters
    ----------
    kernel : channels, rows and columns that filters see
    dilation : as in :func:`place_filters`
    """
    size = math.prod(kernel)
    covariance = torch.zeros(size, size, dtype=torch.float64)
    step = max(1, MAX_NUMBERS // (basis.components.shape[1] * size))
    scaled = basis.components * basis.eigenvalues.sqrt()[:, None]
    for some in scaled.split(step):
        seen = windows(some, basis, kernel, dilation)
        flat = seen.transpose(0, 1).flatten(1)
        covariance += flat @ flat.T / seen.shape[2]
    mean = windows(basis.mean[None], basis, kernel, dilation)[0].mean(1)
    with warnings.catch_warnings():  # the basis has warned of components without variance
        warnings.simplefilter("ignore", RepsimWarning)
        return basis_from_moments(covariance, mean, kernel, basis.centered, basis.count)


def kernel_shares(
    basis: PatchBasis, own: PatchBasis, dilation: Pair = (1, 1)
) -> NDArray[np.float64]:
    r"""Return (r, s) the energy of one component on another, for components of two patch sizes.

    .. math:: A_{ij} = \frac1P \sum_p (S_p v_j \cdot u_i)^2

    Filters with the covariance :math:`\sum_j e_j^2 v_j v_j^\top` on the components v of their own
    patches have the energies :math:`\sqrt{\sum_j A_{ij} e_j^2}` on the components u of larger ones.

    Parameters
    ----------
    basis : r components of the larger patches
    own : s components of the patches that the filters see
    """
    shares = torch.zeros(len(basis.components), len(own.components), dtype=torch.float64)
    vectors = own.components.reshape(-1, *own.patch)
    for some, seen in _parts(basis, vectors, dilation):
        shares[some] = (own.components @ seen).square().mean(2)
    result: NDArray[np.float64] = shares.numpy()
    return result
