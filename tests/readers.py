"""Readers of images that other processes can import, quickly."""

import multiprocessing
import os
from pathlib import Path

from repsim_energy.data.decoding import ReadAlike


class EndsWorkers(ReadAlike):
    """Reader that ends the worker process which calls it."""

    def __call__(self, path):
        if multiprocessing.parent_process() is not None:
            os._exit(1)
        return super().__call__(path)


class NotesProcesses(ReadAlike):
    """Reader that leaves a file two folders above the first image, named as its process."""

    def __call__(self, path):
        Path(self.first).parents[2].joinpath(f"process-{os.getpid()}").touch()
        return super().__call__(path)
