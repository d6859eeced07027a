"""Problem sizes: the paper's, smaller ones for a desk computer, and tiny ones for a trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from repsim_energy.specs import write_spec

__all__ = ["SCALES", "Scale"]


@dataclass(frozen=True)
class Scale:
    """Sizes of an experiment.

    Parameters
    ----------
    name : value of ``--scale``
    summary : difference from the paper, printed in the report
    recipe : recipe of every training
    seeds : number of seeds
    width : factor of the width of VGG and ResNet; ``None`` for the published width
    filters : numbers of first-layer filters; the first one is the default, Table 1 compares all
    resnets : ResNets compared with the VGGs, the slowest to train first
    components : components used for labels and scaled patches
    draws : number of random filter banks, and of random labelings of the linear CNN
    sources : data set -> default spec
    """

    name: str
    summary: str
    recipe: str
    seeds: int
    width: float | None
    filters: tuple[int, ...]
    resnets: tuple[str, ...]
    components: tuple[int, ...]
    draws: int
    sources: Mapping[str, str]

    def model(self, name: str, filters: int | None = None, *, frozen: bool = False) -> str:
        """Return the spec of an architecture at this scale. ResNet20 has a single size.

        Examples
        --------
        >>> SCALES["cpu"].model("vgg11", frozen=True)
        'vgg11:width=0.25:filters=64:frozen=true'
        """
        options: dict[str, Any] = {}
        if name != "resnet20":
            options = {"width": self.width, "filters": filters or self.filters[0]}
        options["frozen"] = "true" if frozen else None
        return write_spec(name, **{k: value for k, value in options.items() if value is not None})


_SCALES = (
    Scale(
        name="smoke",
        summary="plumbing only: synthetic images, tiny networks, a few steps",
        recipe="paper:steps=6:batch=16:snapshots=2:evaluations=2:test_images=20",
        seeds=2,
        width=0.03125,
        filters=(8, 4),
        resnets=("resnet34", "resnet18", "resnet20"),
        components=(0, 15),
        draws=5,
        sources=dict.fromkeys(("cifar10", "mnist", "natural"), "deadleaves:count=120"),
    ),
    Scale(
        name="cpu",
        summary="fewer images, bodies of a quarter of the width, trained until memorized",
        recipe="paper:batch=32:epochs=40:until_accuracy=0.99:evaluations=40:test_images=500",
        seeds=3,
        width=0.25,
        filters=(64, 32, 128),
        resnets=("resnet20", "resnet18"),
        components=(0, 5, 15, 25),
        draws=100,
        sources={
            "cifar10": "cifar10:limit=5000",
            "mnist": "mnist:limit=8000",
            "natural": "deadleaves",
        },
    ),
    Scale(
        name="full",
        summary="the paper's sizes",
        recipe="paper:epochs=300:until_accuracy=0.99:evaluations=60",
        seeds=3,
        width=None,
        filters=(64, 32, 128, 256),
        resnets=("resnet34", "resnet18", "resnet20"),
        components=(0, 5, 10, 15, 20, 25),
        draws=100,
        sources={
            "cifar10": "cifar10",
            "cifar100": "cifar100",
            "mnist": "mnist",
            "natural": "deadleaves",
        },
    ),
)

SCALES = {scale.name: scale for scale in _SCALES}
