"""Registry of metrics, models, data sets and variants, by the specs of users."""

from __future__ import annotations

from repsim_energy.registry.contained import left_threads
from repsim_energy.registry.docstrings import meanings_of
from repsim_energy.registry.loading import load_registry
from repsim_energy.registry.plugin import Plugin
from repsim_energy.registry.plugin_metric import ResolvedMetric
from repsim_energy.registry.plugins import Entry, Kind, Registry
from repsim_energy.registry.resolve import (
    describe,
    load_dataset,
    resolve_metric,
    resolve_model,
    resolve_variant,
)

__all__ = [
    "Entry",
    "Kind",
    "Plugin",
    "Registry",
    "ResolvedMetric",
    "describe",
    "left_threads",
    "load_dataset",
    "load_registry",
    "meanings_of",
    "resolve_metric",
    "resolve_model",
    "resolve_variant",
]
