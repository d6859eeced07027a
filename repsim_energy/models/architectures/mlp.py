"""Fully connected networks."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Literal

from torch import nn

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import ImageSet
from repsim_energy.models.architectures.scaling import channels

__all__ = ["mlp"]

ACTIVATIONS: dict[str, tuple[type[nn.Module], float]] = {
    "hard_tanh": (nn.Hardtanh, 1.0),
    "relu": (nn.ReLU, math.sqrt(2)),
}
"""Activation -> its layer, and the default of ``sigma_w``."""


def mlp(
    num_classes: int,
    in_channels: int,
    images: ImageSet,
    *,
    depth: int = 8,
    units: int = 100,
    width: float = 1.0,
    activation: Literal["hard_tanh", "relu"] = "hard_tanh",
    sigma_w: float | None = None,
    sigma_b: float = 0.0,
    frozen: bool = False,
) -> nn.Sequential:
    r"""Return a fully connected network on all pixels of an image.

    Initial weights are normal with variance :math:`\sigma_w^2 / \text{fan-in}`, biases with
    variance :math:`\sigma_b^2`, in every layer.

    Source: Raghu, Poole, Kleinberg, Ganguli and Sohl-Dickstein (2017), "On the Expressive Power of
    Deep Neural Networks", section 2, arXiv:1606.05336, for hard_tanh; He et al. (2015), Equation
    10, for the default ``sigma_w`` of relu.

    Parameters
    ----------
    images : the training images, whose height and width are those of all images
    depth : number of hidden layers
    units : units of each hidden layer
    width : factor on ``units``
    activation : hard_tanh, which is x between -1 and 1 and constant beyond, or relu
    sigma_w : scale of the initial weights; by default 1 for hard_tanh and the square root of 2 for
        relu
    sigma_b : standard deviation of the initial biases
    frozen : whether the first layer is not trained
    """
    for name, value in {"depth": depth, "units": units}.items():
        if value < 1:
            raise UsageError(f"mlp got {name}={value}, expected at least 1")
    function, default = ACTIVATIONS[activation]
    sigma_w = default if sigma_w is None else sigma_w
    for name, sigma in {"sigma_w": sigma_w, "sigma_b": sigma_b}.items():
        if not 0 <= sigma < math.inf:
            raise UsageError(f"mlp got {name}={sigma}, expected a standard deviation >= 0")
    inputs, units = in_channels * math.prod(images.images.shape[2:]), channels(units, width)
    layers: dict[str, nn.Module] = {"flatten": nn.Flatten()}
    for number in range(1, depth + 1):
        layers[f"hidden{number}"] = _linear(inputs, units, sigma_w, sigma_b)
        layers[f"{activation}{number}"] = function()
        inputs = units
    layers["output"] = _linear(inputs, num_classes, sigma_w, sigma_b)
    if frozen:
        layers["hidden1"].requires_grad_(False)
    return nn.Sequential(OrderedDict(layers))


def _linear(inputs: int, outputs: int, sigma_w: float, sigma_b: float) -> nn.Linear:
    """Return a linear layer with normal initial weights and biases."""
    layer = nn.Linear(inputs, outputs)
    nn.init.normal_(layer.weight, std=sigma_w / math.sqrt(inputs))
    nn.init.normal_(layer.bias, std=sigma_b)
    return layer
