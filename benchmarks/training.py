"""Time the training loop, and training of several seeds in processes.

Against: the usual loop, with a DataLoader of three workers that normalizes each image, in float32,
and the loss read after every step; for seeds, one after the other. All ways alternate.
Sizes: VGG11 and ResNet18, 3 steps of 128 images of 32x32; sweeps of 4 seeds and 60 to 600 steps.

Run: python benchmarks/training.py [--json] [--threads 2] [--rounds 5] [--loop 1] [--sweeps 3]
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time

import torch
from measure import alternate, options, ratio, report
from smooth_images import smooth_images
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from repsim_energy.interfaces import ImageSet
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.loop import train
from repsim_energy.training.recipe import Recipe

BATCH, STEPS = 128, 3
MODELS = ("vgg11", "resnet18")
SEEDS = 4
SWEEPS = (("vgg11:width=0.5", 60), ("vgg11:width=0.25", 600), ("resnet18:width=0.25", 200))
"""Models and numbers of steps: a short sweep, and two of about a minute."""


class SingleImages(Dataset):
    """Images one by one, as in torchvision's data sets."""

    def __init__(self, images, labels, normalization):
        self.images = [transforms.functional.to_pil_image(image) for image in images]
        self.labels = labels
        self.transform = transforms.Compose(
            [transforms.ToTensor(), transforms.Normalize(normalization.mean, normalization.std)]
        )

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.transform(self.images[index]), self.labels[index]


def usual(module, data, batch=BATCH, workers=3, on_step=lambda: None):
    """Train for an epoch as tutorials do, on the device of the network."""
    device = next(module.parameters()).device
    pinned = device.type == "cuda"
    loader = DataLoader(
        data, batch, shuffle=True, num_workers=workers, drop_last=True, pin_memory=pinned
    )
    optimizer = torch.optim.SGD(module.parameters(), 0.01)
    module.train()
    for inputs, target in loader:
        optimizer.zero_grad()
        output = module(inputs.to(device, non_blocking=pinned))
        loss = nn.functional.cross_entropy(output, target.to(device, non_blocking=pinned))
        loss.backward()
        optimizer.step()
        loss.item()
        on_step()


def rows(model, rounds):
    images = smooth_images(BATCH * STEPS, 32)
    labels = torch.arange(len(images)) % 10
    data = ImageSet(images, labels, tuple("0123456789"), "smooth images")
    normalization = normalization_of(data)
    one_by_one = SingleImages(images, labels, normalization)
    build = resolve_model(load_registry(plugins=False), model).build

    def ours(precision):
        module = build(10, 3)
        recipe = Recipe(batch=BATCH, steps=STEPS, snapshots=0, precision=precision)
        layer = find_first_conv(module).name
        train(module, layer, data, data, normalization, recipe, 0, torch.device("cpu"))

    taken = alternate(
        {
            "usual": lambda: usual(build(10, 3), one_by_one),
            "float32": lambda: ours("float32"),
            "bfloat16": lambda: ours("bfloat16"),
        },
        rounds,
    )
    for precision in ("float32", "bfloat16"):
        median, low, high = ratio(taken["usual"], taken[precision])
        yield {
            "model": model,
            "precision": precision,
            "images_per_s": len(images) / statistics.median(taken[precision]),
            "usual_images_per_s": len(images) / statistics.median(taken["usual"]),
            "ratio": median,
            "lowest": low,
            "highest": high,
        }


def sweep(model, steps, jobs):
    """Return the seconds of a sweep over seeds, run as a command with an empty cache."""
    cores = str(os.cpu_count())
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "REPSIM_CACHE": cache, "OMP_NUM_THREADS": cores}
        command = [sys.executable, "-m", "repsim_energy", "train", "--models", model, "--quiet"]
        command += ["--seeds", str(SEEDS), "--recipe", f"quick:steps={steps}"]
        start = time.perf_counter()
        subprocess.run(
            [*command, "--jobs", str(jobs)], check=True, env=environment, capture_output=True
        )
        return time.perf_counter() - start


def seeds(model, steps, rounds):
    taken = {jobs: [] for jobs in (1, os.cpu_count())}
    for _ in range(rounds):
        for jobs, seconds in taken.items():
            seconds.append(sweep(model, steps, jobs))
    one, many = taken.values()
    median, low, high = ratio(one, many)
    yield {
        "model": f"{model}, {SEEDS} seeds, {steps} steps, whole command",
        "processes": os.cpu_count(),
        "seconds": statistics.median(many),
        "one_after_another": statistics.median(one),
        "ratio": median,
        "lowest": low,
        "highest": high,
    }


def main():
    chosen = options(__doc__, loop=1, sweeps=len(SWEEPS))
    found = [row for model in MODELS[: 2 * chosen.loop] for row in rows(model, chosen.rounds)]
    sweeps = SWEEPS[: chosen.sweeps]
    found += [row for model, steps in sweeps for row in seeds(model, steps, chosen.rounds)]
    report(found, chosen.json)


if __name__ == "__main__":
    main()
