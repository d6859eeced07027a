"""Measure the constants for estimates of work beyond one machine, per core with one thread.

What: 7x7 patch sums of 224x224 images, reading of 500x375 JPEG files, training steps of VGG11 and
ResNet18, and the overhead of a task on a Dask scheduler with two workers on this machine.
Against: nothing; the constants are used in docs/explanation/performance.md.

Run: python benchmarks/past_one_machine.py [--json] [--rounds 5]
"""

import argparse
import io
import statistics
import subprocess
import sys
import time

import numpy as np
import torch
from measure import alternate, report
from PIL import Image

import repsim_energy as rs
from repsim_energy.interfaces import Dataset, ImageSet
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.training.timing import step_seconds

IMAGENET_21K = 14_197_122
PATCH = (7, 7)


def random_image(height, width, seed=0):
    """Return a random (h, w, 3) uint8 image with the power spectrum of natural images."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None])
    frequency[0, 0] = 1
    waves = np.fft.fft2(rng.normal(size=(3, height, width))) / frequency
    pixels = np.fft.ifft2(waves).real
    pixels = (pixels - pixels.mean()) / pixels.std() * 50 + 120
    return pixels.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)


def as_jpeg(pixels, quality=90):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def read(content):
    """Scale the shorter side to 256 and crop the center to 224x224."""
    image = Image.open(io.BytesIO(content)).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(side * scale) for side in image.size], Image.Resampling.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return np.asarray(image.crop((left, top, left + 224, top + 224)))


def images_per_second(rounds):
    photos = [as_jpeg(random_image(375, 500, seed)) for seed in range(20)]
    images = torch.from_numpy(np.stack([read(photo) for photo in photos] * 5)).permute(0, 3, 1, 2)
    taken = alternate(
        {
            "summed": lambda: rs.patch_moments(images, PATCH),
            "read": lambda: [read(photo) for photo in photos],
        },
        rounds,
    )
    summed = len(images) / statistics.median(taken["summed"])
    decoded = len(photos) / statistics.median(taken["read"])
    kilobytes = statistics.mean(map(len, photos)) / 1000
    return summed, decoded, kilobytes


def steps(model, batch, rounds):
    pixels = torch.from_numpy(np.stack([random_image(32, 32, seed) for seed in range(256)]))
    images = ImageSet(
        pixels.permute(0, 3, 1, 2).contiguous(), torch.arange(256) % 10, tuple("0123456789"), "r"
    )
    spec = resolve_model(load_registry(plugins=False), model)
    recipe = rs.Recipe(batch=batch, steps=1)
    data = Dataset("random", images, images)
    taken = [step_seconds(spec, data, recipe, torch.device("cpu"), 1, 60.0) for _ in range(rounds)]
    return statistics.median(taken)


def task_milliseconds(count=2000):
    """Return the time per task, with tasks submitted one by one."""
    from repsim_energy.scheduling.dask_client import connected

    address = "tcp://127.0.0.1:18786"
    dask = [sys.executable, "-m"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    commands = [[*dask, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "18786"]]
    commands += [[*dask, "distributed.cli.dask_worker", address, "--nthreads", "1"]] * 2
    started = [subprocess.Popen([*command, "--no-dashboard"], **quiet) for command in commands]
    try:
        time.sleep(5)
        with connected(address) as connection:
            list(connection.as_done({"": connection.submit("warm", abs, -1)}))
            begun = time.perf_counter()
            futures = {n: connection.submit("run", abs, n) for n in range(count)}
            for _ in connection.as_done(futures):
                pass
            return 1e3 * (time.perf_counter() - begun) / count
    finally:
        for process in started:
            process.terminate()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    summed, decoded, kilobytes = images_per_second(options.rounds)
    hours = IMAGENET_21K * (1 / summed + 1 / decoded) / 3600
    rows = [
        {"constant": "224² images summed per core and second, k=7", "value": summed},
        {"constant": "500x375 JPEG images read per core and second", "value": decoded},
        {"constant": "their mean size in kB", "value": kilobytes},
        {"constant": "core hours for ImageNet-21k (e)", "value": hours},
        {"constant": "ms per task of a Dask cluster", "value": task_milliseconds()},
    ]
    for model, batch in (("vgg11:width=0.25", 32), ("resnet18:width=0.25", 32), ("vgg11", 32)):
        taken = 1e3 * steps(model, batch, options.rounds)
        rows.append(
            {"constant": f"ms per step of {model}, batch {batch}, one core", "value": taken}
        )
    report(rows, options.json)


if __name__ == "__main__":
    main()
