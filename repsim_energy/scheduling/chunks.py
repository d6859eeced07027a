"""Patch moments of more images than one machine holds: chunk by chunk, wherever there is room."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from functools import partial, reduce
from itertools import islice
from operator import add
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from repsim_energy.errors import DataError, FileError, RepsimError, UsageError
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.numerics.patches import PatchMoments, patch_moments
from repsim_energy.scheduling.processes import Local
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
from repsim_energy.storage import atomic_path, check_writable

__all__ = ["moments_of_images", "patch_moments_of_chunks"]

Chunk = str | Path | Callable[[], Tensor | Iterable[Tensor]]

PIECE = 32 * 2**20
"""Bytes of images that are sent to a worker at once."""

SECONDS = 10.0
"""Between two writings of the sums so far."""

LARGE = 4 * PIECE
"""Bytes of images from which on they are sent to a cluster at all."""


def moments_of_images(
    scheduler: Scheduler, images: Tensor, patch: tuple[int, int], *, large: int = LARGE
) -> PatchMoments:
    """Return the patch moments of images in memory, on a cluster where they are large.

    Only sums of bytes, which are exact, come out the same in every bit however they are split;
    floats stay here.
    """
    if isinstance(scheduler, Local) or images.dtype != torch.uint8 or images.nbytes < large:
        return patch_moments(images, patch)
    count = max(1, len(images) * PIECE // images.nbytes)
    pieces = (piece.clone() for piece in images.split(count))  # else all images would be sent
    return reduce(add, scheduler.in_order(partial(patch_moments, patch=patch), pieces))


def patch_moments_of_chunks(
    chunks: Iterable[Chunk],
    patch: tuple[int, int],
    *,
    scheduler: str | None = None,
    checkpoint: str | Path | None = None,
) -> PatchMoments:
    """Return the moments of all overlapping patches of images that are read where they are summed.

    Each chunk is read and summed by one task, and its sums are added once, in the order of the
    chunks. A chunk whose worker is lost is taken again by another. The result is that of
    :func:`patch_moments` over the same batches in one process, bit for bit for uint8 images.

    Parameters
    ----------
    chunks : each a function without arguments that returns images (n, c, h, w), uint8 or float,
        or an iterable of such batches; or the path of a ``.npy`` file of images (n, h, w, c). On a
        cluster, a path or function has to mean the same on every worker
    patch : (kh, kw)
    scheduler : ``local`` or ``local:N`` for processes of this machine, ``tcp://HOST:PORT`` for a
        Dask cluster; without one, this process. Processes need ``if __name__ == "__main__":``
    checkpoint : a file that keeps the sums, written every few seconds and at the end. Called
        again with the same chunks, the work goes on there; delete it when the chunks have changed

    Returns
    -------
    PatchMoments

    Raises
    ------
    RepsimError
        For a chunk that cannot be read or summed, by its number. What has been added up to then is
        in the checkpoint.

    Examples
    --------
    >>> images = torch.arange(64, dtype=torch.uint8).reshape(4, 1, 4, 4)
    >>> moments = patch_moments_of_chunks([lambda: images[:2], lambda: images[2:]], (3, 3))
    >>> moments.count, torch.equal(moments.second, patch_moments(images, (3, 3)).second)
    (16, True)
    """
    where = scheduler_of(scheduler)
    sums = _Sums(None if checkpoint is None else Path(checkpoint), patch)
    remaining = islice(enumerate(chunks), sums.chunks, None)
    with sums:
        for part in where.in_order(partial(_moments_of_chunk, patch=patch), remaining):
            sums.add(part)
    if sums.moments is None:
        raise DataError("got no chunks, expected at least one function or path")
    return sums.moments


def _moments_of_chunk(numbered: tuple[int, Chunk], patch: tuple[int, int]) -> PatchMoments:
    number, chunk = numbered
    try:
        images = _read(chunk) if isinstance(chunk, str | Path) else chunk()
        return patch_moments(images, patch)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise RepsimError(
            f"chunk {number} could not be summed ({reason}), expected images of one type; "
            "repair it and call again"
        ) from error


def _read(path: str | Path) -> Tensor:
    return tensor_of(np.load(path, allow_pickle=False)).permute(0, 3, 1, 2)


class _Sums:
    """Sums so far and of how many chunks; written down now and then, and when they are left."""

    def __init__(self, path: Path | None, patch: tuple[int, int]) -> None:
        self._path = path
        self.chunks = 0
        self.moments: PatchMoments | None = None
        if path is not None and path.exists():
            self._go_on(path, patch)
        self._written = (self.chunks, time.monotonic())

    def __enter__(self) -> None:
        """Begin; a file that could not be written in the end is refused now."""
        if self._path is not None:
            check_writable(self._path)

    def __exit__(self, *_: object) -> None:
        self._write()

    def add(self, part: PatchMoments) -> None:
        """Add the next chunk."""
        self.moments = part if self.moments is None else self.moments + part
        self.chunks += 1
        if time.monotonic() - self._written[1] > SECONDS:
            self._write()

    def _write(self) -> None:
        if self._path is None or self.moments is None or self.chunks == self._written[0]:
            return
        sums = self.moments
        state = {
            "chunks": self.chunks, "count": sums.count, "patch": sums.patch, "unit": sums.unit,
            "products": sorted(sums.products),
        }  # fmt: skip
        with atomic_path(self._path) as temporary:
            tensors = {"total": sums.total, "second": sums.second}
            save_file(tensors, temporary, {"state": json.dumps(state)})
        self._written = (self.chunks, time.monotonic())

    def _go_on(self, path: Path, patch: tuple[int, int]) -> None:
        try:
            with safe_open(path, "pt") as file:
                state = json.loads(file.metadata()["state"])
                total, second = file.get_tensor("total"), file.get_tensor("second")
        except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise FileError(
                f"checkpoint '{path}' cannot be read ({error}); delete it to begin anew"
            ) from error
        if tuple(state["patch"][1:]) != tuple(patch):
            raise UsageError(
                f"checkpoint '{path}' holds sums of patch {tuple(state['patch'][1:])}, expected "
                f"{tuple(patch)}; delete it or name another"
            )
        self.chunks = state["chunks"]
        products = frozenset(state.get("products", ()))
        self.moments = PatchMoments(
            state["count"], total, second, tuple(state["patch"]), state["unit"], products
        )
