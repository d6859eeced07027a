"""Networks, images, recipes and distributions that the tests share."""

import importlib
import multiprocessing
import os
import sys
import time
import uuid
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import repsim_energy as rs
from repsim_energy import progress
from repsim_energy.data.picture_files import PictureFiles

TINY = "linear_cnn:filters=8:sigma=0.1"
"""The smallest built-in network."""

LEAVES = "deadleaves:count=120"
"""Procedural images, rendered once in a session of tests."""

RECIPE = rs.Recipe(lr=0.05, batch=20, steps=6, snapshots=3)
"""A training of six steps."""

MARKS = "REPSIM_TEST_MARKS"
"""The environment variable that names the folder in which processes leave marks."""

WATCHED = "watched"
"""A file in that folder: those who leave a mark wait until somebody has seen it."""


class Heard(rs.Reporter):
    """Keeps what it is told of a comparison."""

    def __init__(self):
        self.lines, self.steps = [], []

    def announce(self, text):
        self.lines.append(text)

    def progress(self, progress):
        self.steps.append(progress)

    @property
    def ended(self):
        return [one.label for one in self.steps if one.step == one.steps]

    @property
    def watched(self):
        """The trainings that were reported while they went on, in this process that is."""
        return {one.label for one in self.steps if one.step < one.steps}


class EveryReport(rs.Reporter):
    """Keeps all reports of pieces of work, however fast they follow each other."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(progress, "MIN_REPORT_SECONDS", 0.0)
        self.pieces = []

    def work(self, work):
        self.pieces.append(work)

    def counts(self, label):
        """The units done in the reports of one piece."""
        return [work.done for work in self.pieces if work.label == label]


def noise_images(count, shape, classes=2, *, seed=0, name="noise"):
    """``count`` images (c, h, w) of random bytes, whose labels take turns."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    return rs.ImageSet(pixels, torch.arange(count) % classes, tuple("abcdefghij"[:classes]), name)


def both_splits(images):
    """A data set that is tested on the images that it is trained on."""
    return rs.Dataset(images.name, images, images)


def smooth_images(generator):
    """60 color images of 12x12 pixels in three classes, whose pixels resemble their neighbors."""
    noise = torch.randn(60, 3, 16, 16, generator=generator)
    smooth = nn.functional.avg_pool2d(noise, 5, stride=1)
    pixels = ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).to(torch.uint8)
    return rs.ImageSet(pixels, torch.arange(60) % 3, ("a", "b", "c"), "pictures")


def small_cnn(num_classes, in_channels, *, widths=(6,), norm=False, dropout=0.0):
    """3x3 convolutions, each with an in-place ReLU, the mean over places and a linear layer."""
    layers = []
    for before, after in pairwise((in_channels, *widths)):
        layers.append(nn.Conv2d(before, after, 3))
        if norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.ReLU(inplace=True))
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    if dropout:
        layers.append(nn.Dropout(dropout))
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))


class Net(nn.Module):
    """Layers in the order in which they are registered, and a function that applies them."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.apply_layers = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, images):
        return self.apply_layers(self, images)


def with_dropout(num_classes, in_channels):
    """A network that draws random numbers while it is trained."""
    return small_cnn(num_classes, in_channels, dropout=0.5)


def broken(num_classes, in_channels):
    """A network that fails on images of any size but one."""
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.Flatten(), nn.Linear(7, num_classes))


def dies_in_another_process(num_classes, in_channels):
    """A network whose training is ended from outside, except in the process of the tests."""
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    return small_cnn(num_classes, in_channels)


def marked(num_classes, in_channels):
    """A network that leaves a mark when its training begins."""
    net = with_dropout(num_classes, in_channels)

    def begin(module, _):
        if module.training and torch.is_grad_enabled():
            begun.remove()
            leave_mark()

    begun = net.register_forward_pre_hook(begin)
    return net


def deadly(num_classes, in_channels):
    """A network that ends every worker, as one that needs too much memory."""
    if MARKS in os.environ:
        os._exit(9)
    return small_cnn(num_classes, in_channels)


def marked_batch(batch):
    """A chunk of images that leaves a mark when it is read."""
    leave_mark()
    return batch


MARKING = """
from repsim_energy import hookimpl

@hookimpl
def repsim_models():
    return {"marked": "samples:marked"}
"""
"""A plugin with the network that leaves marks."""


def leave_mark():
    """Leave a file named after this process, where a folder is named for it."""
    if MARKS not in os.environ:
        return
    folder = Path(os.environ[MARKS])
    mine = folder / f"{os.getpid()}-{uuid.uuid4().hex}"
    mine.touch()
    deadline = time.monotonic() + 60
    while (folder / WATCHED).exists() and not mine.read_bytes() and time.monotonic() < deadline:
        time.sleep(0.005)


def marks_in(folder):
    """The marks left so far, in the order in which they were left."""
    left = [path for path in folder.iterdir() if path.name != WATCHED]
    return sorted(left, key=lambda path: path.stat().st_mtime_ns)


def write_distribution(folder, name, source, entry=None, module=None):
    """Write a distribution of version 1.0 with one module and its entry point."""
    module = module or f"plugin_{name.replace('-', '_')}"
    (folder / f"{module}.py").write_text(source)
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[repsim_energy]\n{name} = {entry or module}\n")
    sys.modules.pop(module, None)
    importlib.invalidate_caches()


def numbered_pictures(folder, images):
    """Empty files whose names are the indices of images (n, c, h, w), read as these."""
    folder.mkdir(exist_ok=True)
    files = [folder / str(number) for number in range(len(images))]
    for file in files:
        file.touch()
    pixels = images.numpy()
    return PictureFiles(files, lambda file: pixels[int(file.name)], images.shape[1:], folder.name)
