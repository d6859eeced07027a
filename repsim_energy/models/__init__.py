"""The built-in architectures, registered through the same hook as everybody else's."""

from __future__ import annotations

from repsim_energy.hookspecs import hookimpl


@hookimpl
def repsim_models() -> dict[str, str]:
    """Return the built-in architectures, none of them imported yet."""
    here = "repsim_energy.models"
    names = {f"vgg{depth}": f"{here}.vgg:vgg{depth}" for depth in (11, 13, 16, 19)}
    names |= {f"resnet{depth}": f"{here}.resnet:resnet{depth}" for depth in (18, 20, 34)}
    return names | {
        "linear_cnn": f"{here}.linear_cnn:linear_cnn",
        "lenet5": f"{here}.lenet:lenet5",
        "torchvision/*": f"{here}.torchvision_zoo:zoo",
        "checkpoint": f"{here}.checkpoint:checkpoint",
    }
