"""Arrays of HDF5 files, of the size that is stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from repsim_energy.files.archives import check_size

__all__ = ["stored_values"]


def stored_values(stored: Any, path: Path) -> np.ndarray[Any, Any]:
    """Return an array of the file, of the size that is stored: HDF5 returns zeros for the rest."""
    check_size(stored.nbytes, stored.id.get_storage_size(), path)
    return np.asarray(stored[()])
