"""Images of a data set by its spec."""

from __future__ import annotations

from pathlib import Path

from repsim_energy.comparison.given import as_datasets
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Dataset
from repsim_energy.registry import Registry, load_registry

__all__ = ["load_images"]


def load_images(spec: str | Path, *, registry: Registry | None = None) -> Dataset:
    """Return the training and test images of a data set, as :func:`compare` reads them.

    Parameters
    ----------
    spec : such as ``"cifar10:classes=cat/dog+random_labels"``, or the path of a folder of pictures
        or of an ``.npz`` file
    registry : the plugins to use, of :func:`load_registry`; by default all that are installed

    Returns
    -------
    Dataset
        ``train`` and ``test`` are image sets with ``images`` (n, c, h, w), ``labels`` (n,) and
        ``classes``. A data set without test images has a ``test`` of 0 images.

    Raises
    ------
    UsageError
        For names and options that are unknown, and for specs that are ambiguous.
    DataError, FileError
        For images and files that cannot be used.
    RepsimError
        If a download fails.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> data = rs.load_images("deadleaves:count=60")
    >>> tuple(data.train.images.shape), len(data.train.labels), len(data.train.classes)
    ((60, 3, 32, 32), 60, 10)
    """
    if not isinstance(spec, str | Path):
        raise UsageError(
            f"got {type(spec).__name__}, expected the spec of a data set such as 'cifar10'; images "
            "in memory are given to compare as they are"
        )
    return as_datasets(registry or load_registry(), spec)[0]
