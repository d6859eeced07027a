"""Figures 8a and 17: with labels made from a component's energy, profiles no longer agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.experiments.figures import draw_profiles
from repsim_energy.experiments.outcome import Outcome, similarities
from repsim_energy.experiments.paper.random_labels import memorized_note

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

SEEDS = 2


def run(setting: Setting) -> Outcome:
    """Compare random labels with ordinary ones, and with deciles of each component's energy."""
    outcome = Outcome()
    variants = ["", "+random_labels"]
    variants += [f"+pca_labels:component={component}" for component in setting.components]
    datasets = [setting.data("cifar10", variant) for variant in variants]
    seeds = setting.seeds[:SEEDS]
    over = f"{len(seeds)} seeds"
    result = setting.compare([setting.scale.model("vgg11")], datasets, seeds=seeds)
    outcome.keep("", result)
    ordinary = similarities(result, {"dataset": 0}, {"dataset": 1})
    note = memorized_note(result.isel(dataset=1))
    outcome.add("ordinary labels vs random labels", ordinary, over=over, note=note)
    change = result.energy.isel(model=0).sel(stage="change")
    random = change.isel(dataset=1).values
    panels = outcome.panels(len(setting.components))
    for number, (component, axes) in enumerate(zip(setting.components, panels, strict=True), 2):
        pairs = similarities(result, {"dataset": number}, {"dataset": 1})
        key = "fig8a/15" if component == 15 else ""
        outcome.add(f"labels of component {component} vs random labels", pairs, key=key, over=over)
        outcome.add(
            f"component {component}: below the ordinary pair",
            np.nanmean(ordinary) - np.nanmean(pairs),
        )
        own = change.isel(dataset=number).values
        outcome.add(
            f"component {component}: energy there relative to that of random labels",
            _relative(own)[:, component] / _relative(random)[:, component].mean(),
        )
        accuracy = float(result.train_accuracy.isel(dataset=number).min())
        profiles = {f"component {component}": own, "random labels": random}
        title = f"component {component} ({np.nanmean(pairs):.2f}), accuracy {accuracy:.2f}"
        draw_profiles(axes, profiles, title)
    return outcome


def _relative(profiles: NDArray[np.float64]) -> NDArray[np.float64]:
    relative: NDArray[np.float64] = profiles / profiles.mean(1, keepdims=True)
    return relative
