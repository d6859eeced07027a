"""Figure 4: the theoretical profile at growing t, and whitening as its limit."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.experiments.figures import draw_curves, draw_profiles
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.paper.decorrelation import FAR, MAX_SHIFT
from repsim_energy.experiments.setting import PATCH
from repsim_energy.numerics.profiles.energy import profile_similarity
from repsim_energy.numerics.profiles.theory import theoretical_profile, whitening_filters
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from torch import Tensor

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

Array = NDArray[np.float64]

STEPS = (1, 10, 100, 1_000, 10_000, 100_000, math.inf)


def run(setting: Setting) -> Outcome:
    """Evaluate the formula on CIFAR-10 and measure how its filters decorrelate pixels."""
    outcome = Outcome()
    train = setting.data("cifar10").train
    basis = setting.basis(train)
    max_shift = min(MAX_SHIFT, train.images.shape[3] - PATCH[1])
    autocovariance = setting.autocovariance(train, PATCH, max_shift)
    variance = basis.eigenvalues.numpy()
    eta = 0.5 / variance.max()
    finite = theoretical_profile(variance, step_size=eta, steps=STEPS[:-1])
    profiles = np.stack([*finite, variance**-0.5 / eta])
    banks = torch.from_numpy(profiles)[:, :, None] * basis.components
    curves = np.stack([autocovariance.autocorrelation(bank).curve.numpy() for bank in banks])
    names = [f"t = {t:g}" for t in STEPS[:-1]] + ["t → ∞"]
    variables = _variables(variance, profiles, curves)
    coords = {"t": list(STEPS), "component": range(len(variance)), "shift": range(curves.shape[1])}
    outcome.keep("", setting.result(variables, coords, "cifar10"))
    covariance = autocovariance.values[max_shift, max_shift]
    whitened = _largest_correlation(whitening_filters(basis).flatten(1), covariance)
    name = "t → ∞: largest correlation of two responses at one place"
    outcome.add(name, whitened, key="fig4/decorrelated")
    last = theoretical_profile(variance, step_size=eta, steps=40 / (eta * variance.min()))
    limit = profile_similarity(last, variance**-0.5)
    outcome.add("large t: correlation with 1/λ", limit, key="fig4/limit")
    far = min(FAR, curves.shape[1] - 1)
    for t, curve in zip(names, curves, strict=True):
        outcome.add(f"{t}: autocorrelation at {far} pixels", curve[far])
    left, right = outcome.panels(2)
    draw_profiles(left, dict(zip(names, profiles, strict=True)), "formula", log=True)
    lines = dict(zip(names, curves, strict=True))
    draw_curves(right, coords["shift"], lines, "responses", "shift (pixels)", "autocorrelation")
    return outcome


def _variables(variance: Array, profiles: Array, curves: Array) -> dict[str, Variable]:
    """Return the variables of the result file, with their descriptions."""
    return {
        "eigenvalue": Variable(
            ("component",),
            variance,
            "variance of the patches along the component",
            "pixel value squared",
        ),
        "theoretical_profile": Variable(
            ("t", "component"),
            profiles,
            "profile of a linear CNN by the published formula",
            "arbitrary",
        ),
        "autocorrelation": Variable(
            ("t", "shift"), curves, "spatial autocorrelation, mean of both axes"
        ),
    }


def _largest_correlation(filters: Tensor, covariance: Tensor) -> float:
    """Return the largest correlation of two filters, for patches with this covariance."""
    responses = filters @ covariance @ filters.T
    scale = responses.diagonal().sqrt()
    correlation = responses / torch.outer(scale, scale)
    return float((correlation - torch.eye(len(filters))).abs().max())
