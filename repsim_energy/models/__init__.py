"""Models: the built-in architectures, weights from files, and the filters of a first layer."""

from __future__ import annotations

from repsim_energy.hookspecs import hookimpl


@hookimpl
def repsim_models() -> dict[str, str]:
    """Return the built-in models by name, none of them imported yet."""
    here = "repsim_energy.models"
    nets = f"{here}.architectures"
    names = {f"vgg{depth}": f"{nets}.vgg:vgg{depth}" for depth in (11, 13, 16, 19)}
    names |= {f"resnet{depth}": f"{nets}.resnet:resnet{depth}" for depth in (18, 20, 34)}
    return names | {
        "linear_cnn": f"{nets}.linear_cnn:linear_cnn",
        "lenet5": f"{nets}.lenet:lenet5",
        "mlp": f"{nets}.mlp:mlp",
        "two_layer_cnn": f"{nets}.two_layer:two_layer_cnn",
        "crbm": f"{here}.crbm:crbm",
        "frame/*": f"{here}.frames:frames",
        "torchvision/*": f"{nets}.torchvision_zoo:zoo",
        "checkpoint": f"{here}.checkpoint:checkpoint",
        "features": f"{here}.feature_files:features",
    }
