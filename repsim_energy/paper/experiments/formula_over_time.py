"""Figure 4: the theoretical profile at growing t, and the whitening that it ends in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.numerics.profiles.energy import profile_similarity
from repsim_energy.numerics.profiles.theory import theoretical_profile, whitening_filters
from repsim_energy.paper.experiments.decorrelation import FAR, MAX_SHIFT
from repsim_energy.paper.figures import draw_curves, draw_profiles, new_figure
from repsim_energy.paper.outcome import Outcome
from repsim_energy.paper.setting import PATCH
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from torch import Tensor

    from repsim_energy.paper.setting import Setting

__all__ = ["run"]

Array = NDArray[np.float64]

STEPS = (1, 10, 100, 1_000, 10_000, 100_000, math.inf)


def run(setting: Setting) -> Outcome:
    """Evaluate the formula on the patches of CIFAR-10 and measure what its filters decorrelate."""
    outcome = Outcome()
    train = setting.data("cifar10").train
    basis = setting.basis(train)
    lags = setting.lags(train, PATCH, min(MAX_SHIFT, train.images.shape[3] - PATCH[1]))
    variance = basis.eigenvalues.numpy()
    eta = 0.5 / variance.max()
    finite = theoretical_profile(variance, step_size=eta, steps=STEPS[:-1])
    profiles = np.stack([*finite, variance**-0.5 / eta])
    banks = torch.from_numpy(profiles)[:, :, None] * basis.components
    curves = np.stack([lags.autocorrelation(bank).curve.numpy() for bank in banks])
    names = [f"t = {t:g}" for t in STEPS[:-1]] + ["t → ∞"]
    variables = _variables(variance, profiles, curves)
    coords = {"t": list(STEPS), "component": range(len(variance)), "shift": range(curves.shape[1])}
    outcome.keep("", setting.result(variables, coords, "cifar10"))
    middle = len(lags.values) // 2
    whitened = _correlations(whitening_filters(basis).flatten(1), lags.values[middle, middle])
    outcome.add(
        "t → ∞: largest correlation of two responses at one place", whitened, "fig4/decorrelated"
    )
    last = theoretical_profile(variance, step_size=eta, steps=40 / (eta * variance.min()))
    outcome.add(
        "large t: correlation with 1/λ", profile_similarity(last, variance**-0.5), "fig4/limit"
    )
    far = min(FAR, curves.shape[1] - 1)
    for t, curve in zip(names, curves, strict=True):
        outcome.add(f"{t}: autocorrelation at {far} pixels", curve[far])
    outcome.figure, panels = new_figure(2)
    draw_profiles(panels[0], dict(zip(names, profiles, strict=True)), "formula", log=True)
    shown = dict(zip(names, curves, strict=True))
    draw_curves(panels[1], coords["shift"], shown, "responses", "shift (pixels)", "autocorrelation")
    return outcome


def _variables(variance: Array, profiles: Array, curves: Array) -> dict[str, Variable]:
    """Return what is written to the result file, with its descriptions."""
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


def _correlations(filters: Tensor, moments: Tensor) -> float:
    """Return the largest correlation between responses of two filters, from measured moments."""
    covariance = filters @ moments @ filters.T
    scale = covariance.diagonal().sqrt()
    correlation = covariance / torch.outer(scale, scale)
    return float((correlation - torch.eye(len(filters))).abs().max())
