"""Figures 9 to 13: the profiles of many architectures, and how they correlate."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from repsim_energy.experiments.figures import draw_matrix, draw_profiles
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.paper.imagenet_models import KERNELS, pretrained, untrained

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

VGG = ("vgg19", "vgg16", "vgg13", "vgg11")


class Family(NamedTuple):
    """Networks with one patch shape on the same images, compared with each other.

    Parameters
    ----------
    labels : names of the networks in the figure
    trained : number of trained networks; the ones after these are random
    """

    name: str
    result: xr.Dataset
    labels: Sequence[str]
    trained: int


def run(setting: Setting) -> Outcome:
    """Compare the VGG and ResNet families, and torchvision's networks by patch shape."""
    outcome = Outcome()
    families = list(_families(setting, outcome))
    panels = iter(outcome.panels(2 * len(families), columns=2))
    for family in families:
        name, result, labels, _ = family
        outcome.keep(name, result)
        _add(outcome, family)
        profiles = dict(zip(labels, _at_stage(result, "energy"), strict=True))
        draw_profiles(next(panels), profiles, name)
        draw_matrix(next(panels), labels, _matrix(result), name)
    return outcome


def _families(setting: Setting, outcome: Outcome) -> Iterator[Family]:
    names = (*setting.scale.resnets, *VGG)
    models = [setting.scale.model(name) for name in names]
    for source in setting.available(outcome, "cifar10", "cifar100"):
        result = setting.compare(models, [setting.data(source)], seeds=setting.seeds[:1])
        yield Family(source, result, names, len(names))
    if setting.available(outcome, "imagenet"):
        for kernel, names in KERNELS.items():
            trained = pretrained(setting, names, outcome)
            networks = {**trained, **untrained(setting, names)}
            result = setting.compare_given(networks, setting.data("imagenet"))
            yield Family(f"imagenet_{kernel}x{kernel}", result, list(networks), len(trained))


def _matrix(result: xr.Dataset) -> NDArray[np.float64]:
    block = result.similarity.isel(dataset=0, seed=0, dataset_ref=0, seed_ref=0)
    matrix: NDArray[np.float64] = block.values
    return matrix


def _at_stage(result: xr.Dataset, variable: str) -> NDArray[np.float64]:
    """Return a variable of each network at the stage compared."""
    one = result[variable].isel(dataset=0, seed=0).sel(stage=result.attrs["stage"])
    values: NDArray[np.float64] = one.values
    return values


def _add(outcome: Outcome, family: Family) -> None:
    """Add the correlations between different trained networks, and those with random ones."""
    name, n, matrix = family.name, family.trained, _matrix(family.result)
    between = matrix[:n, :n][np.triu_indices(n, 1)]
    if len(between):
        outcome.add(f"{name}: between {n} architectures", between, over="1 seed")
        outcome.add(f"{name}: lowest of them", np.nanmin(between))
    if 0 < n < len(matrix):
        outcome.add(f"{name}: trained vs random", matrix[:n, n:])
    fit = _at_stage(family.result, "fit_correlation")
    for kind, values in (("trained", fit[:n]), ("random", fit[n:])):
        if len(values):
            outcome.add(f"{name}: fit of the formula, {kind}", values)
