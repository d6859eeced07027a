"""Public checks for plugin authors: what a metric, model, data set or variant has to keep to.

Each check returns the findings where all rules hold and raises :class:`ContractError` where one is
broken, so that a plugin's test is one call.
"""

from __future__ import annotations

from repsim_energy.testing.contract import ContractError, Finding
from repsim_energy.testing.datasets import check_dataset
from repsim_energy.testing.metrics import check_metric
from repsim_energy.testing.models import check_model
from repsim_energy.testing.variants import check_variant

__all__ = [
    "ContractError",
    "Finding",
    "check_dataset",
    "check_metric",
    "check_model",
    "check_variant",
]
