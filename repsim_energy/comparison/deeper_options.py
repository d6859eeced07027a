"""Options of a comparison of deeper layers: alignment, stage and images."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from repsim_energy.comparison.plan import Plan
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import UsageError

__all__ = ["check_align", "choose_layer_stage", "training_images"]

STAGES = ("init", "trained", "change")

WAYS = {
    "rank": "component i of one layer's own basis with component i of the other's",
    "input": "filters carried over to the other layer's basis, by an alignment of their inputs",
}
"""Value of ``align`` -> what it compares."""


def check_align(align: str, *, several: bool) -> None:
    """Refuse an unknown word, and several networks without one."""
    meanings = "; ".join(f"align={word}: {meaning}" for word, meaning in WAYS.items())
    if align and align not in WAYS:
        raise UsageError(f"got align={align!r}, expected one of: {meanings}")
    if several and not align:
        raise UsageError(
            "deeper layers of different networks have no common basis, expected a way to compare "
            f"them; choose one: {meanings} (to say which layer of a file gets the image, write "
            "checkpoint:path=FILE:layer=NAME)"
        )


def choose_layer_stage(stage: str, plan: Plan) -> str:
    """Return the stage to compare. ``auto`` is ``change`` if all networks are trained here."""
    if stage not in ("auto", *STAGES):
        raise UsageError(f"unknown stage '{stage}'; known: auto, {', '.join(STAGES)}")
    if stage == "auto":
        return "trained" if plan.trained else "change"
    if plan.trained and stage != "trained":
        m = next(iter(plan.trained))[1]
        raise UsageError(
            f"stage '{stage}' of deeper layers needs the network before its training, which is not "
            f"known of '{plan.models[m].label}'; use stage=trained"
        )
    return stage


def training_images(plan: Plan, count: int) -> list[Tensor]:
    """Return the training images of each data set that networks are shown."""
    if not isinstance(count, int | np.integer) or count < 1:
        raise UsageError(f"got images={count!r}, expected a whole number, at least 1")
    for data in plan.datasets:
        if data.train.transform is not None:
            raise UsageError(
                f"patches of '{data.label}' are transformed in the first layer alone; compare "
                "deeper layers on images without this variant"
            )
    trains = [data.train for data in plan.datasets]
    return [images.images[balanced_prefix(images.labels, count)] for images in trains]
