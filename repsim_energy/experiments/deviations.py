"""Numbers outside their tolerance, with the reasons."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from functools import cache
from importlib import resources
from typing import NamedTuple

from repsim_energy.experiments.report import Comparison, Row

__all__ = ["Deviation", "deviations_of", "known_reasons"]


class Deviation(NamedTuple):
    """Numbers of a row that are outside their tolerance for the same reason.

    Parameters
    ----------
    reason : sentences
    quantities : names of the numbers
    """

    reason: str
    quantities: list[str]


@cache
def known_reasons() -> tuple[tuple[str, str, str], ...]:
    """Return name of an experiment, pattern of quantities and reason, of each known reason."""
    text = resources.files(__package__).joinpath("reasons.json").read_text(encoding="utf-8")
    return tuple((entry["row"], entry["quantity"], entry["reason"]) for entry in json.loads(text))


def deviations_of(name: str, row: Row) -> list[Deviation]:
    """Return the numbers of a row that are outside their tolerance, by reason."""
    found: dict[str, list[str]] = {}
    for comparison in row["quantities"]:
        if comparison["within"] is False:
            found.setdefault(_reason(name, row, comparison), []).append(comparison["quantity"])
    return [Deviation(reason, quantities) for reason, quantities in found.items()]


def _reason(name: str, row: Row, comparison: Comparison) -> str:
    """Return the reason for a deviation: that of the number, or else that of the scale."""
    scale, summary = row["scale"], row["scale_summary"]
    if scale == "smoke":
        return (
            "The scale smoke only shows that everything runs, and is not expected to give the "
            f"published numbers ({summary})."
        )
    for experiment, pattern, reason in known_reasons():
        if name == experiment and fnmatchcase(comparison["quantity"], pattern):
            return reason
    if scale != "full":
        return f"The scale {scale} is smaller than the paper ({summary}). No other reason is known."
    return "No reason is known."
