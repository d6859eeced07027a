"""Checkpoint file: patch moments of chunks of images, with hashes of the chunks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from repsim_energy.errors import FileError, UsageError, reason_of
from repsim_energy.numerics.patches.moments import PatchMoments
from repsim_energy.storage import atomic_path, write_tensors

__all__ = ["UNCLEAR", "Known", "read_sums", "write_sums"]

UNCLEAR = bytes(32)
"""Placeholder for the first hash of a chunk that has none."""


@dataclass(frozen=True)
class Known:
    """Hashes of a chunk: SHA-256 of its code, arguments and files, and of its pixels."""

    made_of: bytes
    pixels: bytes


def write_sums(path: Path, chunks: Sequence[Known], sums: PatchMoments) -> None:
    """Write moments and the hashes of their chunks.

    Raises
    ------
    RepsimError
        If they cannot be written. The file is then unchanged.
    """
    state = {
        "count": sums.count,
        "patch": sums.patch,
        "unit": sums.unit,
        "products": sorted(sums.products),
    }
    tensors = {
        "total": sums.total,
        "second": sums.second,
        "made_of": _rows([chunk.made_of for chunk in chunks]),
        "pixels": _rows([chunk.pixels for chunk in chunks]),
    }
    with atomic_path(path) as temporary:
        write_tensors(temporary, tensors, {"state": json.dumps(state)})


def read_sums(path: Path, patch: tuple[int, int]) -> tuple[list[Known], PatchMoments]:
    """Read the hashes of chunks and their moments.

    Raises
    ------
    FileError
        For a file that is not a checkpoint, is damaged, or has no hashes of its chunks.
    UsageError
        For moments of another patch.
    """
    try:
        with safe_open(path, "pt") as file:
            state = json.loads(file.metadata()["state"])
            total, second = file.get_tensor("total"), file.get_tensor("second")
            names = set(file.keys())
            rows = [file.get_tensor(n) for n in ("made_of", "pixels") if n in names]
        kind = tuple(state["patch"])
        products = frozenset(state.get("products", ()))
        moments = PatchMoments(state["count"], total, second, kind, state["unit"], products)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"'{path}' is no checkpoint of patch sums, or is damaged ({reason_of(error)}), and is "
            "left as it is; give another path, or delete it to start again"
        ) from error
    if len(rows) < 2:
        raise FileError(
            f"checkpoint '{path}' is of an earlier version, which did not record which images it "
            "had added; delete it to start again, or give another path"
        )
    if kind[1:] != tuple(patch):
        raise UsageError(
            f"checkpoint '{path}' holds sums of patch {kind[1:]}, expected {tuple(patch)}; delete "
            "it to start again, or give another path"
        )
    made_of, pixels = ([bytes(row) for row in table.tolist()] for table in rows)
    return [Known(*pair) for pair in zip(made_of, pixels, strict=True)], moments


def _rows(digests: Sequence[bytes]) -> Tensor:
    return torch.tensor([list(digest) for digest in digests], dtype=torch.uint8)
