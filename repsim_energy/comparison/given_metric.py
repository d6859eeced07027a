"""The metric of a comparison, by its spec or as an object."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from repsim_energy.comparison.listed import items_of
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Metric, missing_of
from repsim_energy.registry import Registry, ResolvedMetric, resolve_metric

__all__ = ["as_metric", "record_of"]


def as_metric(registry: Registry, metric: str | Metric) -> ResolvedMetric:
    """Return the metric of a spec, or one that is given as an object.

    Raises
    ------
    UsageError
        For several metrics, and for objects without the interface of a metric.
    """
    several = items_of(metric) if isinstance(metric, str) else metric
    if isinstance(several, list | tuple) and len(several) != 1:
        raise UsageError(f"got {len(several)} metrics, expected one; call compare for each of them")
    if isinstance(metric, str):
        return resolve_metric(registry, metric)
    missing = missing_of(metric)
    if isinstance(metric, type) or missing:
        kind = f"the class {metric.__name__}" if isinstance(metric, type) else repr(metric)[:60]
        why = f", which lacks {', '.join(missing)}" if missing else ""
        raise UsageError(
            f"got as metric {kind}{why}, expected a name such as energy, or an instance of a "
            "repsim_energy.Metric"
        )
    return ResolvedMetric(metric, "", _public_options(metric), (), plain=metric)


def _public_options(metric: Metric) -> dict[str, Any]:
    """Return the arguments of a metric's constructor, if all of them are public attributes."""
    try:
        parameters = inspect.signature(type(metric)).parameters.values()
    except (TypeError, ValueError):  # a class that is not written in Python
        return {}
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    names = [p.name for p in parameters if p.kind not in variable]
    recorded = len(names) == len(parameters) and all(
        hasattr(metric, name) and not name.startswith("_") for name in names
    )
    return {name: getattr(metric, name) for name in names} if recorded else {}


def record_of(resolved: ResolvedMetric) -> Mapping[str, Any]:
    """Return the provenance of a metric for the configuration of a result.

    It has the registered name, or for an object its own name and its class.
    """
    options = dict(resolved.options)
    if resolved.name:
        return {"name": resolved.name, "options": options}
    kind = type(resolved.metric)
    home = f"{kind.__module__}.{kind.__qualname__}"
    return {"name": resolved.metric.name, "class": home, "options": options}
