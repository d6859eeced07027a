"""Table 2, Figure 3: training on true and on random labels gives the same profile."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from repsim_energy.experiments.figures import draw_profiles
from repsim_energy.experiments.outcome import Outcome, similarities

if TYPE_CHECKING:
    import xarray as xr

    from repsim_energy.experiments.setting import Setting

__all__ = ["MEMORIZED", "memorized_note", "run"]

MEMORIZED = 0.99
"""Least training accuracy at which labels count as memorized."""


def run(setting: Setting) -> Outcome:
    """Compare VGG11 trained on true and on random labels of every data set."""
    outcome = Outcome()
    model, over = setting.scale.model("vgg11"), setting.over
    sources = setting.available(outcome, "cifar10", "cifar100", "celeba")
    for source, axes in zip(sources, outcome.panels(len(sources)), strict=True):
        datasets = [setting.data(source), setting.data(source, "+random_labels")]
        result = outcome.keep(source, setting.compare([model], datasets))
        random = result.isel(model=0, dataset=1)
        note = memorized_note(random)
        pairs = similarities(result, {"dataset": 0}, {"dataset": 1})
        key = f"table2/{source}"
        add = partial(outcome.add, over=over)
        add(f"{source}: true vs random labels", pairs, key=f"{key}/true", note=note)
        start = random.init_similarity
        add(f"{source}: random labels vs init", start, key=f"{key}/init", note=note)
        add(f"{source}: training accuracy, random labels", random.train_accuracy)
        energy = result.energy.isel(model=0)
        profiles = {
            "true labels": energy.isel(dataset=0).sel(stage="change").values,
            "random labels": energy.isel(dataset=1).sel(stage="change").values,
            "an initialization": energy.isel(dataset=0).sel(stage="init").values[0],
        }
        draw_profiles(axes, profiles, source)
    return outcome


def memorized_note(result: xr.Dataset) -> str:
    """Return a remark if a training stayed below the accuracy ``MEMORIZED``; else an empty text."""
    lowest = float(result.train_accuracy.min())
    if lowest >= MEMORIZED:
        return ""
    return f"not memorized: training accuracy {lowest:.2f}, expected {MEMORIZED}"
