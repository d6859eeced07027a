"""Networks for workers of a cluster, which know that they are built there by MARKS."""

import os
import time
import uuid
from pathlib import Path

from torch import nn

MARKS = "REPSIM_TEST_MARKS"


def marked(num_classes, in_channels):
    """A small network; a worker leaves a file when it begins with it and takes its time."""
    if MARKS in os.environ:
        mark()
        time.sleep(0.3)
    return nn.Sequential(
        nn.Conv2d(in_channels, 6, 3), nn.ReLU(), nn.Dropout(0.2), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(6, num_classes),
    )  # fmt: skip


def deadly(num_classes, in_channels):
    """A network that ends every worker, as one that needs too much memory."""
    if MARKS in os.environ:
        os._exit(9)
    return marked(num_classes, in_channels)


def mark():
    Path(os.environ[MARKS], f"{os.getpid()}-{uuid.uuid4().hex}").touch()


def slow_batch(batch):
    """A chunk of images that takes its time to read."""
    if MARKS in os.environ:
        mark()
        time.sleep(0.3)
    return batch
