"""Table 1, Figure 1: one profile across seeds, widths and architectures, far from its start."""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.numerics.profiles.energy import profile_similarity
from repsim_energy.paper.figures import draw_profiles, new_figure
from repsim_energy.paper.outcome import Outcome, similarities

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from repsim_energy.paper.setting import Setting

__all__ = ["run"]


def run(setting: Setting) -> Outcome:
    """Compare VGG11 of several widths and ResNet18 on every data set."""
    outcome = Outcome()
    scale = setting.scale
    vgg = [scale.model("vgg11", filters) for filters in scale.filters]
    resnet = scale.model("resnet18")
    sources = setting.available(outcome, "cifar10", "cifar100", "celeba")
    outcome.figure, panels = new_figure(max(1, len(sources)))
    for source, axes in zip(sources, panels, strict=False):
        result = setting.compare([resnet, *vgg], [setting.data(source)])  # the longest first
        outcome.keep(source, result)
        _add(outcome, source, result, setting.over)
        energy = result.energy.isel(dataset=0)
        profiles = {
            "VGG11": energy.sel(model=vgg[0], stage="change").values,
            "ResNet18": energy.sel(model=resnet, stage="change").values,
            "an initialization": energy.sel(model=vgg[0], stage="init").values[0],
        }
        draw_profiles(axes, profiles, source)
    return outcome


def _add(outcome: Outcome, source: str, result: xr.Dataset, seeds: str) -> None:
    models = range(1, result.sizes["model"])  # the VGGs; the first of them has the usual width
    widths = [similarities(result, {"model": a}, {"model": b}) for a, b in combinations(models, 2)]
    key = f"table1/{source}"
    outcome.add(f"{source}: across seeds", similarities(result, {"model": 1}), f"{key}/seed", seeds)
    outcome.add(f"{source}: across widths", np.concatenate(widths), f"{key}/width", seeds)
    change = result.init_similarity.isel(dataset=0, model=1).values
    outcome.add(f"{source}: change vs init", change, f"{key}/init", seeds)
    outcome.add(f"{source}: change vs init, |r|", np.abs(change), "", seeds)
    outcome.add(f"{source}: trained vs init", _trained_to_init(result), f"{key}/init", seeds)
    across = similarities(result, {"model": 1}, {"model": 0})
    outcome.add(f"{source}: VGG11 vs ResNet18", across, f"{key}/resnet", seeds)


def _trained_to_init(result: xr.Dataset) -> NDArray[np.float64]:
    energy = result.energy.isel(dataset=0, model=1)
    pairs = zip(energy.sel(stage="trained").values, energy.sel(stage="init").values, strict=True)
    return np.array([profile_similarity(a, b) for a, b in pairs if np.isfinite(a).all()])
