"""A stored result that is part of this package."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import xarray as xr

from repsim_energy.errors import FileError, reason_of
from repsim_energy.files.storage import temporary_folder
from repsim_energy.results.files import open_result

__all__ = ["example_result"]

STORED = Path(__file__).with_name("example.nc.gz")
"""Written by ``tests/results/make_example.py``."""


def example_result() -> xr.Dataset:
    """Return a small stored result: two architectures, two seeds each, compared by energy.

    The networks were trained on rendered images (``deadleaves``), with snapshots and evaluations
    during training. It serves to try tables and figures; its attribute ``command`` makes it again.

    Returns
    -------
    xarray.Dataset
        The result, as :func:`compare` returned it.

    Raises
    ------
    RepsimError
        If the file of the package is missing or damaged.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> result = rs.example_result()
    >>> result.sizes["model"], result.sizes["seed"], len(rs.pairs(result))
    (2, 2, 6)
    """
    try:
        content = gzip.decompress(STORED.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise FileError(
            f"'{STORED}' cannot be read ({reason_of(error)}); install repsim-energy again"
        ) from error
    with temporary_folder() as folder:
        path = folder / "example.nc"
        path.write_bytes(content)
        return open_result(path)
