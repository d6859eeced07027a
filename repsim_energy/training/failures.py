"""Records of failed trainings, so that a later sweep does not repeat them without being asked.

The file ``failed/KEY.json`` of the cache is JSON whose last entry is its seal
(:mod:`repsim_energy.files.seals`).
"""

from __future__ import annotations

import contextlib
from datetime import datetime
from pathlib import Path

from repsim_energy.errors import FileError, RepsimError, TrainingError, warn
from repsim_energy.files.seals import sealed_json, unsealed_json
from repsim_energy.files.storage import atomic_path, cache_folder, cache_path
from repsim_energy.training.training import Training

__all__ = ["NOT_AGAIN", "forget_failure", "record_failure", "recorded_failure"]

NOT_AGAIN = "it is not trained again without retry_failed=True"
"""The remedy behind the reason of a failure that is recorded."""


def record_failure(training: Training, error: TrainingError) -> None:
    """Record the reason and the step of a failed training, if it has a key."""
    if not training.key:
        return
    facts = {
        **training.facts,
        "reason": str(error),
        "step": error.step,
        "failed": datetime.now().astimezone().isoformat(timespec="seconds"),
    }
    with (
        contextlib.suppress(RepsimError),  # it is then trained again
        atomic_path(cache_folder("failed") / f"{training.key}.json") as temporary,
    ):
        temporary.write_bytes(sealed_json(facts))


def recorded_failure(training: Training) -> TrainingError | None:
    """Return the error of a training that failed earlier, ``None`` without one.

    Warns
    -----
    RepsimWarning
        If the record is damaged. It is removed.
    """
    path = _path(training)
    if training.is_cached or not (training.key and path.is_file()):
        return None
    try:
        facts = unsealed_json(path.read_bytes(), path, "it is trained again")
        day = facts["failed"].partition("T")[0]
        return TrainingError(f"{facts['reason']} (it failed on {day})", facts["step"])
    except (FileError, OSError, ValueError, KeyError) as error:
        warn(str(error))
        forget_failure(training)
        return None


def forget_failure(training: Training) -> None:
    """Remove the record of a failed training."""
    if training.key:
        with contextlib.suppress(OSError):
            _path(training).unlink(missing_ok=True)


def _path(training: Training) -> Path:
    return cache_path("failed", f"{training.key}.json")
