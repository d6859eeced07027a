"""Cached runs of the networks of a result, which ``run_id`` names."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from repsim_energy.errors import RepsimError
from repsim_energy.results import to_dataframe
from repsim_energy.training.open_run import CachedRun, open_run

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["StoredRun", "stored_runs"]


class StoredRun(NamedTuple):
    """A network of a result with its run, or the reason why there is none."""

    dataset: str
    model: str
    seed: int
    run: CachedRun | None
    missing: str


def stored_runs(result: xr.Dataset) -> Iterator[StoredRun]:
    """Yield the networks of a result. Seeds that a given network does not have are left out."""
    for row in to_dataframe(result, "run_id").itertuples():
        run_id, labels = row.run_id, (str(row.dataset), str(row.model), int(row.seed))
        run = _run(str(run_id))
        if run is not None:
            yield StoredRun(*labels, run, "")
        else:
            name = f"'{labels[1]}' seed {labels[2]}" if run_id else f"'{labels[1]}'"
            missing = (
                f"run {run_id} of {name} is not in the cache of this machine"
                if run_id
                else f"{name} was not trained by a run that is cached"
            )
            yield StoredRun(*labels, None, missing)


def _run(run_id: str) -> CachedRun | None:
    with contextlib.suppress(RepsimError):  # a damaged run counts as missing
        return open_run(run_id) if run_id else None
    return None
