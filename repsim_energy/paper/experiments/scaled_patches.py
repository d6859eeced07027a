"""Figures 8b and 18: patches scaled along one component, and the theory that follows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.numerics.profiles.fit import fit_profile
from repsim_energy.paper.figures import draw_profiles, new_figure
from repsim_energy.paper.outcome import Outcome, similarities
from repsim_energy.paper.setting import SILENT

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from repsim_energy.paper.setting import Setting

__all__ = ["run"]

ALPHA = 3
SEEDS = 2


def run(setting: Setting) -> Outcome:
    """Train on true and random labels with each component scaled, and fit the formula."""
    outcome = Outcome()
    model, seeds = setting.scale.model("vgg11"), setting.seeds[:SEEDS]
    over = f"{len(seeds)} seeds"
    chains = [
        f"+alpha_scaled:component={component}:alpha={ALPHA}{labels}"
        for component in setting.components
        for labels in ("", "+random_labels")
    ]
    datasets = {chain: setting.data("cifar10", chain) for chain in chains}
    setting.train([model], list(datasets.values()), seeds)  # all together: more to do at once
    unscaled = setting.basis(setting.data("cifar10").train).eigenvalues.numpy()
    outcome.figure, panels = new_figure(max(1, len(setting.components)))
    for number, (component, axes) in enumerate(zip(setting.components, panels, strict=False)):
        pair = [datasets[chain] for chain in chains[2 * number : 2 * number + 2]]
        result = setting.compare([model], pair, seeds=seeds, reporter=SILENT)
        outcome.keep(f"component_{component}", result)
        pairs = similarities(result, {"dataset": 0}, {"dataset": 1})
        outcome.add(f"component {component}: true vs random labels", pairs, "", over)
        for index, labels in enumerate(("true", "random")):
            profiles = result.energy.isel(dataset=index, model=0).sel(stage="change").values
            fit = result.fit_correlation.isel(dataset=index, model=0).sel(stage="change")
            without = [
                fit_profile(p, unscaled).correlation for p in profiles if np.isfinite(p).all()
            ]
            note = f"with the eigenvalues left unscaled {np.mean(without):.3f}" if without else ""
            outcome.add(
                f"component {component}: formula, {labels} labels",
                fit,
                "",
                over,
                note,
            )
        _draw(axes, component, result)
    return outcome


def _draw(axes: Axes, component: int, result: xr.Dataset) -> None:
    change: NDArray[np.float64] = result.energy.isel(model=0).sel(stage="change").values
    shown = {"true labels": change[0], "random labels": change[1]}
    if np.isfinite(change[0, 0]).all():
        fit = fit_profile(change[0, 0], result.eigenvalue.isel(dataset=0).values)
        shown[f"formula, t = {fit.steps:.3g}"] = fit.profile[None]
    draw_profiles(axes, shown, f"component {component}, α = {ALPHA}")
