"""A small ImageNet: folders and files named as they are unpacked, with other pictures."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

WNIDS = [
    "n01440764", "n02102040", "n02979186", "n03000684", "n03028079", "n03394916", "n03417042",
    "n03425413", "n03445777", "n03888257",
]  # fmt: skip
OTHER = "n01443537"  # goldfish: of the thousand, not of the ten
LATER = "n00007846"  # person: of ImageNet-21k, not of the thousand
SIZES = ((50, 40), (40, 40), (36, 60), (75, 50))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "cache"))


def picture(generator, size):
    """Smooth noise."""
    coarse = generator.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def unpacked(tmp_path):
    """Twelve classes of four pictures to train and one for validation."""
    generator = np.random.default_rng(0)
    root = tmp_path / "ILSVRC2012"
    for number, wnid in enumerate([*WNIDS, OTHER, LATER]):
        for split in ("train", "val"):
            (root / split / wnid).mkdir(parents=True)
        for i, size in enumerate(SIZES):
            picture(generator, size).save(root / "train" / wnid / f"{wnid}_{i}.JPEG", quality=95)
        name = f"ILSVRC2012_val_{number + 1:08}.JPEG"
        picture(generator, SIZES[number % 4]).save(root / "val" / wnid / name, quality=95)
    return root


@pytest.fixture
def repsim():
    """The command, in a process of its own; gives exit code, output and errors."""

    def run(*arguments):
        found = subprocess.run(
            [sys.executable, "-m", "repsim_energy", *arguments], capture_output=True, text=True,
            timeout=300, env={**os.environ},
        )  # fmt: skip
        return found.returncode, found.stdout, found.stderr

    return run
