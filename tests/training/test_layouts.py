"""Memory layouts: networks whose gradients are wrong with channels last are trained without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import repsim_energy as rs
from repsim_energy.interfaces import Dataset, ImageSet, ModelSpec
from repsim_energy.training.inputs import CHANNELS_LAST, LAYOUTS, layouts_of, normalization_of
from repsim_energy.training.training import Training


class Own(nn.Conv2d):
    """A layer of a user, derived from a convolution."""


@pytest.mark.parametrize(
    ("layer", "fast"),
    {
        "few channels": (nn.Conv2d(8, 16, 1, 2), False),
        "one channel": (nn.Conv2d(1, 16, 1, 2), False),
        "stride in one direction": (nn.Conv2d(15, 16, 1, (1, 2)), False),
        "stride 3": (nn.Conv2d(4, 16, 1, 3), False),
        "derived": (Own(4, 16, 1, 2), False),
        "inside": (nn.Sequential(nn.Identity(), nn.ModuleList([nn.Conv2d(4, 8, 1, 2)])), False),
        "many channels": (nn.Conv2d(16, 8, 1, 2), True),
        "stride 1": (nn.Conv2d(8, 16, 1), True),
        "larger kernel": (nn.Conv2d(8, 16, 3, 2), True),
        "groups": (nn.Conv2d(8, 16, 1, 2, groups=2), True),
        "no convolution": (nn.Linear(8, 16), True),
    }.values(),
)
def test_only_strided_pointwise_convolutions_of_few_channels_need_contiguous_images(layer, fast):
    assert (layouts_of(layer) == LAYOUTS) is fast
    assert (CHANNELS_LAST in layouts_of(layer)) is fast


def network(classes, channels, inside):
    """Return a network that ends in a strided 1x1 convolution of so many input channels."""
    narrow = nn.Conv2d(inside, classes, 1, 2, bias=False)
    filters = nn.Conv2d(channels, inside, 1, bias=False)
    return nn.Sequential(filters, narrow, nn.AdaptiveAvgPool2d(1), nn.Flatten())


def images():
    draw = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (40, 3, 56, 56), generator=draw, dtype=torch.uint8)
    train, test = (
        ImageSet(part, torch.arange(len(part)) % 4, tuple("abcd"), "noise")
        for part in pixels.split(32)
    )
    return Dataset("noise", train, test)


def main():
    """Take a step with each network, and compare its weights with the same step in float64."""
    data, recipe = images(), rs.Recipe(lr=1.0, batch=32, steps=1, snapshots=0)
    normalization = normalization_of(data.train)
    mean = torch.tensor(normalization.mean).double().view(-1, 1, 1)
    inputs = (data.train.images.double() / 255 - mean) / normalization.std[0]
    for inside in (2, 4, 7, 8, 12, 15, 16):
        spec = ModelSpec("narrow", lambda *of, n=inside: network(*of, n), None)
        training = Training(spec, data, 0, recipe)
        trained = training.run(torch.device("cpu")).network()
        again = training.new_network().double()
        pooled = again[1].weight[:, :, 0, 0] @ again[0].weight[:, :, 0, 0]
        scores = torch.einsum("oc,nchw->no", pooled, inputs[:, :, ::2, ::2]) / 28**2
        nn.functional.cross_entropy(scores, data.train.labels).backward()
        for layer in (0, 1):
            step = again[layer].weight.detach() - trained[layer].weight.double()
            off = (step - again[layer].weight.grad).abs().max() / step.abs().max()
            assert off < 1e-3, (inside, layer, float(off))
    print("all equal")


@pytest.mark.process
@pytest.mark.parametrize("limit", ["AVX2", "AVX512_CORE", "DEFAULT"])
def test_steps_of_such_networks_are_those_in_float64_with_every_instruction_set(limit):
    """In a process of its own: where the gradient is written elsewhere, it crashes or hangs."""
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": limit}
    done = subprocess.run(
        [sys.executable, str(Path(__file__))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stdout) == (0, "all equal\n"), done.stderr


if __name__ == "__main__":
    main()
