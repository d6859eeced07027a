"""A small CelebA: pictures, tables and folders as they are published, with other faces."""

import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

ATTRIBUTES = [
    "5_o_Clock_Shadow", "Arched_Eyebrows", "Attractive", "Bags_Under_Eyes", "Bald", "Bangs",
    "Big_Lips", "Big_Nose", "Black_Hair", "Blond_Hair", "Blurry", "Brown_Hair", "Bushy_Eyebrows",
    "Chubby", "Double_Chin", "Eyeglasses", "Goatee", "Gray_Hair", "Heavy_Makeup",
    "High_Cheekbones", "Male", "Mouth_Slightly_Open", "Mustache", "Narrow_Eyes", "No_Beard",
    "Oval_Face", "Pale_Skin", "Pointy_Nose", "Receding_Hairline", "Rosy_Cheeks", "Sideburns",
    "Smiling", "Straight_Hair", "Wavy_Hair", "Wearing_Earrings", "Wearing_Hat", "Wearing_Lipstick",
    "Wearing_Necklace", "Wearing_Necktie", "Young",
]  # fmt: skip
COUNT, SMILING = 60, 31


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "cache"))


def picture(generator):
    """Smooth noise of 178x218 pixels, (218, 178, 3)."""
    coarse = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((178, 218), Image.Resampling.BICUBIC)


@pytest.fixture
def published(tmp_path):
    """The folder above ``celeba``: 40 pictures to train, 6 to validate, 14 to test."""
    generator = np.random.default_rng(0)
    folder = tmp_path / "data" / "celeba"
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{number:06}.jpg" for number in range(1, COUNT + 1)]
    for name in names:
        picture(generator).save(folder / "img_align_celeba" / name, quality=95)
    values = np.where(generator.random((COUNT, 40)) < 0.5, 1, -1)

    def table(file, header, rows, width):
        lines = [] if header is None else [str(COUNT), header]
        lines += [
            name + "".join(f" {value:>{width}}" for value in row)
            for name, row in zip(names, rows, strict=True)
        ]
        (folder / file).write_text("\n".join(lines) + "\n")

    table("list_attr_celeba.txt", " ".join(ATTRIBUTES) + " ", values, 2)
    table("list_eval_partition.txt", None, [[0]] * 40 + [[1]] * 6 + [[2]] * 14, 1)
    table("identity_CelebA.txt", None, generator.integers(1, 10178, (COUNT, 1)), 1)
    boxes = generator.integers(50, 300, (COUNT, 4))
    table("list_bbox_celeba.txt", "image_id x_1 y_1 width height", boxes, 3)
    points = generator.integers(60, 160, (COUNT, 10))
    places = [f"{part}_{axis}" for part in ("lefteye", "righteye", "nose", "leftmouth",
                                            "rightmouth") for axis in "xy"]  # fmt: skip
    table("list_landmarks_align_celeba.txt", " ".join(places), points, 3)
    return tmp_path / "data"


@pytest.fixture
def repsim():
    """The command, in a process of its own; gives exit code, output and errors."""

    def run(*arguments, **environment):
        found = subprocess.run(
            [sys.executable, "-m", "repsim_energy", *arguments], capture_output=True, text=True,
            timeout=300, env={**os.environ, **environment},
        )  # fmt: skip
        return found.returncode, found.stdout, found.stderr

    return run
