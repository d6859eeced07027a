"""Entry points of installed plugins, found although the metadata of others may be damaged."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata

from repsim_energy import hookspecs
from repsim_energy.errors import PluginWarning, reason_of, visible, warn
from repsim_energy.versions import Origin

__all__ = ["entry_points"]

UNKNOWN = "unknown"
"""Name and version of a distribution without metadata."""


def entry_points() -> list[tuple[Origin, metadata.EntryPoint]]:
    """Return the entry points of plugins with their distributions, sorted.

    Warns
    -----
    PluginWarning
        If entry points of a distribution cannot be read, whose plugins are left out.
    """
    try:
        points = [*metadata.entry_points(group=hookspecs.GROUP)]
    except Exception:  # a single damaged file is enough
        points = [point for dist in metadata.distributions() for point in _points_of(dist)]
    found = {(_origin(point.dist), point.name): point for point in reversed(points)}  # first wins
    order = sorted(found, key=lambda key: (key[0].distribution, key[1]))
    return [(origin, found[origin, name]) for origin, name in order]


def _points_of(dist: metadata.Distribution) -> Iterator[metadata.EntryPoint]:
    try:
        yield from dist.entry_points.select(group=hookspecs.GROUP)
    except Exception as error:
        warn(
            f"entry points of {_origin(dist)} cannot be read ({reason_of(error)}): any plugins of "
            "it are left out; install it again",
            PluginWarning,
        )


def _origin(dist: metadata.Distribution | None) -> Origin:
    try:
        name, version = dist.name, dist.version  # type: ignore[union-attr]
    except Exception:  # no distribution, or one without metadata
        name = version = UNKNOWN
    return Origin(visible(name or UNKNOWN), visible(version or UNKNOWN))
