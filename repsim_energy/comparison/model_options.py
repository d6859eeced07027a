"""Numeric options of models, such as ``width``, as coordinates of a result."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from repsim_energy.comparison.measured import NETWORK_DIMS, Measured
from repsim_energy.comparison.plan import Plan
from repsim_energy.results import Variable

__all__ = ["option_coords"]


DIMS = (*NETWORK_DIMS, "stage", "component", "snapshot", "layer", "c", "kh", "kw")
"""Dimensions of results of any metric."""


def option_coords(plan: Plan, measured: Measured) -> dict[str, Variable]:
    """Return each option that is a number for at least one model, NaN for models without it.

    An option that is called as something else in a result gets the prefix ``option_``.
    """
    dims = {dim for variable in measured.variables.values() for dim in variable.dims}
    used = {*DIMS, *dims, *measured.variables, *measured.coords}
    options = dict.fromkeys(name for model in plan.models for name in model.options)
    coords: dict[str, Variable] = {}
    for option in options:
        values = [_number(model.options.get(option)) for model in plan.models]
        if all(value is None for value in values):
            continue
        name = option
        while name in used or name in coords:
            name = f"option_{name}"
        numbers = [math.nan if value is None else value for value in values]
        coords[name] = Variable(("model",), np.array(numbers), f"option {option} of the model")
    return coords


def _number(value: Any) -> int | float | None:
    """Return a number that fits into an array, and ``None`` for values that are no numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if isinstance(value, float) or abs(value) < 2**63 else float(value)
