"""The reproduction report's two networks: VGG11 and ResNet20 on CIFAR-10."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.experiments.figures import draw_profiles
from repsim_energy.experiments.outcome import Outcome, similarities

if TYPE_CHECKING:
    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

NAMES = ("resnet20", "vgg11")


def run(setting: Setting) -> Outcome:
    """Compare them with each other, with the formula and with their initializations."""
    outcome = Outcome()
    models = [setting.scale.model(name) for name in NAMES]
    result = setting.compare(models, [setting.data("cifar10")], seeds=setting.seeds[:1])
    outcome.keep("", result)
    for m, name in enumerate(NAMES):
        network = result.isel(dataset=0, model=m)
        fit = network.fit_correlation.sel(stage="change").values
        outcome.add(f"{name}: fit of the formula", fit, key=f"report/{name}", over="1 seed")
        outcome.add(f"{name}: vs init", network.init_similarity, over="1 seed")
    outcome.add("VGG11 vs ResNet20", similarities(result, {"model": 1}, {"model": 0}))
    (axes,) = outcome.panels(1)
    energy = result.energy.isel(dataset=0).sel(stage="change").values
    draw_profiles(axes, dict(zip(NAMES, np.asarray(energy), strict=True)), "change in training")
    return outcome
