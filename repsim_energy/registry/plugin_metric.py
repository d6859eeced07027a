"""Metrics of specs with their provenance, and checks of the values that plugins return."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from repsim_energy.errors import (
    PluginError,
    RepsimError,
    UndefinedSimilarityWarning,
    reason_of,
    warn,
)
from repsim_energy.interfaces import Direction, Metric, OperatesOn
from repsim_energy.registry.plugins import Entry
from repsim_energy.versions import Origin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["PluginMetric", "ResolvedMetric"]


@dataclass(frozen=True, eq=False)
class ResolvedMetric:
    """A metric with its provenance.

    Parameters
    ----------
    metric : to compare with; of a plugin, one whose results are checked
    name : under which it is registered, such as ``cka``
    options : name -> value of every option, defaults included
    origins : of the plugin that offers it; empty for an object
    plain : the metric as its plugin made it, for checks of the plugin
    """

    metric: Metric
    name: str
    options: Mapping[str, Any]
    origins: tuple[Origin, ...]
    plain: Metric


class PluginMetric:
    """Metric of a plugin whose exceptions and return values are checked.

    Parameters
    ----------
    metric : of a plugin. Its further attributes, such as ``batch``, are passed on
    entry : of the metric, for error messages
    """

    name: str
    operates_on: OperatesOn
    direction: Direction
    bounds: tuple[float, float]
    invariances: frozenset[str]

    def __init__(self, metric: Metric, entry: Entry) -> None:
        self._metric = metric
        self._what = entry.called
        self._remedy = f"see {entry.plugin.check_command}"

    def __getattr__(self, name: str) -> Any:
        """Pass on what the metric declares, and what it may have beyond its interface."""
        if name == "_metric":  # not there yet, such as in a copy under way
            raise AttributeError(name)
        value = getattr(self._metric, name)
        return partial(self._call, name, value) if callable(value) else value

    def represent(self, subject: Any) -> Array:
        """Return the representation, after checking that it is an array of numbers."""
        import numpy as np  # here, so that listing names stays fast

        found = self._call("represent", self._metric.represent, subject)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise self._wrong("represent", found, "a NumPy array of numbers")
        return found

    def compare(self, a: Array, b: Array) -> float:
        """Return the value, after checking that it is a number.

        NaN gives a warning, unless a representation contains NaN already.
        """
        import numpy as np

        found = self._call("compare", self._metric.compare, a, b)
        if not isinstance(found, float | int | np.floating):
            raise self._wrong("compare", found, "a float")
        if math.isnan(found) and not (np.isnan(a).any() or np.isnan(b).any()):
            message = f"{self._what} returns NaN: the value is undefined; {self._remedy}"
            warn(message, UndefinedSimilarityWarning)
        return float(found)

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the metric's null interval, which has to be two numbers."""
        found = self._call("null_interval", self._metric.null_interval, a, b)
        if not isinstance(found, tuple) or len(found) != 2:
            raise self._wrong("null_interval", found, "two numbers")
        return found

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return method(*arguments)
        except (RepsimError, MemoryError):
            raise
        except Exception as error:
            raise PluginError(
                f"{self._what} failed in {name} ({reason_of(error)}); {self._remedy}"
            ) from error

    def _wrong(self, name: str, found: Any, expected: str) -> PluginError:
        got = type(found).__name__
        return PluginError(
            f"{self._what}: {name} returned {got}, expected {expected}; {self._remedy}"
        )
