"""What recipes may ask for."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

from repsim_energy.options import as_typed

if TYPE_CHECKING:
    from repsim_energy.training.recipe import Recipe

__all__ = ["problems"]

COUNTS = ("batch", "epochs", "steps")
"""Options of at least 1, which may be none."""

AT_LEAST_ZERO = ("momentum", "weight_decay", "crop")

FRACTIONS = ("label_smoothing", "ema", "warmup")
"""Options in [0, 1)."""


def problems(recipe: Recipe) -> Iterator[str]:
    """Yield a line for each thing that keeps a recipe from describing a training."""
    yield from _outside_of_their_range(recipe)
    yield from _without_meaning(recipe)


def _outside_of_their_range(recipe: Recipe) -> Iterator[str]:
    for name in COUNTS:
        value = getattr(recipe, name)
        if value is not None and value < 1:
            yield f"recipe got {name}={value}, expected at least 1"
    if recipe.epochs is None and recipe.steps is None:
        yield "recipe has neither epochs= nor steps=, expected one of them"
    if not recipe.lr > 0 or min(recipe.snapshots, recipe.evaluations) < 0:
        yield (
            f"recipe got lr={recipe.lr}, snapshots={recipe.snapshots}, "
            f"evaluations={recipe.evaluations}, expected lr > 0 and the others >= 0"
        )
    if recipe.until_accuracy is not None and not 0 < recipe.until_accuracy <= 1:
        yield (f"recipe got until_accuracy={recipe.until_accuracy}, expected an accuracy in (0, 1]")
    for name in AT_LEAST_ZERO:
        if not getattr(recipe, name) >= 0:
            yield f"recipe got {name}={getattr(recipe, name)}, expected at least 0"
    for name in FRACTIONS:
        if not 0 <= getattr(recipe, name) < 1:
            yield f"recipe got {name}={getattr(recipe, name)}, expected at least 0 and below 1"
    if not 0 < recipe.gamma < math.inf:
        yield f"recipe got gamma={recipe.gamma}, expected a factor above 0"
    bounded = [0.0, *recipe.milestones, 1.0]
    if not all(before < after for before, after in pairwise(bounded)):
        yield (
            f"recipe got milestones={as_typed(recipe.milestones)}, expected rising parts of the "
            "training between 0 and 1, such as 0.5/0.75"
        )


def _without_meaning(recipe: Recipe) -> Iterator[str]:
    """Yield options that others of the recipe leave without an effect."""
    if recipe.optimizer == "adam" and recipe.momentum:
        yield (
            f"recipe got momentum={recipe.momentum} with optimizer=adam, which has moments of its "
            "own; leave one of them out"
        )
    if recipe.nesterov and not recipe.momentum:
        yield (
            "recipe got nesterov=true without momentum, which it changes; give momentum=0.9 or "
            "leave it out"
        )
    if not recipe.decay_norms and not recipe.weight_decay:
        yield (
            "recipe got decay_norms=false without weight decay; give weight_decay=0.0005 or leave "
            "it out"
        )
    if recipe.label_smoothing and recipe.loss != "cross_entropy":
        yield (
            f"recipe got label_smoothing={recipe.label_smoothing} with loss={recipe.loss}, "
            "expected loss=cross_entropy; leave one of them out"
        )
    if recipe.warmup and recipe.schedule not in ("cosine", "step"):
        yield (
            f"recipe got warmup={recipe.warmup} with schedule={recipe.schedule}, expected "
            "schedule=cosine or schedule=step; leave one of them out"
        )
    for name in ("milestones", "gamma"):
        value, default = getattr(recipe, name), getattr(type(recipe), name)
        if recipe.schedule != "step" and value != default:
            yield (
                f"recipe got {name}={as_typed(value)} with schedule={recipe.schedule}, expected "
                "schedule=step; leave one of them out"
            )
