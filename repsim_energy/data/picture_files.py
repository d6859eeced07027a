"""Pixels of many image files, read in threads or in processes."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing import parent_process
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_energy.data.decoding import Pixels, ReadAlike, Shape, write_at
from repsim_energy.errors import DataError, UsageError
from repsim_energy.progress import working

__all__ = ["File", "PictureFiles", "Read", "iter_image_batches"]

BATCH_BYTES = 16 * 2**20
"""Bytes of pixels that are read before they are written to the cache."""

MAX_BATCH_IMAGES = 512
"""Images that are read before they are written to the cache, at most."""

FILES_PER_TASK = 16
"""Files that a thread reads per task: reading a small file takes no longer than starting a task."""

MIN_FILES, MAX_MEAN_BYTES = 8192, 8192
"""Number of files from which on processes are started, and their largest mean size. Threads wait
for each other in Python's part of reading, which is most of it for small files. Larger ones take
as long in threads.
"""

FILES_PER_PROCESS_TASK = 256
"""Files that a process reads per task."""

LOOKED_AT = 64
"""Files whose sizes are looked at."""

File = Path | str
Read = Callable[[Any], Pixels]


@dataclass(frozen=True)
class PictureFiles:
    """Image files of one shape, in order.

    Parameters
    ----------
    files : the image files
    read : called with a file, returns (c, h, w) uint8
    shape : (c, h, w) of every image
    name : of the images, in reports of progress
    """

    files: Sequence[File]
    read: Read
    shape: Shape
    name: str

    def batches(self) -> Iterator[Tensor]:
        """Yield all images in batches."""
        with working(f"reading images of {self.name}", len(self.files), "images") as advance:
            for batch in self._batches(self.files):
                yield batch
                advance(len(batch))

    def write(self, target: Path, start: int) -> Generator[int, None, None]:
        """Write the pixels of all images into a file, and yield how many have just been written.

        Processes read many small files, threads others, and also those that remain if processes
        cannot be started or end.

        Parameters
        ----------
        target : an existing file
        start : place of the first byte
        """
        with working(f"reading images of {self.name}", len(self.files), "images") as advance:
            for count in self._write(target, start):
                yield count
                advance(count)

    def _write(self, target: Path, start: int) -> Iterator[int]:
        """Write all images, and yield the numbers of images that have been written."""
        done = 0
        try:
            if isinstance(self.read, ReadAlike) and self._are_many_and_small():
                for count in self._write_in_processes(self.read, target, start):
                    yield count
                    done += count
        except (BrokenProcessPool, OSError, ImportError):
            pass  # threads go on, and meet a full disk too
        with target.open("r+b") as file:
            file.seek(start + done * math.prod(self.shape))
            for batch in self._batches(self.files[done:]):
                file.write(batch.numpy().data)
                file.flush()
                yield len(batch)

    def _batches(self, files: Sequence[File]) -> Iterator[Tensor]:
        at_once = max(1, min(MAX_BATCH_IMAGES, BATCH_BYTES // math.prod(self.shape)))
        for batch in iter_image_batches(files, self.read, at_once):
            if batch.shape[1:] != self.shape:
                raise DataError(
                    f"images were read as {tuple(batch.shape[1:])}, expected {self.shape}; report "
                    "this to the author of the data set"
                )
            yield batch

    def _are_many_and_small(self) -> bool:
        if len(self.files) < MIN_FILES or parent_process() is not None:
            return False
        some = self.files[:: max(1, len(self.files) // LOOKED_AT)]
        return sum(map(os.path.getsize, some)) <= MAX_MEAN_BYTES * len(some)

    def _write_in_processes(self, read: ReadAlike, target: Path, start: int) -> Iterator[int]:
        from repsim_energy.workers import in_order, kept_pool, result_of, submit, usable_cores

        firsts = range(0, len(self.files), FILES_PER_PROCESS_TASK)
        processes, size = usable_cores(), math.prod(self.shape)
        if processes < 2:
            return
        with kept_pool(min(processes, len(firsts))) as pool:

            def begin(first: int) -> Callable[[], int]:
                some = self.files[first : first + FILES_PER_PROCESS_TASK]
                future = submit(pool, write_at, read, some, target, start + first * size)

                def end() -> int:
                    result_of(future)
                    return len(some)

                return end

            yield from in_order(begin, firsts, 2 * processes)


def iter_image_batches(files: Sequence[File], read: Read, at_once: int = 256) -> Iterator[Tensor]:
    """Yield the images of many files in batches, read in threads and one batch ahead.

    Parameters
    ----------
    files : the image files
    read : called in threads with a file, returns (c, h, w) uint8; its errors are passed on
    at_once : n, the number of images in a batch

    Yields
    ------
    (n, c, h, w) uint8; the last batch may have fewer images

    Raises
    ------
    UsageError
        For ``at_once`` below 1.
    DataError
        For images of several shapes, or of another type than uint8.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> from repsim_energy.data.decoding import load_rgb
    >>> def read(path):
    ...     return np.asarray(load_rgb(path)).transpose(2, 0, 1)
    >>> with TemporaryDirectory() as folder:
    ...     files = [Path(folder, f"{number}.png") for number in range(5)]
    ...     for file in files:
    ...         Image.new("RGB", (4, 4)).save(file)
    ...     [len(batch) for batch in iter_image_batches(files, read, at_once=2)]
    [2, 2, 1]
    """
    if at_once < 1:
        raise UsageError(f"got at_once={at_once}, expected at least 1 image")
    groups = [files[start : start + at_once] for start in range(0, len(files), at_once)]
    with ThreadPoolExecutor() as pool:

        def begin(group: Sequence[File]) -> tuple[Sequence[File], Iterator[Pixels]]:
            starts = range(0, len(group), FILES_PER_TASK)
            tasks = [group[start : start + FILES_PER_TASK] for start in starts]
            return group, chain.from_iterable(pool.map(partial(_read_each, read), tasks))

        under_way = deque(begin(group) for group in groups[:1])
        for number in range(len(groups)):
            under_way.extend(begin(group) for group in groups[number + 1 :][:1])
            yield _stacked(*under_way.popleft())


def _read_each(read: Read, files: Sequence[File]) -> list[Pixels]:
    return [read(file) for file in files]


def _stacked(files: Sequence[File], images: Iterable[Pixels]) -> Tensor:
    batch = list(images)
    for file, pixels in zip(files, batch, strict=True):
        if pixels.shape != batch[0].shape or pixels.dtype != np.uint8:
            raise DataError(
                f"'{file}' was read as {pixels.dtype} {pixels.shape}, expected uint8 "
                f"{batch[0].shape} like '{files[0]}'; crop the images to one size"
            )
    return torch.from_numpy(np.ascontiguousarray(np.stack(batch)))
