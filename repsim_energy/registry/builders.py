"""Builders of networks: a component with the values of its options, which is picklable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from repsim_energy.options import is_fitted

if TYPE_CHECKING:
    from repsim_energy.interfaces import ImageSet
    from repsim_energy.registry.plugins import Entry

__all__ = ["builder", "member", "with_options"]


def member(entry: Entry, name: str) -> Any:
    """Return the component of a name. A family ``prefix/*`` is bound to the member."""
    thing = entry.load()
    if entry.name.endswith("/*"):
        thing = partial(thing, name.removeprefix(entry.name[:-1]))
    return thing


def builder(entry: Entry, name: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    """Return the function ``(num_classes, in_channels[, images])`` -> network of a model."""
    fitted = is_fitted(member(entry, name))
    return partial(_built_for if fitted else _built, entry, name, options)


def with_options(build: Callable[..., Any], changes: Mapping[str, Any]) -> Callable[..., Any]:
    """Return a builder with other values of some options, if it is one of :func:`builder`."""
    if not changes or not isinstance(build, partial):
        return build
    entry, name, options = build.args
    return partial(build.func, entry, name, {**options, **changes})


def _built(
    entry: Entry, name: str, options: Mapping[str, Any], num_classes: int, in_channels: int
) -> Any:
    """Call a builder. This is a function of a module, so that a partial of it is picklable."""
    return member(entry, name)(num_classes, in_channels, **options)


def _built_for(
    entry: Entry,
    name: str,
    options: Mapping[str, Any],
    num_classes: int,
    in_channels: int,
    images: ImageSet,
) -> Any:
    """Call a builder that is fitted to the training split."""
    return member(entry, name)(num_classes, in_channels, images, **options)
