"""Check that a result file is read as it was written."""

from __future__ import annotations

import numpy as np
import torch
import xarray as xr

from repsim_energy.doctor.checks import Check, Deviations, max_difference
from repsim_energy.doctor.inputs import noise
from repsim_energy.files.storage import temporary_folder
from repsim_energy.results import SCHEMA_VERSION, open_result, save_result

__all__ = ["checks"]


def checks(device: torch.device) -> list[Check]:
    """Return the check of result files. It runs on the CPU only."""
    if device.type != "cpu":
        return []
    return [Check("result file, written and read", "equal numbers and names", 0.0, _round_trip)]


def _round_trip() -> Deviations:
    names, energy = ["vgg11", "rêve:width=0.5"], noise(2, 27) / 7
    similarity = np.array([[1.0, np.nan], [np.nan, 1.0]])
    written = xr.Dataset(
        {"energy": (("model", "component"), energy), "similarity": (("model", "ref"), similarity)},
        coords={"model": names},
        attrs={"schema_version": SCHEMA_VERSION, "recipe": "sgd, η=0.01"},
    )
    with temporary_folder() as folder:
        path = folder / "result.nc"
        save_result(written, path)
        read = open_result(path)
    yield "energy", max_difference(read.energy, energy)
    defined = np.isfinite(similarity)
    yield "undefined similarity", max_difference(np.isfinite(read.similarity), defined)
    yield "names", 0.0 if read.model.values.tolist() == names else float("inf")
    yield "attributes", 0.0 if read.attrs["recipe"] == written.attrs["recipe"] else float("inf")
