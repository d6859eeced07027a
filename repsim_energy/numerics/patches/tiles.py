"""Images of transformed patches, laid out without overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.errors import ShapeError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.patches.batches import check_batch
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from repsim_energy.interfaces import PatchTransform

__all__ = ["tile_patches"]


@takes_arrays
@own_settings()
def tile_patches(images: Tensor, transform: PatchTransform) -> Tensor:
    """Return images in which the transformed patches of images lie next to each other.

    A convolution with stride (kh, kw) and no padding sees each of them once.

    Parameters
    ----------
    images : (n, c, h, w) float
    transform : of (c, kh, kw) patches

    Returns
    -------
    (n, c, kh * (h - kh + 1), kw * (w - kw + 1)), of the type of the images; half ones are
    multiplied in float32

    Raises
    ------
    ShapeError
        For images that do not have such patches.
    """
    channels, kh, kw = transform.patch
    check_batch(images, (kh, kw))
    if images.shape[1] != channels:
        raise ShapeError(
            f"images have {images.shape[1]} channels but the transform {channels}; use images of "
            "the kind it was made on"
        )
    height, width = (s - k + 1 for s, k in zip(images.shape[2:], (kh, kw), strict=True))
    values = images.to(torch.promote_types(images.dtype, torch.float32))
    patches = transform.matrix.to(values) @ F.unfold(values, (kh, kw))
    size = (kh * height, kw * width)
    return F.fold(patches, size, (kh, kw), stride=(kh, kw)).to(images.dtype)
