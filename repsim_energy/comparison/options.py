"""Options of a comparison that apply to some comparisons only, with errors and warnings."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from repsim_energy.comparison.plan import Plan
from repsim_energy.errors import UsageError, warn
from repsim_energy.interfaces import Metric, OperatesOn
from repsim_energy.training.recipe import Recipe

__all__ = [
    "asked_for",
    "refuse_options_of_other_metrics",
    "say_what_had_no_use",
    "say_what_recipes_have_no_use_for",
]


@dataclass(frozen=True)
class Use:
    """Comparisons to which an option applies.

    Parameters
    ----------
    metrics : the kind of metrics that use it; ``None`` for all, ``deeper`` for metrics on filters
        of deeper layers alone
    deeper : whether these use it; ``None`` if they do as other metrics on filters
    training : whether it applies to networks that are trained here alone
    besides : the kind of metrics that use it even if no network is trained
    asks_nothing : values that change nothing
    remedy : what to do instead with a metric of the other kind
    """

    metrics: OperatesOn | Literal["deeper"] | None = None
    deeper: bool | None = None
    training: bool = False
    besides: OperatesOn | None = None
    asks_nothing: tuple[Any, ...] = ()
    remedy: str = "leave it out"


USES = {
    "stage": Use(
        "filters",
        asks_nothing=("trained",),
        remedy="leave it out: networks are compared as they are after training",
    ),
    "layers": Use("activations", asks_nothing=("first", ("first",), ["first"]), deeper=True),
    "align": Use("deeper", deeper=True, remedy="name deeper layers, such as layers=convs"),
    "images": Use("activations", deeper=True),
    "pool": Use("activations"),
    "tokens": Use("activations"),
    "precision": Use("activations", asks_nothing=("float32",)),
    "normalize": Use("activations", deeper=True),
    "answer": Use(training=True, besides="activations"),
    "fold": Use("filters", deeper=False),
    "patch": Use("filters", deeper=False),
    "pairs": Use("filters", deeper=False, asks_nothing=("all",)),
    "seeds": Use(training=True),
    "recipe": Use(training=True),
    "device": Use(training=True, besides="activations", asks_nothing=("cpu",)),
    "scheduler": Use(training=True, besides="filters", asks_nothing=("local",)),
    "jobs": Use(training=True, besides="filters", asks_nothing=(1,)),
}
"""Every option of ``compare`` that does not apply to each comparison. Metrics say by
``operates_on`` which of them they use; patch moments are shared out by the scheduler too."""

OF_CHECKPOINTS = {
    "init": Use("filters", asks_nothing=("None",)),
    "normalize": Use("activations", asks_nothing=("auto",)),
    "answer": Use("activations", asks_nothing=("",)),
    "fold": Use("filters", asks_nothing=("",)),
}
"""The options of the model ``checkpoint`` that do not apply to each comparison."""

RELABELED = re.compile(r"\+(random|pca)_labels(?=[:+]|$)")
"""The variants of data sets that change labels alone."""

LOOK_AT = {
    "filters": "compare filters",
    "activations": "show images to networks",
    "deeper": "compare filters of deeper layers",
}


def asked_for(
    function: Callable[..., Any], given: Mapping[str, Any], names: Iterable[str] | None = None
) -> dict[str, Any]:
    """Return the options of a function whose values differ from their defaults.

    Parameters
    ----------
    given : name -> value of its arguments; others in it are passed over
    names : of the options; by default those that do not apply to each comparison
    """
    defaults = inspect.signature(function).parameters
    asked = {}
    for name in USES if names is None else names:
        default = defaults[name].default
        nothing = USES[name].asks_nothing if name in USES else ((default,), [default])
        if not any(_same(given[name], one) for one in (default, *nothing)):
            asked[name] = given[name]
    return asked


def _same(value: Any, other: Any) -> bool:
    """Return whether two values are equal and both or neither are lists."""
    if isinstance(value, range):  # which may be too long to be looked at
        return False
    try:
        return np.ndim(value) == np.ndim(other) and bool(np.all(value == other))
    except (TypeError, ValueError):  # such as lists of lists, which are refused where they are read
        return False


def refuse_options_of_other_metrics(
    metric: Metric, asked: Mapping[str, Any], deeper: bool = False
) -> None:
    """Refuse options that only metrics of the other kind use.

    Parameters
    ----------
    deeper : whether filters of deeper layers are compared

    Raises
    ------
    UsageError
        Naming the option, its use and a remedy.
    """
    for name, value in asked.items():
        use = USES[name]
        if deeper and use.deeper is False:
            raise UsageError(
                f"got {_shown(name, value)}, which applies to first layers, and deeper ones are "
                f"compared; {use.remedy}"
            )
        if deeper and use.deeper:
            continue
        if use.metrics not in (None, metric.operates_on):
            raise UsageError(
                f"got {_shown(name, value)}, which is for metrics that {LOOK_AT[use.metrics]}, and "
                f"'{metric.name}' does not; {use.remedy}"
            )


def say_what_had_no_use(
    plan: Plan, metric: Metric, asked: Mapping[str, Any], deeper: bool = False
) -> None:
    """Warn about options that had no effect because no network was trained here.

    Also warn about options of checkpoints that only metrics of the other kind use. They are not
    refused, since one list of models may serve several metrics.

    Parameters
    ----------
    deeper : whether filters of deeper layers are compared, for which networks are shown images
    """
    kinds = {metric.operates_on, "activations"} if deeper else {metric.operates_on}
    idle = (
        []
        if plan.trains
        else [
            _shown(name, value)
            for name, value in asked.items()
            if USES[name].training
            and USES[name].besides not in kinds
            and not (name == "seeds" and _is_one(value))
        ]
    )
    relabeled = [data.label for data in plan.datasets if RELABELED.search(data.label)]
    if relabeled and not plan.trains and metric.operates_on == "filters":
        warn(f"no network is trained here, so that the labels of '{relabeled[0]}' changed nothing")
    if idle:
        warn(f"no network is trained here, so that {' and '.join(idle)} changed nothing")
    for spec in plan.models:
        identity = spec.identity or {}
        options = identity.get("options", {}) if identity.get("name") == "checkpoint" else {}
        for name, use in OF_CHECKPOINTS.items():
            if use.metrics not in kinds and options.get(name, "") not in (
                "",
                *use.asks_nothing,
            ):
                warn(
                    f"'{metric.name}' does not use {name}= of '{spec.label}', which is for metrics "
                    f"that {LOOK_AT[str(use.metrics)]}"
                )


def say_what_recipes_have_no_use_for(plan: Plan) -> None:
    """Warn if a recipe asks for more images than there are to train or test on."""
    for data in plan.datasets if plan.trains else []:
        count, recipe = len(data.train), plan.recipe
        if recipe.batch > count:
            warn(
                f"the recipe has batches of {recipe.batch}, but '{data.label}' has {count} "
                "training images; every step takes all of them"
            )
        if recipe.evaluations and not len(data.test):
            warn(
                f"the recipe asks for evaluations={recipe.evaluations}, but '{data.label}' has no "
                "test images to evaluate on; there are none"
            )


def _is_one(seeds: Any) -> bool:
    """Return whether one seed is asked for, as a given network has."""
    return bool(np.size(seeds) == 1 and (np.ndim(seeds) == 1 or seeds == 1))


def _shown(name: str, value: Any) -> str:
    listed = isinstance(value, list | tuple)
    text = ",".join(map(str, value)) if listed else str(value)
    text = "Recipe(...)" if isinstance(value, Recipe) else text
    text = text if len(text) <= 40 else f"{text[:40]}..."
    return f"{name}={text}"
