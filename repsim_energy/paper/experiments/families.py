"""Figures 9 to 13: the profiles of many architectures, and how they correlate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.paper.experiments.imagenet_models import KERNELS, pretrained, untrained
from repsim_energy.paper.figures import draw_matrix, draw_profiles
from repsim_energy.paper.outcome import Outcome

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from repsim_energy.paper.setting import Setting

__all__ = ["run"]

VGG = ("vgg19", "vgg16", "vgg13", "vgg11")


@dataclass(frozen=True, eq=False)
class Family:
    """Networks with the same patch shape on the same images, compared with each other.

    Parameters
    ----------
    labels : their names in the figure
    trained : number of trained networks; the others, after these, are random
    """

    name: str
    result: xr.Dataset
    labels: Sequence[str]
    trained: int

    def similarity(self) -> NDArray[np.float64]:
        """Return the (n, n) similarities."""
        block = self.result.similarity.isel(dataset=0, seed=0, dataset_ref=0, seed_ref=0)
        matrix: NDArray[np.float64] = block.values
        return matrix

    def compared_stage(self, variable: str) -> NDArray[np.float64]:
        """Return the values of a variable at the stage compared, one or one row per network."""
        stage = self.result.attrs["stage"]
        values = self.result[variable].isel(dataset=0, seed=0).sel(stage=stage).values
        array: NDArray[np.float64] = values
        return array


def run(setting: Setting) -> Outcome:
    """Compare the VGG and ResNet families, and torchvision's networks by patch shape."""
    outcome = Outcome()
    families = _trained(setting, outcome) + _imagenet(setting, outcome)
    panels = iter(outcome.panels(2 * len(families), columns=2))
    for family in families:
        outcome.keep(family.name, family.result)
        _add(outcome, family)
        _draw(next(panels), next(panels), family)
    return outcome


def _trained(setting: Setting, outcome: Outcome) -> list[Family]:
    names = (*setting.scale.resnets, *VGG)
    models = [setting.scale.model(name) for name in names]
    seeds = setting.seeds[:1]
    families = []
    for source in setting.available(outcome, "cifar10", "cifar100"):
        result = setting.compare(models, [setting.data(source)], seeds=seeds)
        families.append(Family(source, result, names, len(names)))
    return families


def _imagenet(setting: Setting, outcome: Outcome) -> list[Family]:
    families = []
    if setting.available(outcome, "imagenet"):
        for kernel, names in KERNELS.items():
            trained = pretrained(setting, names, outcome)
            networks = {**trained, **untrained(setting, names)}
            result = setting.compare_given(networks, setting.data("imagenet"))
            name = f"imagenet_{kernel}x{kernel}"
            families.append(Family(name, result, list(networks), len(trained)))
    return families


def _add(outcome: Outcome, family: Family) -> None:
    """Add the correlations between different trained networks, and those with random ones."""
    name, n, matrix = family.name, family.trained, family.similarity()
    between = matrix[:n, :n][np.triu_indices(n, 1)]
    if len(between):
        outcome.add(f"{name}: between {n} architectures", between, over="1 seed")
        outcome.add(f"{name}: lowest of them", np.nanmin(between))
    if n and n < len(matrix):
        outcome.add(f"{name}: trained vs random", matrix[:n, n:])
    fit = family.compared_stage("fit_correlation")
    for kind, values in (("trained", fit[:n]), ("random", fit[n:])):
        if len(values):
            outcome.add(f"{name}: fit of the formula, {kind}", values)


def _draw(profiles: Axes, matrix: Axes, family: Family) -> None:
    energy = family.compared_stage("energy")
    draw_profiles(profiles, dict(zip(family.labels, energy, strict=True)), family.name)
    draw_matrix(matrix, family.labels, family.similarity(), family.name)
