"""The four hooks of a plugin, which is found by the entry-point group ``repsim_energy``.

A hook returns a mapping from name to component. The component is the object itself, or a
``"module:attribute"`` string that is imported on demand, so that names are listed without
importing large libraries.
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
    """Return name -> metric.

    A metric is an instance, or a class whose keyword arguments are options.
    """


@hookspec
def repsim_models() -> Mapping[str, Architecture | ModelFamily | str]:  # type: ignore[empty-body]
    """Return name -> ``callable(num_classes, in_channels, **options) -> torch.nn.Module``.

    A name that ends in ``/*`` denotes a family: ``callable(name, num_classes, in_channels,
    **options)`` with a method ``names()``. A callable may also return a ``TrainedModel``, which is
    compared without training. A third parameter called ``images`` receives the training split, as
    an ``ImageSet``: ``callable(num_classes, in_channels, images, **options)``.
    """


@hookspec
def repsim_datasets() -> Mapping[str, DatasetLoader | str]:  # type: ignore[empty-body]
    """Return name -> ``callable(split, **options) -> ImageSet``.

    The split is ``train`` or ``test``.
    """


@hookspec
def repsim_variants() -> Mapping[str, DatasetVariant | str]:  # type: ignore[empty-body]
    """Return name -> ``callable(images: ImageSet, **options) -> ImageSet``.

    A variant that is fitted to the training split takes it as a second parameter called
    ``train``: ``callable(images, train, **options)``. It is called for both splits with the
    training split before this variant. For the training split, both arguments are one object.
    """
