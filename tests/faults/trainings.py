"""Small trainings of every kind, to be run and killed in children."""

import random

import numpy as np
import torch
from samples import both_splits, noise_images
from torch import nn

from repsim_energy.interfaces import ModelSpec
from repsim_energy.models.architectures.resnet import resnet18
from repsim_energy.models.architectures.vgg import vgg11
from repsim_energy.training import partial_run
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.together import run_together
from repsim_energy.training.training import Training

CPU = torch.device("cpu")
DATA = both_splits(noise_images(80, (3, 16, 16), 4))


def tiny_vgg(classes, channels):
    return vgg11(classes, channels, width=0.05)


def tiny_resnet(classes, channels):
    return resnet18(classes, channels, width=0.05)


class Unruly(nn.Module):
    """Draws from all generators, counts its steps, and keeps buffers that no file has."""

    def __init__(self, classes, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(6, classes)
        self.register_buffer("mean", torch.zeros(6), persistent=False)
        self.kept = torch.zeros(6)
        self.count = 0

    def forward(self, images):
        found = self.drop(self.norm(self.conv(images)).relu().mean((2, 3)))
        if self.training:
            self.count += 1
            with torch.no_grad():
                self.mean.lerp_(found.mean(0).float(), 0.3)
                self.kept = 0.5 * self.kept + self.mean
            found = found * (1 + 0.1 * random.random() + 0.1 * np.random.rand())  # noqa: NPY002
        return self.head(found + self.mean + 0.1 * self.kept) / (1 + 0.01 * self.count)


class Counting(nn.Module):
    """Draws from all generators and counts its steps, also in a batch of networks."""

    def __init__(self, classes, channels):
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(6, classes)
        self.count = 0

    def forward(self, images):
        found = self.drop(self.conv(images).relu().mean((2, 3)))
        self.count += self.training
        return self.head(found) / (1 + 0.01 * self.count + 0.1 * random.random())


MODELS = {"vgg": tiny_vgg, "resnet": tiny_resnet, "unruly": Unruly, "counting": Counting}

RECIPES = {
    "sgd": Recipe(lr=0.02, momentum=0.9, batch=16, steps=30, snapshots=5),
    "adam": Recipe(lr=0.002, optimizer="adam", batch=16, steps=30, evaluations=4, test_images=20),
    "cycle": Recipe(lr=0.05, momentum=0.9, weight_decay=1e-3, batch=16, epochs=6,
                    schedule="one_cycle", until_accuracy=0.9),
    "bfloat16": Recipe(lr=0.02, momentum=0.9, batch=16, steps=30, precision="bfloat16"),
    "mse": Recipe(lr=0.02, batch=16, steps=30, loss="mse", evaluations=2),
    "people": Recipe(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01, decay_norms=False,
                     schedule="cosine", warmup=0.2, batch=16, steps=30, label_smoothing=0.1,
                     crop=3, flip=True, ema=0.9, evaluations=3),
}  # fmt: skip


def training_of(model, recipe, seed):
    spec = ModelSpec(model, MODELS[model], {"name": model})
    return Training(spec, DATA, seed, RECIPES[recipe])


def run(model, recipe, seed, seconds=0.0):
    """Train, and store the state after every step, or each so many seconds."""
    partial_run.SECONDS, partial_run.MAX_SHARE = seconds, 1.0
    torch.set_num_threads(1)
    training_of(model, recipe, seed).run(CPU)


def run_batched(model, recipe, seeds, seconds=0.0):
    """Train several seeds as one batched network, as on a GPU."""
    partial_run.SECONDS, partial_run.MAX_SHARE = seconds, 1.0
    torch.set_num_threads(1)
    outcomes = run_together([training_of(model, recipe, seed) for seed in seeds], CPU)
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
