"""Run an experiment and keep what it found."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from repsim_energy.errors import RepsimError
from repsim_energy.plot import save_figure
from repsim_energy.reproduction.experiment import Experiment
from repsim_energy.reproduction.outcome import Outcome
from repsim_energy.reproduction.report import compared, read_rows, write_rows
from repsim_energy.reproduction.setting import Missing, Setting
from repsim_energy.results import save_results

__all__ = ["reproduce"]


def reproduce(experiment: Experiment, setting: Setting, folder: Path) -> dict[str, Any]:
    """Run an experiment, write its files, and return its row of the report.

    Written are ``NAME.nc``, ``NAME.svg``, ``NAME.png``, and the row in ``reproduction.json`` and
    ``reproduction.md``, beside the rows that are there already. What is missing or fails is said
    in the row.
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
        "figure": bool(outcome.results),
    }
    if outcome.results:
        save_results(outcome.results, folder / f"{experiment.name}.nc")
        assert outcome.figure is not None
        save_figure(outcome.figure, folder / experiment.name)
    write_rows(folder, read_rows(folder) | {experiment.name: row})
    return row
