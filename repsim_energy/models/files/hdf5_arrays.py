"""Arrays of HDF5 files: in the file itself, and of the size that is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from repsim_energy.archives import check_size
from repsim_energy.errors import FileError

__all__ = ["refuse_other_files", "stored_values"]


def stored_values(stored: Any, path: Path) -> np.ndarray[Any, Any]:
    """Return an array of the file, of the size that is stored: HDF5 returns zeros for the rest."""
    check_size(stored.nbytes, stored.id.get_storage_size(), path)
    return np.asarray(stored[()])


def refuse_other_files(root: Any, path: Path) -> None:
    """Refuse external links, external storage and virtual data, which are in other files."""
    import h5py

    foreign = []

    def look(name: str, node: Any) -> None:
        elsewhere = isinstance(node, h5py.Dataset) and (node.external or node.is_virtual)
        if isinstance(node, h5py.ExternalLink) or elsewhere:
            foreign.append(name)

    root.visititems_links(look)
    root.visititems(look)
    if foreign:
        raise FileError(
            f"'{path}' has '{foreign[0]}' in another file, expected all in one; save it again"
        )
