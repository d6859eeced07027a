"""Beyond the paper: what the networks of Tables 1 and 2 share beyond the theoretical profile."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsim_energy.experiments.figures import draw_curves
from repsim_energy.experiments.outcome import Outcome, similarities
from repsim_energy.numerics.profiles.null import pearson_null_interval

if TYPE_CHECKING:
    import xarray as xr

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

Pairs = Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Kind of pairs -> their correlations, and those beyond the theory."""


def run(setting: Setting) -> Outcome:
    """Compare seeds, widths, architectures and labels on every data set."""
    outcome = Outcome()
    scale = setting.scale
    vggs = [scale.model("vgg11", filters) for filters in scale.filters]
    models = [scale.model("resnet18"), *vggs]
    sources = setting.available(outcome, "cifar10", "cifar100", "celeba")
    for source, axes in zip(sources, outcome.panels(len(sources)), strict=True):
        data = setting.data(source)
        trained = setting.compare(models, [data])
        labels = setting.compare(vggs[:1], [data, setting.data(source, "+random_labels")])
        outcome.keep(source, trained)
        outcome.keep(f"{source}_labels", labels)
        pairs = _pairs(trained, labels, vggs)
        _add(outcome, source, pairs, trained.sizes["component"])
        residuals = trained.theory_residual.isel(dataset=0)
        curves = {"ResNet18": residuals.sel(model=models[0]).values}
        curves["VGG11"] = residuals.sel(model=vggs[0]).values
        labels_of = (f"{source}: beyond the theory", "component", "log (energy / theory)")
        draw_curves(axes, trained.component.values + 1, curves, *labels_of)
    return outcome


def _pairs(trained: xr.Dataset, labels: xr.Dataset, vggs: list[str]) -> Pairs:
    """Return r and r beyond theory of each kind of pairs."""
    at = {model: {"model": m} for m, model in enumerate(trained.model.values)}
    resnet = next(model for model in at if model not in vggs)

    def of(name: str) -> dict[str, NDArray[np.float64]]:
        widths = [similarities(trained, at[a], at[b], name) for a, b in combinations(vggs, 2)]
        return {
            "across seeds": similarities(trained, at[vggs[0]], of=name),
            "across widths": np.concatenate(widths),
            "VGG11 vs ResNet18": similarities(trained, at[vggs[0]], at[resnet], name),
            "true vs random labels": similarities(labels, {"dataset": 0}, {"dataset": 1}, name),
        }

    plain, beyond = of("similarity"), of("beyond_theory")
    return {kind: (plain[kind], beyond[kind]) for kind in plain}


def _add(outcome: Outcome, source: str, pairs: Pairs, components: int) -> None:
    """Add r beyond theory, with r and with the number of pairs that the theory describes."""
    low, high = pearson_null_interval(components)
    for kind, (plain, beyond) in pairs.items():
        described = np.isfinite(beyond)
        mean = plain[np.isfinite(plain)].mean() if np.isfinite(plain).any() else np.nan
        note = f"r {mean:.3f}; without more than theory {low:.2f} to {high:.2f}"
        if not described.all():
            note += f"; undefined for {np.sum(~described)} of {len(beyond)} pairs"
        outcome.add(f"{source}: {kind}", beyond, over=f"{len(beyond)} pairs", note=note)
