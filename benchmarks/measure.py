"""Functions of all benchmarks: alternating runs, peak memory of a process, the machine."""

import argparse
import ctypes
import gc
import json
import multiprocessing
import platform
import statistics
import time
from pathlib import Path

import torch

__all__ = ["alternate", "limits", "machine", "options", "peak_memory", "ratio", "report"]


def options(description, **numbers):
    """Parse the common options and set the number of threads.

    ``numbers`` are further integer options with their defaults.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    for name, number in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    return chosen


def alternate(functions, rounds=5):
    """Time functions in turn, after a warm-up of each. Return name -> seconds of each round."""
    for function in functions.values():
        function()
    taken = {name: [] for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            taken[name].append(time.perf_counter() - start)
    return taken


def ratio(peer, ours):
    """Return the median, lowest and highest ratio peer / ours of the rounds."""
    ratios = sorted(a / b for a, b in zip(peer, ours, strict=True))
    return statistics.median(ratios), ratios[0], ratios[-1]


def limits():
    """Return the peak rates of products (10**9 operations/s) and copies (GB/s)."""
    bytes_ = torch.randint(-128, 127, (2048, 2048), dtype=torch.int8)
    floats = bytes_.float()
    many = torch.zeros(2**28, dtype=torch.uint8)
    copied = torch.empty_like(many)
    taken = alternate(
        {
            "int8": lambda: torch._int_mm(bytes_, bytes_),
            "float32": lambda: floats @ floats,
            "copy": lambda: copied.copy_(many),
        }
    )
    done = {"int8": 2 * 2048**3, "float32": 2 * 2048**3, "copy": len(many)}
    return {name: done[name] / min(seconds) / 1e9 for name, seconds in taken.items()}


def peak_memory(function, *arguments):
    """Return the peak growth in MB of a new process that runs ``function(*arguments)()``.

    Memory is compared after ``function(*arguments)``, so that neither its data nor the initial
    memory of libraries counts.
    """
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_growth, (function, arguments))


def _growth(function, arguments):
    work = function(*arguments)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # freed memory cannot be reused
    Path("/proc/self/clear_refs").write_text("5")  # reset the peak
    before = _memory("VmRSS")
    work()
    return _memory("VmHWM") - before


def _memory(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"no {name} in /proc/self/status")


def machine():
    """Return the processor, the threads in use and the versions."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    name = next(names, platform.processor())
    return {
        "processor": name,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def report(rows, as_json):
    """Print the machine and the rows, each a mapping."""
    if as_json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=1))
        return
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    for row in rows:
        print("  ".join(f"{name}: {_short(value)}" for name, value in row.items()))


def _short(value):
    return f"{value:.3g}" if isinstance(value, float) else value
