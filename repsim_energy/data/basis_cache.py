"""Cache of patch bases: those of images whose patches were measured before."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from repsim_energy.errors import FileError, RepsimError, UsageError, warn
from repsim_energy.files.seals import sealed_tensors, unsealed_tensors
from repsim_energy.files.storage import atomic_path, cache_folder, cache_path, mark_used
from repsim_energy.interfaces import ImageSet, PatchBasis
from repsim_energy.numerics.processor import processor_name
from repsim_energy.versions import OWN, version_of

__all__ = ["bases_key", "keep_bases", "stored_bases"]

FORMAT = 1
"""Version of the entries, increased when the same key gives other numbers or more of them."""

MIN_BYTES = 2**20
"""Size of images from which on bases are stored. Those of fewer are measured as fast as read."""

MAX_BYTES = 2**26
"""Size of bases up to which they are stored, such as those of 11x11 color patches (22 MB)."""

SETTINGS = (
    "DNNL_MAX_CPU_ISA",
    "MKL_CBWR",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "ONEDNN_MAX_CPU_ISA",
)
"""Environment variables that decide how products and eigenvectors are rounded."""

TENSORS = ("components", "eigenvalues", "mean")


def bases_key(images: ImageSet, patch: tuple[int, int, int, int], groups: int) -> str:
    """Return the SHA-256 of what the bits of bases depend on; empty for a few images.

    Parameters
    ----------
    patch : (kh, kw, rows, columns), with the dilation of the filters
    groups : number of groups of images that half-samples are made of
    """
    if images.images.nbytes < MIN_BYTES:
        return ""
    configuration = {
        "format": FORMAT,
        "images": images.image_fingerprint,
        "patch": patch,
        "groups": groups,
        "versions": [version_of(OWN), torch.__version__],
        "processor": [processor_name(), torch.backends.cpu.get_cpu_capability()],
        "settings": [os.environ.get(name) for name in SETTINGS],
    }
    return hashlib.sha256(json.dumps(configuration, sort_keys=True).encode()).hexdigest()


def stored_bases(key: str) -> list[PatchBasis] | None:
    """Return the bases of a key, or ``None`` if they are missing or damaged.

    Warns
    -----
    RepsimWarning
        If they are damaged.
    """
    try:
        path = cache_path("bases", f"{key}.sealed")
        tensors, facts = unsealed_tensors(path.read_bytes(), path, "patches are measured again")
        if facts["key"] != key:
            raise FileError(f"'{path}' is of another key; patches are measured again")
        mark_used(path)
        return [_basis(tensors, number, each) for number, each in enumerate(facts["bases"])]
    except (OSError, UsageError):  # there is none, or no cache
        return None
    except FileError as error:
        warn(f"patch bases: {error}")
        return None


def keep_bases(key: str, bases: Sequence[PatchBasis]) -> None:
    """Store bases, unless they are large or leave components out, of which the next call warns too.

    Warns
    -----
    RepsimWarning
        If they cannot be stored.
    """
    size = sum(getattr(basis, name).nbytes for basis in bases for name in TENSORS)
    if size > MAX_BYTES or bases[0].without_variance:
        return
    tensors = {
        f"{name} {number}": getattr(basis, name).clone(memory_format=torch.contiguous_format)
        for number, basis in enumerate(bases)
        for name in TENSORS
    }
    described = [
        {
            "patch": basis.patch,
            "centered": basis.centered,
            "count": basis.count,
            "products": sorted(basis.products),
        }
        for basis in bases
    ]
    content = sealed_tensors(tensors, {"key": key, "bases": described})
    try:
        with atomic_path(cache_folder("bases") / f"{key}.sealed") as path:
            path.write_bytes(content)
    except RepsimError as error:
        warn(f"patches are measured again each time, because their bases cannot be cached: {error}")


def _basis(tensors: Mapping[str, Tensor], number: int, facts: Mapping[str, Any]) -> PatchBasis:
    components, eigenvalues, mean = (tensors[f"{name} {number}"] for name in TENSORS)
    c, kh, kw = facts["patch"]
    products = frozenset(facts["products"])
    return PatchBasis(
        components, eigenvalues, mean, (c, kh, kw), facts["centered"], facts["count"], products
    )
