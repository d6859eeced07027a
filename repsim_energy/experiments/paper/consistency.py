"""Table 1, Figure 1: the same profile across seeds, widths and architectures."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.experiments.figures import draw_profiles
from repsim_energy.experiments.outcome import Outcome, similarities
from repsim_energy.numerics.profiles.energy import profile_similarity

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]


def run(setting: Setting) -> Outcome:
    """Compare VGG11 of several widths and ResNet18 on every data set."""
    outcome = Outcome()
    scale = setting.scale
    vggs = [scale.model("vgg11", filters) for filters in scale.filters]
    resnet = scale.model("resnet18")
    sources = setting.available(outcome, "cifar10", "cifar100", "celeba")
    for source, axes in zip(sources, outcome.panels(len(sources)), strict=True):
        result = setting.compare([resnet, *vggs], [setting.data(source)])  # the slowest first
        outcome.keep(source, result)
        _add(outcome, source, result, vggs, resnet, setting.over)
        energy = result.energy.isel(dataset=0)
        profiles = {
            "VGG11": energy.sel(model=vggs[0], stage="change").values,
            "ResNet18": energy.sel(model=resnet, stage="change").values,
            "an initialization": energy.sel(model=vggs[0], stage="init").values[0],
        }
        draw_profiles(axes, profiles, source)
    return outcome


def _add(
    outcome: Outcome, source: str, result: xr.Dataset, vggs: Sequence[str], resnet: str, over: str
) -> None:
    index = {model: {"model": m} for m, model in enumerate(result.model.values)}
    vgg = vggs[0]

    def add(name: str, values: NDArray[np.float64], row: str = "") -> None:
        key = f"table1/{source}/{row}" if row else ""
        outcome.add(f"{source}: {name}", values, key=key, over=over)

    widths = [similarities(result, index[a], index[b]) for a, b in combinations(vggs, 2)]
    change = result.init_similarity.isel(dataset=0).sel(model=vgg).values
    add("across seeds", similarities(result, index[vgg]), "seed")
    add("across widths", np.concatenate(widths), "width")
    add("change vs init", change, "init")
    add("change vs init, |r|", np.abs(change))
    add("trained vs init", _trained_to_init(result.energy.isel(dataset=0).sel(model=vgg)), "init")
    add("VGG11 vs ResNet18", similarities(result, index[vgg], index[resnet]), "resnet")


def _trained_to_init(energy: xr.DataArray) -> NDArray[np.float64]:
    pairs = zip(energy.sel(stage="trained").values, energy.sel(stage="init").values, strict=True)
    return np.array([profile_similarity(a, b) for a, b in pairs if np.isfinite(a).all()])
