"""Time the data set `folder`, which caches decoded images.

Against: Pillow alone, which decodes the same files in processes of all cores that have been started
before, and drops the pixels; and decoding all files each time, in threads, as version 0.1 did
("every time"). "first time" starts with an empty cache, "second time" with a full one. All
alternate.
Sizes: 60,000 JPEG files of 32x32 in ten classes, five sixths of them for training; or a folder.

Run: python benchmarks/folders.py [--images 60000] [--rounds 3] [--json] [--folder FOLDER]
"""

import os
import shutil
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from loky import ProcessPoolExecutor, cpu_count
from measure import alternate, options, ratio, report
from PIL import Image
from smooth_images import smooth_images

from repsim_energy.data.class_folders import list_pictures
from repsim_energy.data.decoding import load_rgb
from repsim_energy.registry import load_dataset, load_registry

CLASSES, FILES_PER_TASK = 10, 256


def write(root, count):
    """Write images into the folders ``train`` and ``test``."""
    images = smooth_images(count, 32).permute(0, 2, 3, 1).numpy()
    for split, part in (("train", images[: count * 5 // 6]), ("test", images[count * 5 // 6 :])):
        for name in range(CLASSES):
            (root / split / f"class{name}").mkdir(parents=True)
        for number, pixels in enumerate(part):
            place = root / split / f"class{number % CLASSES}" / f"{number}.jpg"
            Image.fromarray(pixels).save(place)


def read(path):
    return torch.from_numpy(np.array(load_rgb(path))).permute(2, 0, 1).contiguous()


def decode(files):
    """Decode files with Pillow and drop the pixels."""
    for file in files:
        with Image.open(file) as picture:
            np.asarray(picture.convert("RGB"))


def measured(root, cache, rounds, pool):
    """Return the seconds of each way, in turns."""
    registry = load_registry()
    files = [file for split in ("train", "test") for file in list_pictures(root, split).files]
    tasks = [files[at : at + FILES_PER_TASK] for at in range(0, len(files), FILES_PER_TASK)]

    def pillow_alone():
        list(pool.map(decode, tasks))

    def every_time():
        for split in ("train", "test"):
            with ThreadPoolExecutor() as threads:
                torch.stack(list(threads.map(read, list_pictures(root, split).files)))

    def loaded():
        load_dataset(registry, f"folder:path={root}")

    def first_time():
        shutil.rmtree(cache, ignore_errors=True)
        loaded()

    return alternate(
        {
            "Pillow alone": pillow_alone,
            "every time": every_time,
            "first time": first_time,
            "second time": loaded,
        },
        rounds,
    )


def main():
    given = sys.argv.index("--folder") if "--folder" in sys.argv else None
    root = Path(sys.argv.pop(given + 1)) if given else None
    if given:
        sys.argv.pop(given)
    chosen = options(__doc__, images=60_000)
    with tempfile.TemporaryDirectory() as work, ProcessPoolExecutor(cpu_count()) as pool:
        cache = Path(work, "cache")
        os.environ["REPSIM_CACHE"] = str(cache)
        if root is None:
            root = Path(work, "photos")
            write(root, chosen.images)
        taken = measured(root, cache, chosen.rounds, pool)
    rows = []
    for name, seconds in taken.items():
        median, low, high = ratio(taken["Pillow alone"], seconds)
        rows.append({"way": name, "seconds": min(seconds), "slowest": max(seconds)})
        rows[-1] |= {"rate / Pillow alone": median, "lowest": low, "highest": high}
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
