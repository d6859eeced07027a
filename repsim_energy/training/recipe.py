"""Training recipes: optimizer, step size, length and precision of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.options import bind_options
from repsim_energy.specs import parse_spec

__all__ = ["RECIPES", "Recipe", "as_recipe", "parse_recipe"]

RISE = 0.3
"""Fraction of the steps during which the step size of ``one_cycle`` rises."""


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training besides data, model and seed.

    Parameters
    ----------
    lr : step size, with ``one_cycle`` the largest
    momentum : of sgd
    weight_decay : of the optimizer
    optimizer : sgd or adam
    batch : images in a step; a last, smaller batch of an epoch is left out
    epochs : passes over the training images
    steps : gradient steps; training ends at ``epochs`` or ``steps``, whichever comes first
    until_accuracy : end after the first epoch whose training accuracy reaches it
    loss : cross_entropy, or mse against one-hot labels
    snapshots : number of log-spaced steps after which the first-layer filters are recorded
    precision : float32, bfloat16 for automatic mixed precision, or auto for bfloat16 where the
        hardware multiplies it; what was used is part of the run's key and of results
    test_images : number of test images on which accuracy is measured; all by default
    evaluations : number of evaluations on the test images during training, after evenly spaced
        steps of the longest training that the recipe allows
    schedule : constant, or one_cycle: the step size rises in a straight line over the first 30% of
        the longest training that the recipe allows, and falls to 0 along half a cosine (Smith &
        Topin, 2019, "Super-convergence")
    """

    lr: float = 0.01
    momentum: float = 0.0
    weight_decay: float = 0.0
    optimizer: Literal["sgd", "adam"] = "sgd"
    batch: int = 32
    epochs: int | None = None
    steps: int | None = None
    until_accuracy: float | None = None
    loss: Literal["cross_entropy", "mse"] = "cross_entropy"
    snapshots: int = 12
    precision: Literal["float32", "bfloat16", "auto"] = "float32"
    test_images: int | None = None
    evaluations: int = 0
    schedule: Literal["constant", "one_cycle"] = "constant"

    def __post_init__(self) -> None:
        """Refuse values with which nothing can be trained."""
        counts = {"batch": self.batch, "epochs": self.epochs, "steps": self.steps}
        for name, value in counts.items():
            if value is not None and value < 1:
                raise UsageError(f"recipe got {name}={value}, expected at least 1")
        if self.epochs is None and self.steps is None:
            raise UsageError("recipe has no end, expected epochs= or steps=")
        if not self.lr > 0 or min(self.snapshots, self.evaluations) < 0:
            raise UsageError(
                f"recipe got lr={self.lr}, snapshots={self.snapshots}, "
                f"evaluations={self.evaluations}, expected lr > 0 and the others >= 0"
            )
        if self.optimizer == "adam" and self.momentum:
            raise UsageError(
                f"recipe got momentum={self.momentum} with optimizer=adam, which has moments of "
                "its own; leave one of them out"
            )
        if self.until_accuracy is not None and not 0 < self.until_accuracy <= 1:
            raise UsageError(
                f"recipe got until_accuracy={self.until_accuracy}, expected a share in (0, 1]"
            )

    def total_steps(self, images: int) -> int:
        """Return the maximum number of steps of a training on so many images."""
        per_epoch = max(1, images // self.batch)
        limits = [self.steps, self.epochs and self.epochs * per_epoch]
        return min(limit for limit in limits if limit)

    def step_size(self, done: int, total: int) -> float:
        """Return the size of the step that follows ``done`` of ``total`` steps.

        Examples
        --------
        >>> recipe = Recipe(lr=0.02, schedule="one_cycle", steps=5)
        >>> [round(recipe.step_size(done, 5), 4) for done in range(5)]
        [0.0067, 0.02, 0.0162, 0.0078, 0.001]
        """
        if self.schedule == "constant":
            return self.lr
        place = (done + 0.5) / total
        if place < RISE:
            return self.lr * place / RISE
        return self.lr * (1 + math.cos(math.pi * (place - RISE) / (1 - RISE))) / 2

    def as_options(self) -> dict[str, Any]:
        """Return the fields as plain values, for keys and results."""
        return asdict(self)


RECIPES = {
    "quick": Recipe(
        lr=0.015,
        momentum=0.9,
        schedule="one_cycle",
        batch=32,
        steps=100,
        precision="auto",
        test_images=500,
    ),
    "paper": Recipe(lr=0.01, batch=256, epochs=100),
}
"""Recipes by name. ``quick`` takes minutes on two cores, ``paper`` is that of the authors' code."""


def parse_recipe(text: str) -> Recipe:
    """Return the recipe of ``NAME[:key=value]...``.

    Giving one of ``epochs`` and ``steps`` replaces the named recipe's other, and
    ``optimizer=adam`` its momentum, which is one of sgd.

    Examples
    --------
    >>> recipe = parse_recipe("quick:epochs=20:batch=64")
    >>> recipe.epochs, recipe.steps, recipe.batch
    (20, None, 64)
    """
    spec = parse_spec(text)
    if spec.name not in RECIPES:
        raise unknown_name("recipe", spec.name, RECIPES)
    given: Mapping[str, str] = spec.options
    bound = bind_options(Recipe, given, skip=0, what=f"recipe '{spec.name}'")
    changes = {key: bound[key] for key in given}
    if ("epochs" in given) != ("steps" in given):
        changes.setdefault("epochs", None)
        changes.setdefault("steps", None)
    if changes.get("optimizer") == "adam":
        changes.setdefault("momentum", 0.0)
    return replace(RECIPES[spec.name], **changes)


def as_recipe(recipe: str | Recipe) -> Recipe:
    """Return a recipe that is given as an object or by its name.

    Raises
    ------
    UsageError
        For anything else.
    """
    if isinstance(recipe, str):
        return parse_recipe(recipe)
    if not isinstance(recipe, Recipe):
        raise UsageError(
            f"got a recipe of type {type(recipe).__name__}, expected a name or a Recipe"
        )
    return recipe
