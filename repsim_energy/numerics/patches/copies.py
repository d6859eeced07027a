"""Copies of images in which the same row of all images lies together."""

from __future__ import annotations

import torch
from torch import Tensor

from repsim_energy.numerics.patches.layout import Layout

__all__ = ["WORD", "RowCopies", "has_channels_last"]

WORD = 4
"""Columns that are copied at once."""

WORD_TYPES = {1: torch.int32, 4: torch.complex128}
"""Type as large as a word of bytes and of float32. It is copied and not computed with."""


def has_channels_last(images: Tensor) -> bool:
    """Return True for images (n, c, h, w) whose channels lie together in memory."""
    return images.stride(1) == 1 and images.stride(3) == images.shape[1] > 1


class RowCopies:
    """Copy of some rows of some images, less an offset: ``rows`` (h, n, p) of int8 or float32.

    Parameters
    ----------
    size : (h, n)
    layout : of a row
    kind : type of the copy
    offset : (c,) to subtract; of bytes it is 128
    """

    def __init__(
        self, size: tuple[int, int], layout: Layout, kind: torch.dtype, offset: Tensor
    ) -> None:
        self._layout = layout
        self.rows = torch.zeros(*size, layout.pitch, dtype=kind)
        self._offset = torch.zeros(layout.pitch, dtype=offset.dtype)
        self._offset[layout.places()] = offset[:, None].expand(-1, layout.width)

    def fill(self, images: Tensor) -> None:
        """Copy rows of images (n, c, h, w); those of missing images are zero.

        Values of a row that are no pixels are arbitrary: their products are checked, not used.
        """
        layout, count = self._layout, len(images)
        target = self.rows if self.rows.is_floating_point() else self.rows.view(torch.uint8)
        target = target[:, :count]
        if layout.word == 1:
            pixels = target[..., : layout.channels * layout.width]
            pixels.unflatten(2, (layout.width, layout.channels)).copy_(images.permute(2, 0, 3, 1))
        else:
            kind = WORD_TYPES[target.element_size()]
            words = _in_words(images, target.dtype).view(kind)
            n = words.shape[3]
            copied = target.view(kind)[..., : n * layout.channels]
            copied = copied.unflatten(2, (n, layout.channels))
            for channel in range(layout.channels):
                copied[..., channel].copy_(words[:, channel].permute(1, 0, 2))
        if target.is_floating_point():
            target.sub_(self._offset)
        elif layout.pitch % 8 == 0:
            target.view(torch.int64).bitwise_xor_(-0x7F7F7F7F7F7F7F80)  # 128 in each byte
        else:
            target.bitwise_xor_(128)  # the bits of the number less 128
        self.rows[:, count:] = 0


def _in_words(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return images whose rows can be read in words: themselves, or a copy with wider rows."""
    strides = (*images.stride()[:3], images.storage_offset(), images.shape[3])
    aligned = images.data_ptr() % (WORD * dtype.itemsize) == 0
    whole = images.stride(3) == 1 and all(number % WORD == 0 for number in strides)
    if aligned and whole and images.dtype == dtype:
        return images
    width = -(-images.shape[3] // WORD) * WORD
    copied = torch.zeros(*images.shape[:3], width, dtype=dtype)
    copied[..., : images.shape[3]] = images
    return copied
