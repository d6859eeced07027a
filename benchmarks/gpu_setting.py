"""Device, sizes, images and clocks of gpu_parts.py."""

import contextlib
import gc
import os
import platform
import statistics
import subprocess
import time
import traceback
from dataclasses import dataclass, replace

import torch
from smooth_images import smooth_images

import repsim_energy as rs
from repsim_energy.files.storage import cache_path
from repsim_energy.interfaces import Dataset, ImageSet
from repsim_energy.registry import load_dataset, load_registry, resolve_model
from repsim_energy.training.device import choose_device, choose_precision
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.recipe import Recipe

__all__ = [
    "CPU",
    "MODELS",
    "SIZES",
    "WARM",
    "Bench",
    "Clock",
    "OutOfTime",
    "machine",
    "outcome",
    "timed",
]

CPU = torch.device("cpu")
MODELS = ("vgg11", "resnet18")
WARM, WINDOWS = 3, 3
"""Steps before the clock starts, and the number of times that it is read after that."""


@dataclass(frozen=True)
class Size:
    """How much is measured."""

    images: int
    tests: int
    batch: int
    width: str
    seeds: tuple
    steps: int
    kernels: tuple
    features: tuple
    samples: int


SIZES = {
    "full": Size(50_000, 10_000, 256, "", (8, 32, 128), 10, (3, 7, 11), (512, 2048, 8192), 10_000),
    "smoke": Size(48, 20, 8, ":width=0.03125", (2,), 1, (3,), (8,), 20),
}


class OutOfTime(Exception):
    """The time of a part is over."""


class Bench:
    """Device, sizes, images and the time of the part that is running."""

    def __init__(self, chosen):
        self.device, self.size = choose_device(chosen.device), SIZES[chosen.scale]
        torch.zeros(1, device=self.device)  # so that its memory can be asked for
        self.data, self.real = _images(chosen.dataset, self.size)
        self.normalization = normalization_of(self.data.train)
        self.until = float("inf")

    def left(self):
        return self.until - time.monotonic()

    def wait(self):
        """Wait for the device, and end a part whose time is over."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        if self.left() < 0:
            raise OutOfTime

    def network(self, model):
        name = model.partition(":")[0] + self.size.width if self.size.width else model
        build = resolve_model(load_registry(plugins=False), name).build
        return build(len(self.data.train.classes), 3)

    def fastest(self, recipe):
        return choose_precision(replace(recipe, precision="auto"), self.device)

    def precisions(self):
        """Return float32, and bfloat16 if the device is fast at it."""
        fastest = self.fastest(Recipe(steps=1)).precision
        return ("float32",) if fastest == "float32" else ("float32", "bfloat16")


def _images(dataset, size):
    """Return a data set, and whether it is one of real images: CIFAR-10 if it is there."""
    files = [cache_path("data", f"cifar-10-{end}") for end in ("batches-py", "python.tar.gz")]
    if dataset == "auto" and size is SIZES["full"] and any(path.exists() for path in files):
        dataset = "cifar10"
    if dataset != "auto":
        return load_dataset(load_registry(plugins=False), dataset), True
    splits = [
        ImageSet(smooth_images(n, 32, seed=n), torch.arange(n) % 10, tuple("0123456789"), "smooth")
        for n in (size.images, size.tests)
    ]
    return Dataset("smooth", *splits), False


class Clock:
    """Read the time after some steps, when the device has done them; called after each step."""

    def __init__(self, bench, steps, warm=WARM):
        self.bench, self.at, self.steps = bench, [], 0
        self.warm, self.each, self.total = warm, steps, warm + WINDOWS * steps

    def __call__(self, *_):
        self.steps += 1
        if self.steps >= self.warm and (self.steps - self.warm) % self.each == 0:
            self.bench.wait()
            self.at.append(time.perf_counter())

    def spread(self, images):
        """Return images per second in the median window, the slowest and the fastest."""
        taken = sorted(b - a for a, b in zip(self.at, self.at[1:], strict=False))
        rates = [self.each * images / seconds for seconds in taken]
        return {"images_per_s": statistics.median(rates), "lowest": rates[-1], "highest": rates[0]}


def timed(bench, function, rounds=5):
    """Return the median, lowest and highest seconds of a function, after a first call."""
    function()
    taken = []
    for _ in range(rounds):
        bench.wait()
        start = time.perf_counter()
        function()
        bench.wait()
        taken.append(time.perf_counter() - start)
    return {"seconds": statistics.median(taken), "lowest": min(taken), "highest": max(taken)}


@contextlib.contextmanager
def outcome(bench, row):
    """Put memory into a row, or what went wrong. A GPU that has failed ends the process."""
    on_gpu = bench.device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(bench.device)
    try:
        yield
    except torch.OutOfMemoryError as error:
        row["out_of_memory"] = True
        traceback.clear_frames(error.__traceback__)  # which hold the tensors
    except (OutOfTime, KeyboardInterrupt):
        raise
    except Exception as error:
        if "CUDA error" in str(error):
            raise
        row["error"] = f"{type(error).__name__}: {error}".splitlines()[0]
    if on_gpu:
        row["peak_GiB"] = torch.cuda.max_memory_allocated(bench.device) / 2**30
        gc.collect()
        torch.cuda.empty_cache()


def machine(device):
    """Return the card, its driver, and the versions."""
    facts = {
        "device": str(device),
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "repsim_energy": rs.__version__,
    }
    if device.type == "cuda":
        card = torch.cuda.get_device_properties(device)
        facts |= {"card": card.name, "GiB": card.total_memory / 2**30, "cuda": torch.version.cuda}
        facts |= {"cudnn": torch.backends.cudnn.version(), "driver": _driver()}
    return facts


def _driver():
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return asked.stdout.strip()
