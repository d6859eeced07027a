"""Run an experiment and keep what it found."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from repsim_energy.errors import RepsimError
from repsim_energy.paper.experiment import Experiment
from repsim_energy.paper.figures import save_figure
from repsim_energy.paper.outcome import Outcome
from repsim_energy.paper.report import compared, read_rows, write_rows
from repsim_energy.paper.setting import Missing, Setting
from repsim_energy.results import save_results

__all__ = ["reproduce"]


def reproduce(
    experiment: Experiment, setting: Setting, folder: Path
) -> tuple[dict[str, Any], RepsimError | None]:
    """Run an experiment, write its files, and return its row of the report.

    Written are ``NAME.nc``, ``NAME.svg``, ``NAME.png``, and the row in ``reproduction.json`` and
    ``reproduction.md``, beside the rows that are there already. What is missing or fails is said
    in the row. Of files that cannot be written, on a full disk perhaps, the first is returned as
    an error beside the row; the others are tried all the same.
    """
    started = time.monotonic()
    try:
        outcome = experiment.run(setting)
    except Missing as error:
        outcome = Outcome(missing=[str(error)])
    except RepsimError as error:
        outcome = Outcome(failures=[" ".join(str(error).split())])
    row = {
        "names": list(experiment.names),
        "title": experiment.title,
        "scale": setting.scale.name,
        "scale_summary": setting.scale.summary,
        "recipe": setting.recipe,
        "data": setting.described(),
        "seconds": round(time.monotonic() - started, 1),
        "missing": outcome.missing,
        "failures": outcome.failures,
        "quantities": [compared(quantity) for quantity in outcome.quantities],
    }
    written = [_tried(write) for write in _files(experiment.name, outcome, folder)]
    row["figure"] = bool(outcome.results) and not any(written)
    written.append(_tried(lambda: write_rows(folder, read_rows(folder) | {experiment.name: row})))
    return row, next((error for error in written if error is not None), None)


def _files(name: str, outcome: Outcome, folder: Path) -> list[Callable[[], None]]:
    """Return functions that write what an experiment found."""
    figure = outcome.figure
    if not outcome.results:
        return []
    assert figure is not None
    return [
        lambda: save_results(outcome.results, folder / f"{name}.nc"),
        lambda: save_figure(figure, folder / name),
    ]


def _tried(write: Callable[[], None]) -> RepsimError | None:
    """Return why something could not be written; ``None`` where it was."""
    try:
        write()
    except RepsimError as error:
        return error
    return None
