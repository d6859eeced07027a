"""Numbers of trained networks that a result names by ``run_id`` and the run cache stores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from repsim_energy.results import to_dataframe
from repsim_energy.training.run_cache import stored_tensors

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

__all__ = ["StoredRun", "stored_runs"]


class StoredRun(NamedTuple):
    """A network of a result with the numbers that the cache stores, or the reason for none."""

    dataset: str
    model: str
    seed: int
    tensors: dict[str, Tensor]
    missing: str


def stored_runs(result: xr.Dataset) -> Iterator[StoredRun]:
    """Yield the networks of a result. Seeds that a given network does not have are left out."""
    for row in to_dataframe(result, "run_id").itertuples():
        run_id, labels = row.run_id, (str(row.dataset), str(row.model), int(row.seed))
        tensors = stored_tensors(str(run_id)) if run_id else None
        if tensors is not None:
            yield StoredRun(*labels, tensors, "")
        else:
            name = f"'{labels[1]}' seed {labels[2]}" if run_id else f"'{labels[1]}'"
            missing = (
                f"run {run_id} of {name} is not in the cache of this machine"
                if run_id
                else f"{name} was not trained by a run that is cached"
            )
            yield StoredRun(*labels, {}, missing)
