"""Filters at all places of a larger patch: their bank, their energy profile and their theory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import DataError, RepsimWarning, ShapeError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.patches.basis import basis_from_moments
from repsim_energy.numerics.profiles.energy import unchecked_profile
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from repsim_energy.interfaces import PatchBasis

__all__ = [
    "LUMA",
    "basis_of_kernel",
    "crop_bank",
    "kernel_shares",
    "place_filters",
    "placed_profile",
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
    groups = list(by_size(filters.detach().cpu()))
    whole = len(groups) == 1 and tuple(groups[0].shape[1:]) == basis.patch
    if whole:
        return unchecked_profile(groups[0], basis)
    total = torch.zeros(len(basis.components), dtype=torch.float64)
    for group in groups:
        flat = group.flatten(1).double()
        for some, seen in _parts(basis, group, dilation):
            total[some] += (flat @ seen).square().mean(2).sum(1)
    profile: NDArray[np.float64] = (total / len(filters)).sqrt().numpy()
    return profile


def _parts(basis: PatchBasis, group: Tensor, dilation: Pair) -> Iterator[tuple[slice, Tensor]]:
    """Yield the windows of some components at a time, (m, d, places)."""
    rows, columns = extent(group, dilation)
    places = (basis.patch[1] - rows + 1) * (basis.patch[2] - columns + 1)
    step = max(1, MAX_NUMBERS // (places * max(len(group), group[0].numel())))
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


def crop_bank(banks: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return banks (..., c, kh, kw) without rows and columns at the border that are zero in all."""
    seen = [torch.count_nonzero(bank.flatten(0, -3), dim=0) > 0 for bank in banks.values()]
    whole = torch.stack(seen).any(0)
    if not bool(whole.any()):
        return banks
    rows, columns = (whole.any(axis).nonzero().flatten() for axis in (1, 0))
    box = (
        ...,
        slice(int(rows[0]), int(rows[-1]) + 1),
        slice(int(columns[0]), int(columns[-1]) + 1),
    )
    return {name: bank[box] for name, bank in banks.items()}


def by_size(filters: Tensor) -> Iterator[Tensor]:
    """Yield the filters of each size, without the rows and columns of zeros at their border.

    Filters of zeros are kept whole. Their energy is 0 at every place.
    """
    seen = filters.ne(0).any(1)
    seen |= ~seen.any((1, 2), keepdim=True)
    if bool(seen[:, [0, -1]].any(2).all() and seen[:, :, [0, -1]].any(1).all()):
        yield filters
        return
    parts: dict[Pair, list[Tensor]] = {}
    rows, columns = _ends(seen.any(2)), _ends(seen.any(1))
    for one, (top, bottom), (left, right) in zip(filters, rows, columns, strict=True):
        part = one[:, top:bottom, left:right]
        parts.setdefault((part.shape[1], part.shape[2]), []).append(part)
    for size in sorted(parts):
        yield torch.stack(parts[size])


def _ends(seen: Tensor) -> list[list[int]]:
    """Return the first place in each row that is true, and the one after the last."""
    first, last = (ends.int().argmax(1) for ends in (seen, seen.flip(1)))
    ends: list[list[int]] = torch.stack([first, seen.shape[1] - last], 1).tolist()
    return ends


def extent(filters: Tensor, dilation: Pair) -> Pair:
    """Return the rows and columns that filters span, with the holes of a dilation."""
    rows, columns = ((n - 1) * d + 1 for n, d in zip(filters.shape[2:], dilation, strict=True))
    return rows, columns


def check_fit(filters: Tensor, patch: tuple[int, ...], dilation: Pair) -> None:
    """Refuse filters that do not fit into a patch."""
    if filters.ndim != 4 or filters.numel() == 0:
        raise ShapeError(f"filters have shape {tuple(filters.shape)}, expected (n, c, kh, kw)")
    if min(*patch, *dilation) < 1:
        raise ShapeError(
            f"got patch {tuple(patch)} and dilation {tuple(dilation)}, expected rows and columns "
            "of at least 1"
        )
    rows, columns = extent(filters, dilation)
    if rows > patch[0] or columns > patch[1]:
        raise ShapeError(
            f"filters span {rows}x{columns} pixels, expected at most the {patch[0]}x{patch[1]} of "
            "the patch; use a larger patch"
        )
