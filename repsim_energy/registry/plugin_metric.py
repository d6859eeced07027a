"""Metrics of plugins, with checks of what they return."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from repsim_energy.errors import PluginError, RepsimError, UndefinedSimilarityWarning, reason_of
from repsim_energy.interfaces import Direction, Metric, OperatesOn
from repsim_energy.registry.plugins import Entry
from repsim_energy.versions import Origin

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["PluginMetric", "origins_of", "unchecked"]


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
        self.plain = metric
        self.plugin = entry.plugin
        self._what = entry.called
        self._remedy = f"see {entry.plugin.check_command}"

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the metric; methods are called with checks."""
        if name == "plain":  # not set yet, such as while it is copied
            raise AttributeError(name)
        value = getattr(self.plain, name)
        return partial(self._call, name, value) if callable(value) else value

    def represent(self, subject: Any) -> Array:
        """Return the representation, after checking that it is an array of numbers."""
        import numpy as np  # here, so that listing names stays fast

        found = self._call("represent", self.plain.represent, subject)
        if not isinstance(found, np.ndarray) or found.dtype.kind not in "fiu":
            raise self._wrong("represent", found, "a NumPy array of numbers")
        return found

    def compare(self, a: Array, b: Array) -> float:
        """Return the value, after checking that it is a number.

        NaN gives a warning, unless a representation contains NaN already.
        """
        import numpy as np

        found = self._call("compare", self.plain.compare, a, b)
        if not isinstance(found, float | int | np.floating):
            raise self._wrong("compare", found, "a float")
        if math.isnan(found) and not (np.isnan(a).any() or np.isnan(b).any()):
            message = f"{self._what} returns NaN: the value is undefined; {self._remedy}"
            warnings.warn(message, UndefinedSimilarityWarning, stacklevel=2)
        return float(found)

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        """Return the null interval, after checking that it is two numbers."""
        found = self._call("null_interval", self.plain.null_interval, a, b)
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


def unchecked(metric: Metric) -> Metric:
    """Return the metric that stands behind the checks; one that has none as it is."""
    return metric.plain if isinstance(metric, PluginMetric) else metric


def origins_of(metric: Metric) -> tuple[Origin, ...]:
    """Return the origin of a plugin's metric; nothing for other metrics."""
    return (metric.plugin.origin,) if isinstance(metric, PluginMetric) else ()
