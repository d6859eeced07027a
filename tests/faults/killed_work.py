"""What processes write while they are killed. It imports little, as each of them imports it."""

from functools import partial

import numpy as np
import torch
from samples import numbered_pictures
from torch import nn

from repsim_energy.data.pixel_cache import cached_pixels
from repsim_energy.interfaces import Normalization
from repsim_energy.results import example_result, save_result
from repsim_energy.scheduling import chunks as chunk_sums
from repsim_energy.training.history import History
from repsim_energy.training.run_cache import Run, keep_run


def result(number):
    """A result with 0.5 MB of numbers that are its own."""
    values = np.random.default_rng(number).random(60_000)
    return example_result().assign(own=("sample", values)).assign_attrs(number=number)


def write_results(path, number, begun):
    made = result(number)
    begun.set()
    save_result(made, path)


def build():
    net = nn.Linear(1000, 500)
    with torch.no_grad():
        net.weight.fill_(1.0)
        net.bias.fill_(2.0)
    return net


def run(value):
    """A run of which every number is the same."""
    numbers = torch.full((100,), float(value))
    filters = torch.full((64, 3, 11, 11), float(value))
    history = History(
        steps=100,
        loss=numbers,
        accuracy=numbers,
        train_accuracy=0.5,
        snapshots=filters[None],
        snapshot_steps=torch.tensor([100]),
        snapshot_scales=None,
        evaluations=torch.zeros(0, 2),
        evaluation_steps=torch.zeros(0),
    )
    normal = Normalization((0.0,), (1.0,))
    return Run("", "layer", filters, filters, None, history, normal, 0.5, build)


def write_run(key, begun):
    made = run(7)
    begun.set()
    keep_run(made, key, {"model": "m"})


def pixels():
    """400 images, 4 MB."""
    return torch.arange(4_000_000).to(torch.uint8).reshape(-1, 1, 100, 100)


def write_images(folder, begun):
    pictures = numbered_pictures(folder, pixels())
    begun.set()
    cached_pixels(pictures, "v")


def chunk(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randint(256, (4, 3, 16, 16), generator=generator, dtype=torch.uint8)


CHUNKS = [partial(chunk, number) for number in range(6)]
PATCH = (9, 9)


def merge(path, begun):
    """Add chunks to a checkpoint, which is written after each of them."""
    chunk_sums.CHECKPOINT_SECONDS = 0.0
    begun.set()
    chunk_sums.patch_moments_of_chunks(CHUNKS, PATCH, checkpoint=path)
