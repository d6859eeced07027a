"""Training recipes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.options import bind_options
from repsim_energy.specs import parse_spec
from repsim_energy.training.recipe_rules import problems
from repsim_energy.training.schedules import RISE_FRACTION, falling_in_steps, rising_and_falling

__all__ = ["RECIPES", "Recipe", "as_recipe", "parse_recipe"]

FIRST_OPTIONS = frozenset(
    ("lr", "momentum", "weight_decay", "optimizer", "batch", "epochs", "steps", "until_accuracy",
     "loss", "snapshots", "precision", "test_images", "evaluations", "schedule")
)  # fmt: skip
"""Options that are in every key. Later ones are in it if they are used, so that keys stay."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of a training.

    Together with data, model and seed they determine the trained network.

    Source: Smith and Topin (2019), "Super-Convergence: Very Fast Training of Neural Networks Using
    Large Learning Rates", for ``one_cycle``; arXiv:1708.07120.

    Source: Loshchilov and Hutter (2017), "SGDR: Stochastic Gradient Descent with Warm Restarts",
    for ``cosine``; arXiv:1608.03983.

    Source: Szegedy et al. (2016), "Rethinking the Inception Architecture for Computer Vision",
    section 7, for label smoothing; arXiv:1512.00567.

    Parameters
    ----------
    lr : step size; the largest one with ``one_cycle``
    momentum : of sgd
    weight_decay : of the optimizer
    optimizer : sgd or adam
    batch : images per step; a last, smaller batch of an epoch is left out
    epochs : passes over the training images
    steps : gradient steps; training ends at ``epochs`` or ``steps``, whichever comes first
    until_accuracy : training accuracy in (0, 1] after which training ends, at the end of an epoch
    loss : cross_entropy, or mse to one-hot labels
    snapshots : how many times the first-layer filters are stored during training, at log-spaced
        steps
    precision : float32, bfloat16 for automatic mixed precision, or auto for bfloat16 where the
        hardware has products of it. The precision used is part of the run's key and of results
    test_images : the number of test images that the accuracy is measured on; none for all
    evaluations : how many times loss and accuracy on the test images are measured during training,
        at evenly spaced steps of the longest training that the recipe allows
    schedule : of the step size over the longest training that the recipe allows: ``constant``;
        ``one_cycle``, a linear rise over the first 30% and a fall to 0 along half a cosine;
        ``cosine``, that fall from the first step or after ``warmup``; or ``step``, a factor at each
        milestone
    warmup : part of the training over which the step size rises linearly, with cosine and step
    milestones : parts of the training at which the schedule step multiplies the step size
    gamma : the factor by which it does
    nesterov : whether the momentum of sgd looks ahead (Nesterov)
    decay_norms : whether weight decay also shrinks biases and the parameters of norms
    label_smoothing : part of each label that is spread over all classes, with cross_entropy
    crop : each training image is moved by up to so many pixels in each direction, at random in
        each step; what comes in at the border is its reflection
    flip : whether half of the training images are mirrored from left to right, at random in each
        step
    ema : decay of an exponential moving average of the weights and of the statistics of batch
        norms, for each step; the network that is measured and stored is the average. 0 for none

    Raises
    ------
    UsageError
        For values that do not describe a training.

    Examples
    --------
    >>> recipe = Recipe(lr=0.1, epochs=3, batch=100)
    >>> recipe.total_steps(1000), recipe.optimizer
    (30, 'sgd')
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
    schedule: Literal["constant", "one_cycle", "cosine", "step"] = "constant"
    warmup: float = 0.0
    milestones: tuple[float, ...] = (0.5, 0.75)
    gamma: float = 0.1
    nesterov: bool = False
    decay_norms: bool = True
    label_smoothing: float = 0.0
    crop: int = 0
    flip: bool = False
    ema: float = 0.0

    def __post_init__(self) -> None:
        """Refuse values that do not describe a training."""
        object.__setattr__(self, "milestones", tuple(self.milestones))  # JSON has a list
        for problem in problems(self):
            raise UsageError(problem)

    def check_images(self, height: int, width: int) -> None:
        """Refuse to move images by as many pixels as they have.

        Parameters
        ----------
        height, width : of the images, in pixels

        Raises
        ------
        UsageError
            If ``crop`` is not less than the height and the width.
        """
        if self.crop >= min(height, width):
            raise UsageError(
                f"recipe got crop={self.crop} for images of {height}x{width} pixels, expected less "
                "than these; lower it"
            )

    @property
    def augments(self) -> bool:
        """True if training images are changed at random."""
        return bool(self.crop or self.flip)

    def total_steps(self, images: int) -> int:
        """Return the number of steps of the longest training that the recipe allows.

        Parameters
        ----------
        images : the number of training images
        """
        per_epoch = max(1, images // self.batch)
        limits = [self.steps, self.epochs and self.epochs * per_epoch]
        return min(limit for limit in limits if limit)

    def step_size(self, done: int, total: int) -> float:
        """Return the step size of the next step.

        Parameters
        ----------
        done : the number of steps so far
        total : the number of steps of the longest training, of :meth:`total_steps`

        Examples
        --------
        >>> recipe = Recipe(lr=0.02, schedule="one_cycle", steps=5)
        >>> [round(recipe.step_size(done, 5), 4) for done in range(5)]
        [0.0067, 0.02, 0.0162, 0.0078, 0.001]
        """
        if self.schedule == "constant":
            return self.lr
        part = (done + 0.5) / total
        if self.schedule == "step":
            return falling_in_steps(self.lr, part, self.warmup, self.milestones, self.gamma)
        rise = RISE_FRACTION if self.schedule == "one_cycle" else self.warmup
        return rising_and_falling(self.lr, part, rise)

    def as_options(self) -> dict[str, Any]:
        """Return the fields as plain values, for keys and results.

        Options that version 0.1 did not have are left out where they change nothing. Keys of runs
        thus remain when an option is added.

        Examples
        --------
        >>> "crop" in Recipe(steps=1).as_options(), Recipe(steps=1, crop=4).as_options()["crop"]
        (False, 4)
        """
        return {
            name: value
            for name, value in asdict(self).items()
            if name in FIRST_OPTIONS or value != getattr(Recipe, name)
        }


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
    "cifar": Recipe(
        lr=0.4,
        momentum=0.9,
        nesterov=True,
        weight_decay=5e-4,
        decay_norms=False,
        schedule="one_cycle",
        batch=512,
        epochs=24,
        label_smoothing=0.1,
        crop=4,
        flip=True,
        ema=0.99,
        precision="auto",
    ),
}
"""``quick`` takes minutes on two cores. ``paper`` is the recipe of the authors' code. ``cifar`` is
how people train networks on CIFAR-10 in few epochs, on a GPU."""

REMOVED_BY: Mapping[tuple[str, Any], Mapping[str, Any]] = {
    ("optimizer", "adam"): {"momentum": 0.0, "nesterov": False},
    ("momentum", 0.0): {"nesterov": False},
    ("weight_decay", 0.0): {"decay_norms": True},
    ("loss", "mse"): {"label_smoothing": 0.0},
}
"""Changes of a named recipe -> what they remove of it, because it would have no meaning."""


def parse_recipe(text: str) -> Recipe:
    """Return the recipe for ``NAME[:key=value]...``.

    ``epochs`` without ``steps`` removes the steps of the named recipe, and the other way round.
    ``optimizer=adam`` removes its momentum, which is one of sgd, ``momentum=0`` that it is
    Nesterov's, ``weight_decay=0`` that norms are left out, and ``loss=mse`` its label smoothing.

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
    for (key, value), removed in REMOVED_BY.items():
        if key in given and changes[key] == value:
            changes = {**removed, **changes}
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
