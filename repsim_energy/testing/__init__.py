"""Conformance checks for plugin authors: one call checks a component against all its rules.

Each check returns its findings if all rules hold, and raises :class:`RuleViolation` if one is
broken. The test of a plugin is therefore one call.
"""

from __future__ import annotations

from repsim_energy.testing.contract import Finding, RuleViolation
from repsim_energy.testing.datasets import check_dataset
from repsim_energy.testing.metrics import check_metric
from repsim_energy.testing.models import check_model
from repsim_energy.testing.variants import check_variant

__all__ = [
    "Finding",
    "RuleViolation",
    "check_dataset",
    "check_metric",
    "check_model",
    "check_variant",
]
