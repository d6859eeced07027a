"""Run an experiment and write its files."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from repsim_energy.errors import RepsimError
from repsim_energy.experiments.commands import options_of
from repsim_energy.experiments.experiment import Experiment
from repsim_energy.experiments.figures import save_figure
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.report import Row, compare_with_published, read_rows, write_rows
from repsim_energy.experiments.setting import Missing, Setting
from repsim_energy.results import save_results

__all__ = ["reproduce"]


def reproduce(
    experiment: Experiment, setting: Setting, folder: Path
) -> tuple[Row, RepsimError | None]:
    """Run an experiment, write its files, and return its row of the report.

    The files are ``NAME.nc``, ``NAME.svg`` and ``NAME.png``. The row is added to the rows that
    ``reproduction.json`` and ``reproduction.md`` already have. Missing parts and failed trainings
    are listed in the row. A file that cannot be written does not prevent the others; the first
    such error is returned beside the row.
    """
    started = time.monotonic()
    own = experiment.with_recipe(setting)
    try:
        outcome = experiment.run(own)
    except Missing as error:
        outcome = Outcome(missing=[str(error)])
    except RepsimError as error:
        outcome = Outcome(failures=[" ".join(str(error).split())])
    seconds = round(time.monotonic() - started, 1)
    errors = _write(outcome, folder / experiment.name)
    row: Row = {
        "names": list(experiment.names),
        "title": experiment.title,
        "scale": setting.scale.name,
        "scale_summary": setting.scale.summary,
        "recipe": own.recipe,
        "data": setting.describe_data(experiment.uses),
        "seconds": seconds,
        "missing": outcome.missing,
        "failures": outcome.failures,
        "quantities": [compare_with_published(quantity) for quantity in outcome.quantities],
        "figure": outcome.figure is not None and not errors,
        "options": options_of(setting, experiment.uses),
    }
    errors += _errors(lambda: write_rows(folder, read_rows(folder) | {experiment.name: row}))
    return row, next(iter(errors), None)


def _write(outcome: Outcome, path: Path) -> list[RepsimError]:
    """Write results and figure, and return the errors."""
    errors = []
    if outcome.results:
        errors += _errors(partial(save_results, outcome.results, path.with_suffix(".nc")))
    if outcome.figure is not None:
        errors += _errors(partial(save_figure, outcome.figure, path))
    return errors


def _errors(write: Callable[[], None]) -> list[RepsimError]:
    try:
        write()
    except RepsimError as error:
        return [error]
    return []
