"""Figures 8b and 18: patches scaled along one component, and the formula for them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.experiments.figures import draw_profiles
from repsim_energy.experiments.outcome import Outcome, similarities
from repsim_energy.experiments.setting import SILENT
from repsim_energy.numerics.profiles.fit import fit_profile

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

ALPHA = 3
SEEDS = 2
LABELS = {"true": "", "random": "+random_labels"}
"""Kind of labels -> variant of the data set."""


def run(setting: Setting) -> Outcome:
    """Train on true and random labels with each component scaled, and fit the formula."""
    outcome = Outcome()
    model, seeds = setting.scale.model("vgg11"), setting.seeds[:SEEDS]
    over = f"{len(seeds)} seeds"
    datasets = {
        (component, labels): setting.data(
            "cifar10", f"+alpha_scaled:component={component}:alpha={ALPHA}{variant}"
        )
        for component in setting.components
        for labels, variant in LABELS.items()
    }
    setting.train([model], list(datasets.values()), seeds)  # all at once keeps every process busy
    unscaled = setting.basis(setting.data("cifar10").train).eigenvalues.numpy()
    panels = outcome.panels(len(setting.components))
    for component, axes in zip(setting.components, panels, strict=True):
        pair = [datasets[component, labels] for labels in LABELS]
        result = setting.compare([model], pair, seeds=seeds, reporter=SILENT)
        outcome.keep(f"component_{component}", result)
        pairs = similarities(result, {"dataset": 0}, {"dataset": 1})
        outcome.add(f"component {component}: true vs random labels", pairs, over=over)
        for index, labels in enumerate(LABELS):
            profiles = result.energy.isel(dataset=index, model=0).sel(stage="change").values
            fit = result.fit_correlation.isel(dataset=index, model=0).sel(stage="change")
            without = [
                fit_profile(p, unscaled).correlation for p in profiles if np.isfinite(p).all()
            ]
            note = f"with the eigenvalues left unscaled {np.mean(without):.3f}" if without else ""
            name = f"component {component}: formula, {labels} labels"
            outcome.add(name, fit, over=over, note=note)
        _draw(axes, component, result)
    return outcome


def _draw(axes: Axes, component: int, result: xr.Dataset) -> None:
    change: NDArray[np.float64] = result.energy.isel(model=0).sel(stage="change").values
    curves = {"true labels": change[0], "random labels": change[1]}
    if np.isfinite(change[0, 0]).all():
        fit = fit_profile(change[0, 0], result.eigenvalue.isel(dataset=0).values)
        curves[f"formula, t = {fit.steps:.3g}"] = fit.profile[None]
    draw_profiles(axes, curves, f"component {component}, α = {ALPHA}")
