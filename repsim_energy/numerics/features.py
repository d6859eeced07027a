"""Activations as matrices: one row per image, one column per feature."""

from __future__ import annotations

import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.settings import own_settings

__all__ = ["as_rows", "check_finite", "flatten_activations", "is_channels_last"]


@takes_arrays
@own_settings()
def flatten_activations(activations: Tensor) -> Tensor:
    """Flatten the activations of n images to a matrix with one row per image.

    The features come in the order in which they lie in memory, which saves copying activations
    that are stored channels last. The order is thus the same for all images, and otherwise
    unspecified: use it for measures that do not depend on the order of features.

    Parameters
    ----------
    activations : (n, ...) of any number type, a tensor or an array; (n,) is one feature per image

    Returns
    -------
    (n, d) tensor of the same type, on the same device, without a graph; a view where possible

    Raises
    ------
    ShapeError
        For a single number.
    DataError
        For NaN or infinite values.

    Examples
    --------
    >>> flatten_activations(torch.zeros(5, 8, 4, 4)).shape
    torch.Size([5, 128])
    """
    rows = as_rows(activations)
    check_finite(rows)
    return rows


@takes_arrays
def as_rows(activations: Tensor) -> Tensor:
    """Flatten activations as :func:`flatten_activations` does, with NaN and infinite values."""
    if activations.ndim == 0:
        raise ShapeError("activations are a single number, expected (images, ...)")
    if is_channels_last(activations):
        activations = activations.permute(0, 2, 3, 1)
    rows = activations.detach()
    return rows.flatten(1) if rows.ndim > 1 else rows[:, None]


def is_channels_last(activations: Tensor) -> bool:
    """Return True for (n, c, h, w) values that are stored in the order (n, h, w, c)."""
    return activations.ndim == 4 and activations.is_contiguous(memory_format=torch.channels_last)


def check_finite(features: Tensor) -> None:
    """Refuse NaN and infinite values.

    Raises
    ------
    DataError
        For values that are not finite.
    """
    if features.numel() == 0 or not (features.is_floating_point() or features.is_complex()):
        return
    if features.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        features = torch.stack(torch.aminmax(features))  # needs no mask as large as the features
    if not torch.isfinite(features).all():
        raise DataError("features hold NaN or infinite values, expected finite ones")
