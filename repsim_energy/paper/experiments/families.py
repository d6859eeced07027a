"""Figures 9 to 13: the profiles of many architectures, and how they correlate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.paper.experiments.imagenet_models import KERNELS, pretrained, untrained
from repsim_energy.paper.figures import draw_matrix, draw_profiles, new_figure
from repsim_energy.paper.outcome import Outcome

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from repsim_energy.paper.setting import Setting

__all__ = ["run"]

VGG = ("vgg19", "vgg16", "vgg13", "vgg11")


def run(setting: Setting) -> Outcome:
    """Compare the VGG and ResNet families, and torchvision's networks by patch shape."""
    outcome = Outcome()
    models = [setting.scale.model(name) for name in (*setting.scale.resnets, *VGG)]
    for source in setting.available(outcome, "cifar10", "cifar100"):
        result = setting.compare(models, [setting.data(source)], seeds=setting.seeds[:1])
        outcome.keep(source, result)
    if setting.available(outcome, "imagenet"):
        for kernel, names in KERNELS.items():
            found = {**pretrained(setting, names, outcome), **untrained(setting, names)}
            result = setting.compare_given(found, setting.data("imagenet"))
            outcome.keep(f"imagenet_{kernel}x{kernel}", result)
    outcome.figure, panels = new_figure(max(1, 2 * len(outcome.results)), columns=2)
    for number, (name, result) in enumerate(outcome.results.items()):
        _add(outcome, name, result)
        energy = result.energy.isel(dataset=0, seed=0).sel(stage=result.attrs["stage"])
        labels = [str(label).partition(":")[0] for label in result.model.values]
        draw_profiles(panels[2 * number], dict(zip(labels, energy.values, strict=True)), name)
        draw_matrix(panels[2 * number + 1], labels, _matrix(result), name)
    return outcome


def _matrix(result: xr.Dataset) -> NDArray[np.float64]:
    one = result.similarity.isel(dataset=0, seed=0, dataset_ref=0, seed_ref=0)
    matrix: NDArray[np.float64] = one.values
    return matrix


def _add(outcome: Outcome, name: str, result: xr.Dataset) -> None:
    """Add the correlations between different trained networks, and those with random ones."""
    random = np.array(["(random)" in str(label) for label in result.model.values])
    matrix = _matrix(result)
    once = np.triu(np.ones_like(matrix, dtype=bool), 1)
    trained = once & ~random[:, None] & ~random
    networks = int((~random).sum())
    if trained.any():
        outcome.add(f"{name}: between {networks} architectures", matrix[trained], "", "1 seed")
        outcome.add(f"{name}: lowest of them", np.nanmin(matrix[trained]))
    mixed = ~random[:, None] & random
    if mixed.any():
        outcome.add(f"{name}: trained vs random", matrix[mixed])
    fit = result.fit_correlation.isel(dataset=0, seed=0).sel(stage=result.attrs["stage"]).values
    for kind, chosen in (("trained", ~random), ("random", random)):
        if chosen.any():
            outcome.add(f"{name}: fit of the formula, {kind}", fit[chosen])
