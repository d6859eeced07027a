"""Sizes of filters: the pixels that they see, and whether these fit into a patch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim_energy.errors import ShapeError

if TYPE_CHECKING:
    from repsim_energy.interfaces import PatchBasis

__all__ = ["by_size", "check_fit", "crop_bank", "extent", "fill_patches"]

Pair = tuple[int, int]


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


def fill_patches(filters: Tensor, basis: PatchBasis) -> bool:
    """Return whether filters have the size of the patches, and none has zeros at its border."""
    if tuple(filters.shape[1:]) != basis.patch:
        return False
    return tuple(next(by_size(filters)).shape) == tuple(filters.shape)


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
