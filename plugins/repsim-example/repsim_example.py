"""An architecture for repsim-energy: two convolutions and a linear classifier."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from repsim_energy import hookimpl

if TYPE_CHECKING:
    from torch import nn


def build(num_classes: int, in_channels: int, *, width: int = 32) -> nn.Module:
    """Return a network of two convolutions.

    Parameters
    ----------
    width : channels of both convolutions
    """
    from torch import nn  # here, so that listing names stays fast

    return nn.Sequential(
        nn.Conv2d(in_channels, width, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(width, num_classes),
    )


@hookimpl
def repsim_models() -> dict[str, Callable[..., nn.Module]]:
    """Offer the architecture under the name that users type."""
    return {"example": build}
