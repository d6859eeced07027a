"""A small ImageNet: published names of folders and files, with generated images.

Run as a program, writes it into a folder and prints what to try.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = [
    "n01440764",
    "n02102040",
    "n02979186",
    "n03000684",
    "n03028079",
    "n03394916",
    "n03417042",
    "n03425413",
    "n03445777",
    "n03888257",
]
OTHER = "n01443537"  # goldfish: of the thousand, not of the ten
LATER = "n00007846"  # person: of ImageNet-21k, not of the thousand
SIZES = ((50, 40), (40, 40), (36, 60), (75, 50))


def picture(generator, size):
    """Return smooth noise."""
    coarse = generator.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def write(root):
    """Write twelve classes of four training images and one validation image."""
    generator = np.random.default_rng(0)
    for number, wnid in enumerate([*WNIDS, OTHER, LATER]):
        for split in ("train", "val"):
            (root / split / wnid).mkdir(parents=True)
        for i, size in enumerate(SIZES):
            picture(generator, size).save(root / "train" / wnid / f"{wnid}_{i}.JPEG", quality=95)
        name = f"ILSVRC2012_val_{number + 1:08}.JPEG"
        picture(generator, SIZES[number % 4]).save(root / "val" / wnid / name, quality=95)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    print(f"imagenet:root={sys.argv[1]}:size=28")
    print(f"imagenet:root={sys.argv[1]}:size=28:classes=all:limit=24")
