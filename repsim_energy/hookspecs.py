"""The four hooks of a plugin, in the entry-point group ``repsim_energy``.

A hook returns a mapping from name to thing. A thing is the object itself or a lazy
``"module:attribute"`` string, so that listing names imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from repsim_energy.interfaces import (
        Architecture,
        DatasetLoader,
        DatasetVariant,
        Metric,
        ModelFamily,
    )

__all__ = ["GROUP", "hookimpl", "hookspec"]

GROUP = "repsim_energy"

hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def repsim_metrics() -> Mapping[str, Metric | Callable[..., Metric] | str]:  # type: ignore[empty-body]
    """Return name -> metric: an instance, or a class whose keyword arguments are its options."""


@hookspec
def repsim_models() -> Mapping[str, Architecture | ModelFamily | str]:  # type: ignore[empty-body]
    """Return name -> ``callable(num_classes, in_channels, **options) -> torch.nn.Module``.

    A name that ends in ``/*`` stands for a family: ``callable(name, num_classes, in_channels,
    **options)`` with a method ``names()``. A callable may return a ``TrainedModel``, which is
    taken as it is.
    """


@hookspec
def repsim_datasets() -> Mapping[str, DatasetLoader | str]:  # type: ignore[empty-body]
    """Return name -> ``callable(split, **options) -> ImageSet``, split ``train`` or ``test``."""


@hookspec
def repsim_variants() -> Mapping[str, DatasetVariant | str]:  # type: ignore[empty-body]
    """Return name -> ``callable(images: ImageSet, **options) -> ImageSet``.

    A variant that is fitted on the training split takes it as a second parameter called
    ``train``: ``callable(images, train, **options)``. It is then called for both splits with the
    training split as it was before this variant; for the training split the two are one object.
    """
