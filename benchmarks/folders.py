"""Time the data set `folder`, which caches decoded images.

Against: decoding all files each time, in threads, as version 0.1 did ("every time"). "first time"
starts with an empty cache, "second time" with a full one. The three alternate.
Sizes: 60,000 PNG files of 32x32 in ten classes, five sixths of them for training.

Run: python benchmarks/folders.py [--images 60000] [--rounds 3] [--json]
"""

import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from measure import alternate, options, ratio, report
from PIL import Image
from smooth_images import smooth_images

from repsim_energy.data.class_folders import list_pictures
from repsim_energy.data.folder import folder
from repsim_energy.data.pictures import load_rgb

CLASSES = 10


def write(root, count):
    """Write images into the folders ``train`` and ``test``."""
    images = smooth_images(count, 32).permute(0, 2, 3, 1).numpy()
    for split, part in (("train", images[: count * 5 // 6]), ("test", images[count * 5 // 6 :])):
        for name in range(CLASSES):
            (root / split / f"class{name}").mkdir(parents=True)
        for number, pixels in enumerate(part):
            place = root / split / f"class{number % CLASSES}" / f"{number}.png"
            Image.fromarray(pixels).save(place)


def read(path):
    return torch.from_numpy(np.array(load_rgb(path))).permute(2, 0, 1).contiguous()


def main():
    chosen = options(__doc__, images=60_000)
    with tempfile.TemporaryDirectory() as work:
        root, cache = Path(work, "photos"), Path(work, "cache")
        os.environ["REPSIM_CACHE"] = str(cache)
        write(root, chosen.images)

        def every_time():
            for split in ("train", "test"):
                with ThreadPoolExecutor() as pool:
                    torch.stack(list(pool.map(read, list_pictures(root, split).files)))

        def loaded():
            for split in ("train", "test"):
                folder(split, path=root)

        def first_time():
            shutil.rmtree(cache, ignore_errors=True)
            loaded()

        ways = {"every time": every_time, "first time": first_time, "second time": loaded}
        taken = alternate(ways, chosen.rounds)
    rows = [
        {"way": name, "seconds": min(taken[name]), "ratio": ratio(taken["every time"], taken[name])}
        for name in ways
    ]
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
