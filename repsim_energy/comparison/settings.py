"""Settings of a sweep: the comparison at each point, with what points have in common made once."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from repsim_energy.comparison.axes import Point
from repsim_energy.comparison.comparisons import Comparison, comparison_of
from repsim_energy.comparison.given import are_features, as_datasets, as_models
from repsim_energy.comparison.given_metric import as_metric
from repsim_energy.comparison.layer_roles import are_deeper
from repsim_energy.comparison.listed import one_by_one
from repsim_energy.comparison.memory import NUMBERS_PER_PAIR, refuse_too_large
from repsim_energy.comparison.options import (
    refuse_options_of_other_metrics,
    say_what_had_no_use,
    say_what_recipes_have_no_use_for,
)
from repsim_energy.comparison.patch_bases import KnownBases
from repsim_energy.comparison.plan import Plan
from repsim_energy.comparison.planning import make_plan
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.options import bind_options
from repsim_energy.registry import Registry, ResolvedMetric, load_dataset, resolve_model
from repsim_energy.registry.dataset_paths import with_kind
from repsim_energy.scheduling.schedulers import Scheduler
from repsim_energy.specs import parse_chain, parse_spec, write_spec
from repsim_energy.training.device import choose_precision
from repsim_energy.training.recipe import Recipe, as_recipe

__all__ = ["Setting", "Settings", "check_result"]

OF_TRAININGS = ("model", "dataset", "recipe")
"""Parts that determine a training."""

OF_PLANS = ("normalize", "answer", "fold", "channels")
OF_COMPARISONS = (
    "stage", "patch", "null", "layers", "align", "images", "pool", "tokens", "resamples",
    "precision", "pairs"
)  # fmt: skip
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
    asked : those that the user gave
    """

    def __init__(
        self,
        registry: Registry,
        scheduler: Scheduler,
        arguments: Mapping[str, Any],
        asked: Mapping[str, Any],
    ) -> None:
        self._registry = registry
        self._scheduler = scheduler
        self._arguments = arguments
        self._asked = asked
        self._made: dict[Hashable, Any] = {}
        self._bases: KnownBases = {}

    def at(self, point: Point) -> Setting:
        """Return the setting of a point.

        Raises
        ------
        RepsimError
            For what ``compare`` refuses with the values of this point.
        """
        common = self._once("comparison", point, ("model", "dataset", "metric"), self._comparison)
        recipe = self._once("recipe", point, ("recipe",), self._recipe)
        recipe = choose_precision(recipe, common.plan.device)
        label = point.label(OF_TRAININGS)
        plan = replace(common.plan, recipe=recipe, at=f" at {label}" if label else "")
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
        arguments, asked = self._arguments, self._asked
        resolved = self._once("metric", point, ("metric",), self._metric)
        metric = resolved.metric
        deeper = metric.operates_on == "filters" and are_deeper(arguments["layers"])
        refuse_options_of_other_metrics(metric, asked, deeper)
        plan = self._once("plan", point, ("model", "dataset"), partial(self._plan, resolved))
        how = {name: arguments[name] for name in OF_COMPARISONS}
        comparison = comparison_of(plan, metric, self._scheduler, asked, self._bases, **how)
        say_what_had_no_use(plan, metric, asked, deeper)
        return Setting(replace(plan, built={}), resolved, comparison)

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
        found, known = [], self._registry.names("dataset")
        for text in one_by_one(listed, "data set"):
            if not isinstance(text, str):
                raise _no_text("dataset", type(text).__name__, options)
            base, *variants = parse_chain(with_kind(text, known.__contains__))
            parts = [_with_options(write_spec(base.name, **base.options), options, "dataset")]
            parts += [write_spec(one.name, **one.options) for one in variants]
            found.append(replace(load_dataset(self._registry, "+".join(parts)), label=text))
        return found

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


def _no_text(part: str, label: str, options: Mapping[str, str]) -> UsageError:
    return UsageError(
        f"got {part}.{next(iter(options))} as an axis and the {part} '{label}' as an object, whose "
        "options cannot be varied, expected a spec such as vgg11 as text"
    )
