"""Checks of the variables that a metric adds to a result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from repsim_energy.results import Variable
from repsim_energy.testing.contract import require

__all__ = ["forms_of"]

Form = tuple[str, tuple[str, ...], tuple[int, ...]]
"""Name of a variable, its dimensions and its shape."""

NETWORK_DIMS = {"dataset", "model", "seed", "layer"}
"""Dimensions that a comparison adds before those of the metric."""


def forms_of(variables: Any) -> tuple[Form, ...]:
    """Return the names, dimensions and shapes of the variables that a metric returned.

    Raises
    ------
    RuleViolation
        If they are not a mapping from names to described variables of numbers.
    """
    is_mapping = isinstance(variables, Mapping)
    got = type(variables).__name__
    require(is_mapping, f"variables returns {got}, expected a mapping from names to variables")
    return tuple(sorted(_form(name, variable) for name, variable in variables.items()))


def _form(name: Any, variable: Any) -> Form:
    what = f"variable {name!r}"
    valid = isinstance(name, str) and name.isidentifier()
    require(valid, f"{what} has no valid name, expected letters, digits and underscores")
    kind = type(variable).__name__
    require(isinstance(variable, Variable), f"{what} is {kind}, expected repsim_energy.Variable")
    for text, meaning in ((variable.long_name, "long_name"), (variable.units, "units")):
        described = isinstance(text, str) and bool(text.strip())
        require(described, f"{what} has {meaning} {text!r}, expected a text; '1' is no unit")
    values, dims = np.asarray(variable.values), variable.dims
    require(values.dtype.kind in "fiub", f"{what} has {values.dtype} values, expected numbers")
    named = not isinstance(dims, str) and all(isinstance(dim, str) and dim for dim in dims)
    require(named, f"{what} has dimensions {dims!r}, expected a sequence of names")
    require(
        len(dims) == values.ndim,
        f"{what} has the dimensions {tuple(dims)} and values of shape {values.shape}, expected a "
        "name for each axis",
    )
    own = len({*dims}) == len(dims) and not NETWORK_DIMS & {*dims}
    require(
        own,
        f"{what} has the dimensions {tuple(dims)}, expected each once, without those of networks "
        f"({', '.join(sorted(NETWORK_DIMS))})",
    )
    return name, tuple(dims), values.shape
