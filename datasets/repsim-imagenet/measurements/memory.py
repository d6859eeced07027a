"""Measure memory and time of the 7x7 patch basis of JPEG files, streamed and from the cache.

Run: python measurements/memory.py [IMAGES_PER_CLASS] [--threads 2]

Writes ten classes of 500x375 images of 1/f noise (700 per class are 1.05 GB of 224x224 pixels) into
a temporary folder and deletes it. Each way runs in a new process. Memory is the peak of anonymous
memory (RssAnon) above its value after all imports and the sum over a batch of eight images.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import repsim_energy as rs
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

import repsim_imagenet
from repsim_imagenet.folders import TEN, names

PATCH = (7, 7)
SIDE_PIXELS = 1500


def canvas(generator: np.random.Generator) -> NDArray[np.uint8]:
    """Return a large (side, side, 3) image with an amplitude spectrum of 1/f."""
    frequency = np.hypot(np.fft.fftfreq(SIDE_PIXELS)[:, None], np.fft.rfftfreq(SIDE_PIXELS))
    frequency[0, 0] = 1
    waves = np.fft.rfft2(generator.normal(size=(3, SIDE_PIXELS, SIDE_PIXELS))) / frequency
    noise = np.fft.irfft2(waves, s=(SIDE_PIXELS, SIDE_PIXELS))
    mixed = noise[:1] + 0.3 * noise
    pixels = (mixed - mixed.mean()) / mixed.std() * 50 + 120
    return pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def write(root: Path, per_class: int) -> None:
    """Write random windows of one canvas per class."""
    generator = np.random.default_rng(0)
    wnids = {name.replace(" ", "_"): wnid for wnid, name in names().items()}
    for name in TEN:
        folder = root / "train" / wnids[name]
        folder.mkdir(parents=True)
        wide = canvas(generator)
        for number in range(per_class):
            y, x = (
                generator.integers(0, SIDE_PIXELS - 375),
                generator.integers(0, SIDE_PIXELS - 500),
            )
            window = Image.fromarray(wide[y : y + 375, x : x + 500])
            window.save(folder / f"{folder.name}_{number}.JPEG", quality=90)


def streamed(root: Path) -> str:
    """Compute the basis directly from the files; return its id."""
    return rs.patch_moments(repsim_imagenet.batches(root), PATCH).basis().basis_id


def mapped(root: Path) -> str:
    """Compute the basis from the cache; return its id."""
    return (
        rs.patch_moments(repsim_imagenet.imagenet("train", root=root).images, PATCH)
        .basis()
        .basis_id
    )


def compared(root: Path) -> str:
    """Compare the filters of two untrained networks; return the id of the basis."""
    nets = {name: nn.Sequential(nn.Conv2d(3, 8, 7, stride=4)) for name in "ab"}
    return str(rs.compare(nets, f"imagenet:root={root}", stage="trained").basis_id.item())


WAYS = {
    "batches(), directly from the files": streamed,
    "imagenet:, first time, writes the cache": mapped,
    "imagenet:, mapped from the cache": mapped,
    "rs.compare of two networks, mapped": compared,
}


def anonymous() -> float:
    """Return the anonymous memory in use, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("RssAnon")) / 1024


def measure(way: str, root: Path, threads: int) -> None:
    """Print seconds, peak memory in MB and the basis of one way, in this process."""
    torch.set_num_threads(threads)
    rs.patch_moments(torch.zeros(8, 3, 224, 224, dtype=torch.uint8), PATCH)
    rest, peak, done = anonymous(), [0.0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            peak[0] = max(peak[0], anonymous())

    watching = threading.Thread(target=watch)
    watching.start()
    started = time.perf_counter()
    basis = WAYS[way](root)
    seconds = time.perf_counter() - started
    done.set()
    watching.join()
    print(f"{seconds:6.1f} s  {peak[0] - rest:4.0f} MB  basis {basis}")  # noqa: T201


def main() -> None:
    """Write the images and measure each way in a new process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("per_class", type=int, nargs="?", default=700)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--one", nargs=2)
    options = parser.parse_args()
    if options.one:
        measure(options.one[0], Path(options.one[1]), options.threads)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder, "ILSVRC2012")
        write(root, options.per_class)
        raw = 10 * options.per_class * 3 * 224 * 224
        print(f"{10 * options.per_class} images, {raw / 1e9:.2f} GB of pixels")  # noqa: T201
        environment = {**os.environ, "REPSIM_CACHE": str(Path(folder, "cache"))}
        for way in WAYS:
            command = [sys.executable, __file__, "--threads", str(options.threads)]
            command += ["--one", way, str(root)]
            found = subprocess.run(command, env=environment, capture_output=True, text=True)
            print(f"{way:40}  {found.stdout.strip() or found.stderr.strip()}", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
