"""Sums over patches of float images, as bytes where that is what they hold.

Images are stored as bytes, and often scaled to 0..1 when they are loaded, as torchvision's
``ToTensor`` does. Whole numbers are summed exactly, and faster.
"""

from __future__ import annotations

import torch
from torch import Tensor

from repsim_energy.numerics.patches.sums import patch_sums

__all__ = ["bytes_of", "value_sums"]

PART_BYTES = 64 * 2**20
"""Bytes of float images that are read as bytes at once."""

BLOCK = 2**19
"""Pixels that are compared at once, which stay in the cache of a processor."""


def value_sums(images: Tensor, patch: tuple[int, int]) -> tuple[Tensor, Tensor, set[str]]:
    """Return what :func:`~repsim_energy.numerics.patches.sums.patch_sums` does, in float64.

    Float images whose values are b / 255 for bytes b, rounded to their type, are summed as those
    bytes. The sums are then those of the exact fractions.

    Parameters
    ----------
    images : (n, c, h, w) uint8 or float, n > 0
    patch : (kh, kw)

    Returns
    -------
    sum : (d,) float64; of uint8 images in units of bytes
    second_moment : (d, d) float64
    products : the number types that were multiplied
    """
    if not images.is_floating_point():
        total, second, ways = patch_sums(images, patch)
        return total.double(), second.double(), ways
    step = max(1, PART_BYTES // (images[0].numel() * images.element_size()))
    sums = [_part_sums(part, patch) for part in images.split(step)]
    totals, seconds, ways_of_parts = zip(*sums, strict=True)
    return sum(totals[1:], totals[0]), sum(seconds[1:], seconds[0]), set().union(*ways_of_parts)


def _part_sums(images: Tensor, patch: tuple[int, int]) -> tuple[Tensor, Tensor, set[str]]:
    scaled = bytes_of(images)
    total, second, ways = patch_sums(images if scaled is None else scaled, patch)
    unit = 1 if scaled is None else 255
    return total.double() / unit, second.double() / unit**2, ways


def bytes_of(images: Tensor) -> Tensor | None:
    """Return the bytes b of float images that are b / 255, as rounded in their type.

    ``None`` if any value is another number, or the type cannot tell them apart, as half precision
    cannot.

    Examples
    --------
    >>> bytes_of(torch.tensor([[[[0.0, 1.0, 0.2]]]]))
    tensor([[[[  0, 255,  51]]]], dtype=torch.uint8)
    >>> bytes_of(torch.tensor([[[[0.0, 1.0, 0.21]]]])) is None
    True
    """
    if images.dtype not in (torch.float32, torch.float64):
        return None
    found = torch.empty_like(images, dtype=torch.uint8)
    step = max(1, BLOCK // images[0].numel())
    for values, out in zip(images.split(step), found.split(step), strict=True):
        scaled = (values * 255).round_().clamp_(0, 255)
        if not torch.equal(scaled / 255, values):
            return None
        out.copy_(scaled)
    return found
