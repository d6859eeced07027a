"""Numbers of channels and initial weights of the built-in architectures."""

from __future__ import annotations

from torch import nn

from repsim_energy.errors import UsageError

__all__ = ["channels", "initialize"]


def channels(full: int, width: float) -> int:
    """Return the number of channels of a layer times a width factor, at least 1.

    Examples
    --------
    >>> channels(64, 0.25)
    16
    """
    if not width > 0:
        raise UsageError(f"got width={width}, expected a factor above 0 such as 0.5")
    return max(1, round(full * width))


def initialize(net: nn.Module) -> None:
    """Draw the weights of all convolutions from N(0, 2 / fan-in) (He et al., 2015, Equation 10).

    The initial scale of the first layer then does not depend on its number of filters.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
