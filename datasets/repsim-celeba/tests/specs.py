"""A small CelebA: published layout of images, tables and folders, with generated images.

Run as a program, writes it into a folder and prints what to try.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

NAMES = """
5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose
Black_Hair Blond_Hair Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee
Gray_Hair Heavy_Makeup High_Cheekbones Male Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard
Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks Sideburns Smiling Straight_Hair
Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace Wearing_Necktie Young
"""
ATTRIBUTES = NAMES.split()
COUNT, SMILING = 60, 31


def picture(generator):
    """Return smooth noise of 178x218 pixels, (218, 178, 3)."""
    coarse = generator.integers(0, 256, (12, 10, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((178, 218), Image.Resampling.BICUBIC)


def write(root):
    """Write ``celeba`` into a folder: 40 training, 6 validation and 14 test images."""
    generator = np.random.default_rng(0)
    folder = root / "celeba"
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
    parts = ("lefteye", "righteye", "nose", "leftmouth", "rightmouth")
    places = [f"{part}_{axis}" for part in parts for axis in "xy"]
    table("list_landmarks_align_celeba.txt", " ".join(places), points, 3)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
    print(f"celeba:root={sys.argv[1]}:attribute=Smiling:size=32")
