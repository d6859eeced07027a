"""How large an experiment is run: the paper's sizes, a desk computer's, or a trial's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["SCALES", "Scale"]


@dataclass(frozen=True)
class Scale:
    """Sizes of an experiment.

    Parameters
    ----------
    name : what to ask for
    summary : how it differs from the paper, said beside every figure
    recipe : of every training
    seeds : how many
    body : options that every architecture gets
    filters : of the first layers of VGG and ResNet18: the usual ones, then the widths compared
    resnets : that are compared with the VGGs, the longest training first
    components : that are labeled by or scaled
    draws : random banks, and random labelings of the linear CNN
    sources : data set -> the spec taken where the user gives none
    """

    name: str
    summary: str
    recipe: str
    seeds: int
    body: str
    filters: tuple[int, ...]
    resnets: tuple[str, ...]
    components: tuple[int, ...]
    draws: int
    sources: Mapping[str, str]

    def model(self, name: str, filters: int | None = None, extra: str = "") -> str:
        """Return the spec of an architecture at this scale.

        Examples
        --------
        >>> SCALES["cpu"].model("vgg11", extra=":frozen=true")
        'vgg11:width=0.25:filters=64:frozen=true'
        """
        width = f":filters={filters or self.filters[0]}"
        return name + ("" if name == "resnet20" else self.body + width) + extra


_SCALES = (
    Scale(
        name="smoke",
        summary="plumbing only: synthetic images, tiny networks, a few steps",
        recipe="paper:steps=6:batch=16:snapshots=2:evaluations=2:test_images=20",
        seeds=2,
        body=":width=0.03125",
        filters=(8, 4),
        resnets=("resnet34", "resnet18", "resnet20"),
        components=(0, 15),
        draws=5,
        sources={"cifar10": "deadleaves:count=120"},
    ),
    Scale(
        name="cpu",
        summary="fewer images, bodies of a quarter of the width, trained until memorized",
        recipe="paper:batch=32:epochs=40:until_accuracy=0.99:evaluations=40:test_images=500",
        seeds=3,
        body=":width=0.25",
        filters=(64, 32, 128),
        resnets=("resnet20", "resnet18"),
        components=(0, 5, 15, 25),
        draws=100,
        sources={"cifar10": "cifar10:limit=5000"},
    ),
    Scale(
        name="full",
        summary="the paper's sizes",
        recipe="paper:epochs=300:until_accuracy=0.99:evaluations=60",
        seeds=3,
        body="",
        filters=(64, 32, 128, 256),
        resnets=("resnet34", "resnet18", "resnet20"),
        components=(0, 5, 10, 15, 20, 25),
        draws=100,
        sources={"cifar10": "cifar10", "cifar100": "cifar100"},
    ),
)

SCALES = {scale.name: scale for scale in _SCALES}
