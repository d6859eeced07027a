"""Second layers of networks that other people trained: the numbers of docs/explanation/depth.md.

What: theory, whitening and similarity to random weights of their first two convolutions.
Sizes: five networks of FOLDER/networks/whole, 1,000 images of FOLDER/cifar10-subset.npz.

Run: REPSIM_TEST_IMAGES=FOLDER python benchmarks/depth.py
"""

import os
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

import repsim_energy as rs

NETWORKS = {
    "eran_cifar_conv_small_pgd": (0, "cifar"),
    "marabou_cifar_small": (0, "none"),
    "marabou_cifar_medium": (0, "none"),
    "oval_cifar_base_kw": (1, "0.485/0.456/0.406/0.225/0.225/0.225"),
    "oval_cifar_wide_kw": (1, "0.485/0.456/0.406/0.225/0.225/0.225"),
}
"""File -> padding and normalization, of its card. All are two 4x4 convolutions of stride 2 with
ReLU, trained on CIFAR-10, and linear layers."""

VARIABLES = ("layer_fit_correlation", "layer_fit_steps", "whitening_exponent")


def network(weights, padding):
    """Return the network of a file."""
    layers = []
    for name, weight in weights.items():
        if not name.endswith("weight"):
            continue
        if weight.ndim == 4:
            layers.append(nn.Conv2d(weight.shape[1], len(weight), 4, 2, padding))
        else:
            layers += [] if any(isinstance(one, nn.Flatten) for one in layers) else [nn.Flatten()]
            layers.append(nn.Linear(weight.shape[1], len(weight)))
        layers.append(nn.ReLU())
    return nn.Sequential(*layers[:-1])


def measure(folder):
    """Return name -> result of both convolutions, with weights of the file and with random ones."""
    images = rs.load_images(f"npz:path={folder / 'cifar10-subset.npz'}")
    found = {}
    for name, (padding, normalization) in NETWORKS.items():
        weights = load_file(folder / "networks" / "whole" / f"{name}.safetensors")
        ordered = dict(sorted(weights.items(), key=lambda item: int(item[0].split(".")[0])))
        torch.manual_seed(0)
        pair = {"trained": network(ordered, padding), "random": network(ordered, padding)}
        pair["trained"].load_state_dict(ordered)
        found[name] = rs.compare(
            pair, images, layers="0,2", align="input", normalize=normalization, images=1000
        )
    return found


def main():
    """Print the numbers of each layer."""
    for name, result in measure(Path(os.environ["REPSIM_TEST_IMAGES"])).items():
        for model in ("trained", "random"):
            one = result.sel(model=model).isel(dataset=0, seed=0)
            for layer in one.layer.values:
                numbers = (f"{float(one[v].sel(layer=layer)):.2f}" for v in VARIABLES)
                print(name, model, layer, *numbers)


if __name__ == "__main__":
    main()
