"""Settings of a sweep: the comparison at each point, with what points have in common made once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from repsim_energy.comparison.axes import OF_COMPARISONS, Point
from repsim_energy.comparison.comparisons import Comparison, comparison_of
from repsim_energy.comparison.given import are_features, as_datasets, as_models
from repsim_energy.comparison.given_metric import as_metric
from repsim_energy.comparison.layer_roles import are_deeper
from repsim_energy.comparison.listed import one_by_one
from repsim_energy.comparison.memory import NUMBERS_PER_PAIR, refuse_too_large
from repsim_energy.comparison.options import (
    asked_for,
    refuse_options_of_other_metrics,
    say_what_had_no_use,
    say_what_recipes_have_no_use_for,
)
from repsim_energy.comparison.patch_bases import KnownBases
from repsim_energy.comparison.pipeline import compare
from repsim_energy.comparison.plan import Plan
from repsim_energy.comparison.planning import make_plan
from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.options import bind_options
from repsim_energy.registry import Registry, ResolvedMetric, load_dataset, resolve_model
from repsim_energy.registry.resolve import options_in_chain
from repsim_energy.scheduling.schedulers import Scheduler
from repsim_energy.specs import Spec, parse_spec, write_spec
from repsim_energy.training.device import choose_precision
from repsim_energy.training.recipe import Recipe, as_recipe

__all__ = ["Setting", "Settings", "check_result"]

OF_TRAININGS = ("model", "dataset", "recipe")
"""Parts that determine a training."""

OF_WHAT = 3
"""Arguments of ``compare`` that say what is compared, before those that say how."""

OF_PLANS = ("normalize", "answer", "fold", "channels")
HOW = (*OF_COMPARISONS, "layers", "resamples", "precision", "pairs")
"""Arguments of ``compare`` that go to the plan, and to the comparison."""

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Setting:
    """A point of a sweep, before any network is trained."""

    plan: Plan
    metric: ResolvedMetric
    comparison: Comparison


class Settings:
    """What the points of a sweep are made of. Parts that points share are made once.

    Parameters
    ----------
    arguments : of ``compare``, by name
    """

    def __init__(
        self,
        registry: Registry,
        scheduler: Scheduler,
        arguments: dict[str, Any],
    ) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._arguments = arguments
        self._made: dict[Hashable, Any] = {}
        self._bases: KnownBases = {}

    def at(self, point: Point) -> Setting:
        """Return the setting of a point.

        Raises
        ------
        RepsimError
            For what ``compare`` refuses with the values of this point.
        """
        of_all = ("model", "dataset", "metric", "comparison")
        common = self._once("comparison", point, of_all, self._comparison)
        recipe = self._once("recipe", point, ("recipe",), self._recipe)
        recipe = choose_precision(recipe, common.plan.device)
        label = point.label(OF_TRAININGS)
        plan = common.plan.at_point(recipe, f" at {label}" if label else "")
        if not plan.trains and point.options("recipe"):
            raise UsageError(
                f"got values of recipe.{next(iter(point.options('recipe')))}, but all networks are "
                "given and none is trained; vary another part"
            )
        say_what_recipes_have_no_use_for(plan)
        return Setting(plan, common.metric, replace(common.comparison, plan=plan))

    def _once(
        self, what: str, point: Point, parts: Sequence[str], make: Callable[[Point], Made]
    ) -> Made:
        """Return what is made for a point, the same for all points with equal options of parts."""
        key = (what, *(tuple(point.options(part).items()) for part in parts))
        if key not in self._made:
            self._made[key] = make(point)
        made: Made = self._made[key]
        return made

    def _comparison(self, point: Point) -> Setting:
        arguments = self._arguments | self._varied_arguments(point)
        asked = asked_for(compare, arguments)
        resolved = self._once("metric", point, ("metric",), self._metric)
        metric = resolved.metric
        deeper = metric.operates_on == "filters" and are_deeper(arguments["layers"])
        refuse_options_of_other_metrics(metric, asked, deeper)
        plan = self._once("plan", point, ("model", "dataset"), partial(self._plan, resolved))
        how = {name: arguments[name] for name in HOW}
        comparison = comparison_of(plan, metric, self._scheduler, asked, self._bases, **how)
        say_what_had_no_use(plan, metric, asked, deeper)
        return Setting(replace(plan, built={}), resolved, comparison)

    def _varied_arguments(self, point: Point) -> dict[str, Any]:
        """Return the arguments of ``compare`` that are varied, at a point."""
        options = point.options("comparison")
        for name in asked_for(compare, self._arguments, options):
            raise UsageError(
                f"got comparison.{name} as an axis and {name}={self._arguments[name]} as an "
                "argument, expected one of them; leave the argument out"
            )
        bound = bind_options(compare, options, skip=OF_WHAT, what="comparison")
        return {name: bound[name] for name in options}

    def _plan(self, resolved: ResolvedMetric, point: Point) -> Plan:
        arguments = self._arguments
        models = self._once("models", point, ("model",), self._models)
        if are_features(models, resolved.metric):
            raise UsageError(
                "got features from files, expected networks; call compare on features, once for "
                "each value"
            )
        on_filters = resolved.metric.operates_on == "filters"
        return make_plan(
            self._registry,
            models,
            self._once("datasets", point, ("dataset",), self._datasets),
            arguments["seeds"],
            "quick",  # each point has its own
            arguments["device"],
            filters=on_filters,
            shown=not on_filters or are_deeper(arguments["layers"]),
            **{name: arguments[name] for name in OF_PLANS},
        )

    def _models(self, point: Point) -> list[ModelSpec]:
        options = point.options("model")
        specs = as_models(self._registry, self._arguments["models"])
        if not options:
            return specs
        found = []
        for spec in specs:
            if not spec.spec:
                raise _no_text("model", spec.label, options)
            typed = _with_options(spec.spec, options, "model")
            found.append(replace(resolve_model(self._registry, typed), label=spec.label))
        return found

    def _datasets(self, point: Point) -> list[Dataset]:
        options, given = point.options("dataset"), self._arguments["dataset"]
        if not options:
            return as_datasets(self._registry, given)
        listed = given if isinstance(given, list | tuple) else [given]
        found = []
        for text in one_by_one(listed, "data set"):
            if not isinstance(text, str):
                raise _no_text("dataset", type(text).__name__, options)
            typed = self._with_options_in_chain(text, options)
            found.append(replace(load_dataset(self._registry, typed), label=text))
        return found

    def _with_options_in_chain(self, text: str, options: Mapping[str, str]) -> str:
        """Return the spec of a data set with further options, each of its part that has it."""
        parts = options_in_chain(self._registry, text)
        added: list[dict[str, str]] = [{} for _ in parts]
        for name, value in options.items():
            added[_place_of(name, text, parts)][name.rpartition(".")[2]] = value
        specs = (write_spec(spec.name, **spec.options) for spec, _ in parts)
        return "+".join(
            _with_options(spec, of_part, "dataset")
            for spec, of_part in zip(specs, added, strict=True)
        )

    def _metric(self, point: Point) -> ResolvedMetric:
        options, metric = point.options("metric"), self._arguments["metric"]
        if options and not isinstance(metric, str):
            raise _no_text("metric", type(metric).__name__, options)
        return as_metric(
            self._registry, _with_options(metric, options, "metric") if options else metric
        )

    def _recipe(self, point: Point) -> Recipe:
        options, recipe = point.options("recipe"), self._arguments["recipe"]
        if isinstance(recipe, Recipe) and options:
            bound = bind_options(Recipe, options, skip=0, what="recipe")
            return replace(recipe, **{name: bound[name] for name in options})
        return as_recipe(_with_options(recipe, options, "recipe") if options else recipe)


def check_result(settings: Sequence[Setting]) -> None:
    """Refuse a sweep whose similarities do not fit into memory."""
    pairs = [math.prod(setting.plan.shape) ** 2 for setting in settings]
    refuse_too_large(sum(pairs), 3 * NUMBERS_PER_PAIR, f"{len(pairs)} points")


def _with_options(text: str, options: Mapping[str, str], part: str) -> str:
    """Return a spec with further options.

    Raises
    ------
    UsageError
        If it has one of them already.
    """
    spec = parse_spec(text)
    for name in options:
        if name in spec.options:
            raise UsageError(
                f"got {part}.{name} as an axis and {name}={spec.options[name]} in '{text}', "
                "expected one of them; leave it out of the spec"
            )
    return write_spec(spec.name, **spec.options, **options)


def _place_of(name: str, text: str, parts: Sequence[tuple[Spec, list[str]]]) -> int:
    """Return which part of a data set has an option.

    Parameters
    ----------
    name : of the option, or of a part and its option, such as ``random_labels.seed``
    text : the data set as typed
    parts : its own spec and those of its variants, each with the names of its options
    """
    part, _, option = name.rpartition(".")
    known = [f"{spec.name}.{one}" for spec, options in parts for one in options]
    places = [
        i
        for i, (spec, options) in enumerate(parts)
        if option in options and part in ("", spec.name)
    ]
    if not places:
        of = [option for _, options in parts for option in options]
        raise unknown_name(f"option of '{text}'", name, dict.fromkeys(known if part else of))
    if len(places) > 1:
        several = " and ".join(f"dataset.{one}" for one in known if one.endswith(f".{option}"))
        raise UsageError(
            f"got dataset.{name} as an axis, which '{text}' has more than once: {several}; "
            "write one of them, or repeat no variant"
        )
    return places[0]


def _no_text(part: str, label: str, options: Mapping[str, str]) -> UsageError:
    return UsageError(
        f"got {part}.{next(iter(options))} as an axis and the {part} '{label}' as an object, whose "
        "options cannot be varied, expected a spec such as vgg11 as text"
    )
