"""Variables of a comparison of filters: what networks share beyond the theory."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.measured import NETWORK_DIMS, Variables, paired
from repsim_energy.comparison.own_theory import OwnTheory
from repsim_energy.comparison.placed_nulls import beyond_null
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.profiles import STAGES
from repsim_energy.numerics.profiles.beyond_theory import correlate_residuals, theory_residuals
from repsim_energy.numerics.profiles.null import pearson_null_interval
from repsim_energy.results import Variable

__all__ = ["beyond_variables"]

MEANINGS = {
    "beyond_theory": "correlation of what the best theoretical profiles leave",
    "beyond_null_low": "lower end of its central 95% for networks that share the theory alone",
    "beyond_null_high": "upper end of its central 95% for networks that share the theory alone",
}
"""Variable of each pair -> its meaning."""


def beyond_variables(
    plan: Plan,
    variables: Variables,
    kernels: Kernels,
    theories: Mapping[Key, OwnTheory],
    stage: str,
    *,
    pairs: bool = True,
) -> Variables:
    """Return the residuals of the theory, and their correlations.

    Parameters
    ----------
    variables : with the energy profiles and the best theoretical ones
    kernels : with the patch basis of each data set; pairs of different bases are NaN
    theories : network -> its theory, for those whose filters are smaller than the patches
    stage : that is compared
    pairs : whether correlations are wanted
    """
    at = STAGES.index(stage)
    energy, curves = (variables[name].values[..., at, :] for name in ("energy", "fit_profile"))
    fitted = variables["fit_correlation"].values[..., at]
    components = np.isfinite(curves).sum(-1)
    for key, theory in theories.items():
        components[key] = len(theory.basis.components)
    residuals = theory_residuals(energy, curves, fitted, components)
    residual = "log of the energy profile relative to the best theoretical profile"
    found: Variables = {
        "theory_residual": Variable((*NETWORK_DIMS, "component"), residuals, residual)
    }
    if not pairs:
        return found
    bases = [basis.basis_id for basis in kernels.bases]
    size = math.prod(plan.shape)
    correlated = np.full((3, size, size), np.nan)
    of_network = np.repeat(bases, size // len(bases))
    for basis in set(bases):
        same = np.flatnonzero(of_network == basis)
        correlated[:, same[:, None], same] = _pairs(residuals.reshape(size, -1)[same])
    correlated[1:, range(size), range(size)] = np.nan
    correlated = correlated.reshape(3, *plan.shape, *plan.shape)
    beyond_null((correlated[1], correlated[2]), residuals, theories, kernels, stage)
    return found | {
        name: Variable(paired(NETWORK_DIMS), values, meaning)
        for (name, meaning), values in zip(MEANINGS.items(), correlated, strict=True)
    }


def _pairs(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (3, m, m) the correlations and the ends of their null intervals."""
    correlations, used = correlate_residuals(residuals)
    numbers, which = np.unique(used, return_inverse=True)
    intervals = np.array([pearson_null_interval(number) for number in numbers.tolist()])
    ends = np.moveaxis(intervals[which.reshape(used.shape)], -1, 0)
    return np.stack([correlations, *np.where(np.isnan(correlations), np.nan, ends)])
