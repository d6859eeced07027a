"""Facts for a bug report: versions, processor, settings, free memory and disk space."""

from __future__ import annotations

import itertools
import os
import platform
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import scipy
import torch

from repsim_energy.doctor.requirements import versions
from repsim_energy.errors import reason_of
from repsim_energy.files.storage import cache_folder
from repsim_energy.numerics.memory import available_memory
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.numerics.processor import processor_features, processor_name
from repsim_energy.training.run_files import MANIFEST
from repsim_energy.workers import usable_cores

__all__ = ["Facts", "kernel_facts", "machine_facts"]

Facts = dict[str, dict[str, str]]
"""Topic -> question -> answer."""

SETTINGS = re.compile(
    "(OMP|GOMP|KMP|MKL|OPENBLAS|GOTO|BLIS|VECLIB|ONEDNN|DNNL|ATEN|TORCH|PYTORCH|NPY|CUDA|CUBLAS"
    "|CUDNN|NVIDIA|REPSIM)_.*|LD_PRELOAD|GLIBC_TUNABLES|DYLD_INSERT_LIBRARIES"
)
"""Environment variables that select kernels or change what this package does."""

MAX_CACHE_FILES = 100_000
"""Number of cache files whose sizes are added up."""


def machine_facts() -> Facts:
    """Collect all facts. An answer that is not available gives the reason."""
    topics: dict[str, Mapping[str, Callable[[], object]]] = {
        "libraries": _libraries(),
        "machine": {
            "system": lambda: f"{platform.system()} {platform.release()} {platform.machine()}",
            "processor": processor_name,
            "features": processor_features,
            "kernels of torch": torch.backends.cpu.get_cpu_capability,
            **_gpus(),
        },
        "threads": {
            "usable cores": usable_cores,
            "of torch": torch.get_num_threads,
            "of torch between operations": torch.get_num_interop_threads,
        },
        "torch": {
            "default type": torch.get_default_dtype,
            "float32 products": torch.get_float32_matmul_precision,
            "deterministic algorithms": torch.are_deterministic_algorithms_enabled,
            "TF32 in convolutions on a GPU": lambda: torch.backends.cudnn.allow_tf32,
        },
        "cache": {
            "folder": lambda: _without_home(str(cache_folder())),
            "size": _cache_size,
            "runs": lambda: len(list(cache_folder("runs").glob(f"*/{MANIFEST}"))),
        },
        "free": {
            "disk at the cache": lambda: _bytes(shutil.disk_usage(cache_folder()).free),
            "memory": lambda: _bytes(available_memory()),
        },
    }
    answers = {
        topic: {k: _answer(ask) for k, ask in asked.items()} for topic, asked in topics.items()
    }
    return {"versions": versions(), **answers, "environment": _environment()}


def kernel_facts() -> dict[str, str]:
    """Return the kernels in use, without those that failed a check of this process."""
    return {"products of bytes": _answer(_byte_products)}


def _answer(ask: Callable[[], object]) -> str:
    try:
        return str(ask())
    except Exception as error:
        return f"unknown ({reason_of(error)})"


def _libraries() -> dict[str, Callable[[], object]]:
    return {
        "netCDF": lambda: netCDF4.__netcdf4libversion__,
        "HDF5": lambda: netCDF4.__hdf5libversion__,
        "BLAS of torch": _blas_of_torch,
        "oneDNN": lambda: _stated_by_torch(r"MKL-DNN v(\S+)"),
        "BLAS of numpy": lambda: _blas(np.show_config(mode="dicts")),
        "BLAS of scipy": lambda: _blas(scipy.show_config(mode="dicts")),
        "CUDA of torch": lambda: torch.version.cuda or "none",
    }


def _blas_of_torch() -> str:
    name = _stated_by_torch(r"BLAS_INFO=([^,\s]+)")
    number = _stated_by_torch(r"Math Kernel Library Version (\S+)")
    return name if number == "not stated" else f"{name} {number}"


def _stated_by_torch(pattern: str) -> str:
    match = re.search(pattern, torch.__config__.show())
    return match[1] if match else "not stated"


def _blas(configuration: Any) -> str:
    blas = configuration["Build Dependencies"]["blas"]
    return f"{blas['name']} {blas['version']}"


def _byte_products() -> str:
    """Return the data types used for matrix products of bytes."""
    moments = patch_moments(torch.arange(60, dtype=torch.uint8).view(1, 1, 6, 10), (2, 2))
    return " and ".join(sorted(moments.products))


def _gpus() -> dict[str, Callable[[], object]]:
    if not torch.cuda.is_available():
        return {"GPU": lambda: "none that torch can use"}
    return {f"GPU {i}": partial(_gpu, i) for i in range(torch.cuda.device_count())}


def _gpu(index: int) -> str:
    free, total = torch.cuda.mem_get_info(index)
    capability = ".".join(str(part) for part in torch.cuda.get_device_capability(index))
    name, cudnn = torch.cuda.get_device_name(index), torch.backends.cudnn.version()
    memory = f"{_bytes(free)} of {_bytes(total)} free"
    return f"{name}, compute capability {capability}, cuDNN {cudnn}, {memory}"


def _cache_size() -> str:
    files = (path for path in cache_folder().rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in itertools.islice(files, MAX_CACHE_FILES)]
    more = f" in the first {MAX_CACHE_FILES} files" if len(sizes) == MAX_CACHE_FILES else ""
    return f"{_bytes(sum(sizes))}{more}"


def _bytes(size: float) -> str:
    """Format a size with a unit.

    Examples
    --------
    >>> _bytes(0), _bytes(3 * 2**20), _bytes(float("inf"))
    ('0 B', '3.0 MB', 'unknown')
    """
    if size == float("inf"):
        return "unknown"
    for unit in ("B", "kB", "MB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} GB"


def _environment() -> dict[str, str]:
    names = sorted(name for name in os.environ if SETTINGS.fullmatch(name))
    return {name: _without_home(os.environ[name]) for name in names}


def _without_home(text: str) -> str:
    """Abbreviate the user's home folder as ~."""
    home = str(Path.home())
    return text.replace(home, "~") if len(home) > 1 else text
