"""Checkpoint file: patch moments of chunks of images, with hashes of the chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from repsim_energy.errors import FileError, UsageError
from repsim_energy.files.seals import sealed_tensors, unsealed_tensors
from repsim_energy.files.storage import atomic_path
from repsim_energy.numerics.patches.moments import PatchMoments

__all__ = ["UNCLEAR", "Known", "read_sums", "write_sums"]

UNCLEAR = bytes(32)
"""Placeholder for the first hash of a chunk that has none."""


@dataclass(frozen=True)
class Known:
    """Hashes of a chunk: SHA-256 of its code, arguments and files, and of its pixels."""

    made_of: bytes
    pixels: bytes


NAMES = ("made_of", "pixels")
"""Tensors with a row for each chunk, the hashes of the same name."""


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
        **{name: _rows([getattr(chunk, name) for chunk in chunks]) for name in NAMES},
    }
    with atomic_path(path) as temporary:
        temporary.write_bytes(sealed_tensors(tensors, state))


def read_sums(path: Path, patch: tuple[int, int]) -> tuple[list[Known], PatchMoments]:
    """Read the hashes of chunks and their moments.

    Raises
    ------
    FileError
        For a file that is not a checkpoint, is damaged, or is of an earlier version, which had no
        checksum.
    UsageError
        For moments of another patch.
    """
    try:
        tensors, state = unsealed_tensors(path.read_bytes(), path, "delete it to start again")
        kind = tuple(state["patch"])
        total, second = tensors["total"], tensors["second"]
        products = frozenset(state["products"])
        moments = PatchMoments(state["count"], total, second, kind, state["unit"], products)
        made_of, pixels = ([bytes(row) for row in tensors[n].tolist()] for n in NAMES)
    except (FileError, OSError, KeyError, TypeError, ValueError) as error:
        raise FileError(
            f"'{path}' is no checkpoint of patch sums, is damaged, or is of an earlier version, "
            "which had no checksum, and is left as it is; give another path, or delete it to start "
            "again"
        ) from error
    if kind[1:] != tuple(patch):
        raise UsageError(
            f"checkpoint '{path}' holds sums of patch {kind[1:]}, expected {tuple(patch)}; delete "
            "it to start again, or give another path"
        )
    return [Known(*pair) for pair in zip(made_of, pixels, strict=True)], moments


def _rows(digests: Sequence[bytes]) -> Tensor:
    return torch.tensor([list(digest) for digest in digests], dtype=torch.uint8)
