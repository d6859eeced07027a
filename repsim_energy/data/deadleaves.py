"""The data set ``deadleaves``, rendered once and then read from the cache."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.data import leaf_renderer as leaves
from repsim_energy.errors import FileError, RepsimError, UsageError, reason_of, warn
from repsim_energy.files.array_files import read_npz, write_npz
from repsim_energy.files.storage import atomic_path, cache_folder, cache_path, mark_used
from repsim_energy.interfaces import ImageSet

__all__ = ["deadleaves"]

DEFAULT_IMAGES = {"train": 5000, "test": 1000}


def deadleaves(split: str, *, seed: int = 0, count: int | None = None) -> ImageSet:
    """Render 32x32 images with the patch statistics of photographs, labeled by leaf shape.

    The images are synthetic: use them for trials and teaching, not to reproduce published figures.

    Parameters
    ----------
    seed : seed of the images
    count : number of images in each split; by default 5000 for training and 1000 for testing
    """
    count = DEFAULT_IMAGES.get(split, 0) if count is None else count
    name = f"deadleaves-v{leaves.VERSION}-{split}-{count}-seed{seed}.npz"
    rendered = _cached(name)
    if rendered is None:
        rendered = leaves.render(split, count, seed)
        try:
            with atomic_path(cache_folder("data") / name) as path:
                write_npz(path, {"images": rendered[0], "labels": rendered[1]})
        except RepsimError as error:
            warn(
                f"the images of deadleaves are rendered again each time, because they cannot be "
                f"cached: {error}"
            )
    images, labels = (torch.from_numpy(array) for array in rendered)
    return ImageSet(images, labels, leaves.SHAPES, "deadleaves")


def _cached(name: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]] | None:
    """Return the arrays of a file, or None if it is missing or damaged."""
    try:
        path = cache_path("data", name)
        if not path.exists():
            return None
        arrays = read_npz(path, "its images are rendered again")
        mark_used(path)
        return arrays["images"], arrays["labels"]
    except UsageError:  # there is no cache
        return None
    except (FileError, KeyError) as error:
        warn(reason_of(error))
        return None
