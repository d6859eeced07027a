"""Filter banks of a comparison: those that can be compared, and what describes each alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor

from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.measured import NETWORK_DIMS, Variables
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.reliability import has_reliability, reliability
from repsim_energy.interfaces import Metric
from repsim_energy.results import Variable

__all__ = ["bank_variables", "finite_filters"]


def finite_filters(
    plan: Plan, networks: Mapping[Key, Network], stage: str
) -> tuple[dict[Key, Tensor], tuple[str, ...]]:
    """Return the finite filters, and a line for each network whose filters are not finite."""
    finite, failures = {}, []
    for key, network in networks.items():
        filters = network.at(stage)
        if filters is not None and filters.isfinite().all():
            finite[key] = filters
        else:
            failures.append(
                f"{plan.label(key)}: the filters of layer '{network.layer}' hold NaN or infinite "
                "numbers; its pairs are NaN"
            )
    return finite, tuple(failures)


def bank_variables(
    metric: Metric,
    kernels: Kernels,
    shape: Key,
    finite: Mapping[Key, Tensor],
    banks: Mapping[Key, Tensor],
    *,
    reliable: bool,
) -> Variables:
    """Return the reliability of each bank, and how many of its filters are left out.

    Parameters
    ----------
    shape : sizes of the dimensions of networks
    finite, banks : filters before and after the metric prepared them
    reliable : whether reliabilities are wanted
    """
    rho, left_out = np.full((2, *shape), np.nan)
    for key, bank in banks.items():
        left_out[key] = len(finite[key]) - len(bank)
        if reliable and has_reliability(metric):
            rho[key] = reliability(metric, len(bank), kernels.parts_of(key, bank))
    return {
        "reliability": Variable(
            NETWORK_DIMS, rho, "similarity to expect of another bank of such filters"
        ),
        "filters_left_out": Variable(
            NETWORK_DIMS, left_out, "filters that the metric leaves out, such as zero ones"
        ),
    }
