"""Runs of the cache, read by their identifier."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from torch import Tensor

from repsim_energy.errors import FileError, UsageError, first_few
from repsim_energy.files.storage import cache_path
from repsim_energy.interfaces.short_repr import short_repr
from repsim_energy.training.history import History
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.run_cache import history_of, read_stored
from repsim_energy.training.run_files import find_keys, is_kept, run_folder
from repsim_energy.training.shipped_runs import shipped_keys, shipped_run

__all__ = ["CachedRun", "open_run"]

MAX_LISTED = 5
"""Maximum number of runs that an error lists."""


@dataclass(frozen=True, eq=False)
class CachedRun:
    """Finished training as the cache stores it, without the network.

    Parameters
    ----------
    run_id : identifier, as in ``result.run_id``
    model : label of the architecture when it was trained
    model_options : name -> value of the options of the architecture, as text
    dataset : label of the data set when it was trained
    seed : of the initial weights and of the order of the images
    recipe : of the training
    layer : name of the first layer
    filters : ``init`` and ``trained`` -> the filters of the first layer (k, c, kh, kw)
    history : course of the training
    test_accuracy : accuracy on the test images after training, NaN if there are none
    folder : that stores the run; ``model.safetensors`` in it has the trained weights. ``None`` for
        a run that is not in a folder of the cache, such as those of :func:`example_result`

    Examples
    --------
    >>> import repsim_energy as rs
    >>> run = rs.open_run(str(rs.example_result().run_id.values.flat[0]))
    >>> run.filters["trained"].shape == run.filters["init"].shape, run.seed
    (True, 0)
    """

    run_id: str
    model: str
    model_options: Mapping[str, str]
    dataset: str
    seed: int
    recipe: Recipe
    layer: str
    filters: Mapping[str, Tensor]
    history: History
    test_accuracy: float
    folder: Path | None

    __repr__ = short_repr


def open_run(run_id: str) -> CachedRun:
    """Return a finished training from the cache: its filters, history and recipe.

    Parameters
    ----------
    run_id : identifier of the run, as in ``result.run_id``, or its first digits

    Returns
    -------
    CachedRun
        The run without its network.

    Raises
    ------
    UsageError
        If no run begins like this, or several do.
    FileError
        If the files of the run are damaged, or of a later version.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> run_id = str(rs.example_result().run_id.values.flat[0])
    >>> run = rs.open_run(run_id[:6])
    >>> run.run_id == run_id, run.recipe.steps == run.history.steps
    (True, True)
    """
    key = _key(run_id)
    facts, tensors = read_stored(key) if is_kept(key) else shipped_run(key)
    try:
        return _cached_run(key, facts, tensors)
    except (KeyError, TypeError, ValueError, UsageError) as error:
        raise FileError(
            f"run {key[:16]} lacks what this version reads ({error}); update repsim-energy, or "
            "delete its folder to train it anew"
        ) from error


def _key(run_id: str) -> str:
    """Return the whole key of the run whose key begins like this."""
    prefix = run_id.strip().lower() if isinstance(run_id, str) else ""
    if not re.fullmatch(r"[0-9a-f]{1,64}", prefix):
        raise UsageError(
            f"got the run {run_id!r}, expected digits 0-9 and a-f, such as those in result.run_id"
        )
    keys = sorted({*find_keys(prefix), *shipped_keys(prefix)})
    if len(keys) > 1:
        listed = first_few([key[:16] for key in keys], MAX_LISTED)
        raise UsageError(f"{len(keys)} runs begin with '{prefix}', expected one of {listed}")
    if not keys:
        raise UsageError(
            f"no run in the cache '{cache_path('runs')}' begins with '{prefix}', expected an "
            "identifier of repsim train or result.run_id; REPSIM_CACHE names another cache"
        )
    return keys[0]


def _cached_run(key: str, facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> CachedRun:
    known = {field.name for field in fields(Recipe)}
    if unknown := set(facts["recipe"]) - known:
        raise ValueError(f"its recipe has the unknown option {min(unknown)}")
    accuracy = facts["test_accuracy"]
    folder = run_folder(key)
    return CachedRun(
        run_id=key[:16],
        model=facts["model"],
        model_options=dict(facts["identity"]["options"]),
        dataset=facts["dataset"],
        seed=facts["seed"],
        recipe=Recipe(**facts["recipe"]),
        layer=facts["layer"],
        filters={stage: tensors[stage] for stage in ("init", "trained")},
        history=history_of(facts, tensors),
        test_accuracy=float("nan") if accuracy is None else float(accuracy),
        folder=folder if folder.exists() else None,
    )
