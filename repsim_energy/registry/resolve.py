"""Resolve specs: look up names, check options, load data sets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from repsim_energy.errors import DataError, PluginError, RepsimError, UsageError, reason_of
from repsim_energy.interfaces import (
    Architecture,
    Dataset,
    ImageSet,
    ModelSpec,
    missing_of,
)
from repsim_energy.options import Option, bind_options, is_fitted, options_of, takes
from repsim_energy.registry.builders import builder, member
from repsim_energy.registry.dataset_paths import with_kind
from repsim_energy.registry.docstrings import meanings_of, summary_of
from repsim_energy.registry.first_layer import (
    common_options,
    first_layer_options,
    with_first_layer,
)
from repsim_energy.registry.model_names import label_and_spec
from repsim_energy.registry.plugin_metric import PluginMetric, ResolvedMetric
from repsim_energy.registry.plugins import Entry, Kind, Registry
from repsim_energy.specs import Spec, parse_chain, parse_spec
from repsim_energy.workers import pool_kept

__all__ = ["describe", "load_dataset", "resolve_metric", "resolve_model", "resolve_variant"]

GIVEN: dict[Kind, int] = {"metric": 0, "model": 2, "dataset": 1, "variant": 1}
"""Kind -> number of leading parameters that are not options."""

FITTED: dict[Kind, str] = {"model": "images", "variant": "train"}
"""Kind -> name of a further such parameter, which receives the training split."""

COMMON = ("classes", "limit", "size", "gray")
"""Options of all data sets. A data set that declares one of them itself receives it."""


def resolve_metric(registry: Registry, text: str) -> ResolvedMetric:
    """Return the metric of a spec such as ``energy`` or ``cka:estimator=biased``."""
    spec = parse_spec(text)
    entry = registry.entry("metric", spec.name)
    metric = entry.load()
    options: dict[str, Any] = {}
    if inspect.isclass(metric) or inspect.isroutine(metric):
        options = bind_options(metric, spec.options, skip=0, what=f"metric '{spec.name}'")
        metric = _call(entry, partial(metric, **options))
    elif spec.options:
        raise UsageError(f"metric '{spec.name}' has no options, got '{text}'")
    if missing := missing_of(metric):
        raise PluginError(
            f"{entry.called} lacks {', '.join(missing)}; see the interface repsim_energy.Metric"
        )
    checked = metric if entry.built_in else PluginMetric(metric, entry)
    return ResolvedMetric(checked, spec.name, options, (entry.plugin.origin,), plain=metric)


def resolve_model(registry: Registry, text: str) -> ModelSpec:
    """Return the model of a spec such as ``resnet18:width=0.5`` or ``mine=checkpoint:path=a.pt``.

    Its label is the one given, else the spec.
    """
    label, typed = label_and_spec(text, partial(_is_model, registry))
    spec = parse_spec(typed)
    found = _model(registry, typed, spec.name, spec.options)
    return replace(found, label=label or typed, spec=typed)


def _is_model(registry: Registry, name: str) -> bool:
    try:
        registry.entry("model", name)
    except UsageError:
        return False
    return True


def _model(registry: Registry, label: str, name: str, options: Mapping[str, Any]) -> ModelSpec:
    entry = registry.entry("model", name)
    thing = member(entry, name)
    what = f"model '{name}'"
    common = common_options(thing, _given(entry, thing), options)
    bound = bind_options(
        thing,
        {key: value for key, value in options.items() if key not in common},
        skip=_given(entry, thing),
        what=what,
        converters={Architecture: partial(_Named, registry)},
    )
    identity = {
        "name": name,
        "options": {key: str(value) for key, value in bound.items()},
        "distribution": _code_version(entry),
    }
    named = [value for value in bound.values() if isinstance(value, _Named)]
    origins = (entry.plugin.origin, *(value.origin for value in named))
    spec = ModelSpec(label, builder(entry, name, bound), identity, origins, options=bound)
    chosen = bind_options(first_layer_options, common, skip=0, what=what)
    return with_first_layer(spec, options, partial(_model, registry), **chosen)


def _code_version(entry: Entry) -> str:
    """Return the code that the key of a cached run contains: origin and full version.

    The version of the built-ins does not enter: runs have a format number of their own.
    """
    version = "built-in" if entry.built_in else entry.plugin.version
    return f"{entry.plugin.distribution} {version}"


class _Named:
    """Builder of the architecture that an option names, such as ``arch=resnet20``."""

    def __init__(self, registry: Registry, name: str) -> None:
        self._registry, self._name = registry, name
        self.origin = registry.entry("model", name).plugin.origin

    def __call__(self, num_classes: int, in_channels: int, **options: Any) -> Any:
        """Return a new network."""
        spec = _model(self._registry, self._name, self._name, options)
        if is_fitted(spec.build):
            raise UsageError(
                f"got arch={self._name}, which is fitted to images, expected an architecture that "
                "is built from the numbers of classes and channels; choose another one"
            )
        return spec.build(num_classes, in_channels)

    def __str__(self) -> str:  # for the keys of runs, and for results
        return self._name


def load_dataset(registry: Registry, text: str) -> Dataset:
    """Return both splits of a chain such as ``cifar10:classes=cat/dog+random_labels``.

    The path of a folder or of an ``.npz`` file means ``folder:path=`` (``idx:path=`` with files in
    the format of MNIST) or ``npz:path=``.
    """
    base, *variants = parse_chain(with_kind(text, partial(_is_known, registry)))
    entry = registry.entry("dataset", base.name)
    factory = entry.load()
    own = {option.name for option in options_of(factory, GIVEN["dataset"])}
    common = {k: v for k, v in base.options.items() if k in COMMON and k not in own}
    if "classes" in common and "limit" in base.options:  # classes are chosen before images
        common["limit"] = base.options["limit"]
    rest = {k: v for k, v in base.options.items() if k not in common}
    what = f"data set '{base.name}'"
    options = bind_options(factory, rest, skip=GIVEN["dataset"], what=what)
    chosen = bind_options(_select(), common, skip=1, what=what)
    changes = [_variant(registry, spec) for spec in variants]
    plugins = [entry.plugin, *(registry.entry("variant", spec.name).plugin for spec in variants)]

    def split(name: str) -> ImageSet:
        images = _image_set(entry, _call(entry, partial(factory, name, **options)))
        return _select()(images, **chosen)

    with pool_kept():  # for files of both
        train, test = split("train"), split("test")
    for change in changes:
        train, test = change(train, train), change(test, train)
    return Dataset(text, train, test, tuple(plugin.origin for plugin in plugins))


def options_in_chain(registry: Registry, text: str) -> list[tuple[Spec, list[str]]]:
    """Return the parts of a chain of a data set and its variants, each with names of options."""
    base, *variants = parse_chain(with_kind(text, partial(_is_known, registry)))
    factory = registry.entry("dataset", base.name).load()
    own = [option.name for option in options_of(factory, GIVEN["dataset"])]
    found = [(base, [*own, *(name for name in COMMON if name not in own)])]
    for spec in variants:
        entry = registry.entry("variant", spec.name)
        change = entry.load()
        found.append((spec, [one.name for one in options_of(change, _given(entry, change))]))
    return found


def _is_known(registry: Registry, name: str) -> bool:
    return name in registry.names("dataset")


def resolve_variant(registry: Registry, text: str) -> Callable[[ImageSet, ImageSet], ImageSet]:
    """Return the function ``(images, train) -> ImageSet`` of a spec such as ``random_labels``."""
    return _variant(registry, parse_spec(text))


def _variant(registry: Registry, spec: Spec) -> Callable[[ImageSet, ImageSet], ImageSet]:
    entry = registry.entry("variant", spec.name)
    change = entry.load()
    skip = _given(entry, change)
    options = bind_options(change, spec.options, skip=skip, what=f"variant '{spec.name}'")

    def apply(images: ImageSet, train: ImageSet) -> ImageSet:
        given = (images, train)[:skip]
        return _image_set(entry, _call(entry, partial(change, *given, **options)))

    return apply


def _given(entry: Entry, thing: Any) -> int:
    """Return the number of leading parameters that are not options."""
    given = GIVEN[entry.kind]
    return given + (entry.kind in FITTED and takes(thing, given, FITTED[entry.kind]))


def _select() -> Callable[..., ImageSet]:
    """Return the function that selects images. It imports torch, and is imported on demand."""
    from repsim_energy.data.selection import select

    return select


def _image_set(entry: Entry, found: Any) -> ImageSet:
    if not isinstance(found, ImageSet):
        got = type(found).__name__
        raise PluginError(f"{entry.called} returned {got}, expected an ImageSet")
    problem = found.problem()
    if problem and entry.built_in:  # the problem is in the user's files
        raise DataError(f"{entry.kind} '{entry.name}': {problem}; mend the file")
    if problem:
        raise PluginError(f"{entry.called}: {problem}; see {entry.plugin.check_command}")
    return found


def _call(entry: Entry, call: Callable[[], Any]) -> Any:
    """Call code of a plugin and convert its exceptions to errors that name the plugin."""
    try:
        return call()
    except MemoryError:
        raise
    except RepsimError as error:
        if entry.built_in:
            raise
        raise type(error)(f"{entry.called}: {error}") from error
    except Exception as error:
        raise PluginError(f"{entry.called} failed ({reason_of(error)})") from error


def describe(registry: Registry, kind: Kind, name: str) -> tuple[str, list[Option]]:
    """Return the summary of a component and its options with descriptions, after loading it."""
    entry = registry.entry(kind, name)
    thing = member(entry, name)
    if kind == "metric" and not (inspect.isclass(thing) or inspect.isroutine(thing)):
        return summary_of(thing), []
    options = _described(thing, _given(entry, thing))
    known = {option.name for option in options}
    common = {"dataset": lambda: _described(_select(), 1)}
    common["model"] = lambda: _described(first_layer_options, 0)
    if kind in common:
        options += [option for option in common[kind]() if option.name not in known]
    return summary_of(thing), options


def _described(thing: Callable[..., Any], skip: int) -> list[Option]:
    meanings = meanings_of(thing)
    return [
        replace(option, meaning=meanings.get(option.name, "")) for option in options_of(thing, skip)
    ]
