"""Variables of a comparison of filters: what networks share beyond the theory."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.measured import NETWORK_DIMS, Variables, paired
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.profiles import STAGES
from repsim_energy.errors import RepsimWarning, UndefinedSimilarityWarning, first_few
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

MAX_NAMED = 3
"""Maximum number of networks that a warning names."""


def beyond_variables(
    plan: Plan, variables: Variables, bases: Sequence[str], stage: str
) -> Variables:
    """Return the residuals of the theory, and their correlations.

    Parameters
    ----------
    variables : with the energy profiles and the best theoretical ones
    bases : the identity of each data set's patch basis; pairs of different bases are NaN
    stage : that is compared
    """
    at = STAGES.index(stage)
    energy, curves = (variables[name].values[..., at, :] for name in ("energy", "fit_profile"))
    fitted = variables["fit_correlation"].values[..., at]
    residuals = theory_residuals(energy, curves, fitted)
    _say_what_is_left_out(plan, energy, residuals)
    _say_what_is_not_described(plan, fitted, residuals)
    size = math.prod(plan.shape)
    pairs = np.full((3, size, size), np.nan)
    of_network = np.repeat(bases, size // len(bases))
    for basis in set(bases):
        same = np.flatnonzero(of_network == basis)
        pairs[:, same[:, None], same] = _pairs(residuals.reshape(size, -1)[same])
    pairs[1:, range(size), range(size)] = np.nan
    residual = "log of the energy profile relative to the best theoretical profile"
    return {
        "theory_residual": Variable((*NETWORK_DIMS, "component"), residuals, residual),
        **{
            name: Variable(paired(NETWORK_DIMS), values.reshape(plan.shape * 2), meaning)
            for (name, meaning), values in zip(MEANINGS.items(), pairs, strict=True)
        },
    }


def _pairs(residuals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return (3, m, m) the correlations and the ends of their null intervals."""
    correlations, used = correlate_residuals(residuals)
    numbers, which = np.unique(used, return_inverse=True)
    intervals = np.array([pearson_null_interval(number) for number in numbers.tolist()])
    ends = np.moveaxis(intervals[which.reshape(used.shape)], -1, 0)
    return np.stack([correlations, *np.where(np.isnan(correlations), np.nan, ends)])


def _say_what_is_left_out(
    plan: Plan, energy: NDArray[np.float64], residuals: NDArray[np.float64]
) -> None:
    """Warn of networks without energy in some components, which have no logarithm."""
    without = (np.isfinite(energy) & np.isnan(residuals)).sum(-1)
    partly = (without > 0) & np.isfinite(residuals).any(-1)
    if partly.any():
        counts = " or ".join(map(str, sorted(set(without[partly].tolist()))))
        warnings.warn(
            f"r beyond theory of {_names(plan, partly)} leaves out {counts} of "
            f"{energy.shape[-1]} components, which have no energy",
            RepsimWarning,
            stacklevel=5,
        )


def _say_what_is_not_described(
    plan: Plan, fitted: NDArray[np.float64], residuals: NDArray[np.float64]
) -> None:
    """Warn of networks that have a profile, but no residuals."""
    not_described = np.isfinite(fitted) & np.isnan(residuals).all(-1)
    if not_described.any():
        warnings.warn(
            f"the theory does not describe {_names(plan, not_described)} (r with theory "
            f"{fitted[not_described].max():.2f}{' or less' if not_described.sum() > 1 else ''}, as "
            "of white filters); their r beyond theory is NaN",
            UndefinedSimilarityWarning,
            stacklevel=5,
        )


def _names(plan: Plan, chosen: NDArray[np.bool_]) -> str:
    """Return the labels of the first networks of a mask (dataset, model, seed), in words."""
    keys = [Key(*map(int, index)) for index in np.argwhere(chosen)]
    return first_few([f"'{plan.label(key)}'" for key in keys], MAX_NAMED)
