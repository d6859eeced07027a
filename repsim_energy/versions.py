"""Which version of a distribution is installed."""

from __future__ import annotations

from importlib import metadata

__all__ = ["NOT_INSTALLED", "OWN", "version_of"]

OWN = "repsim-energy"
"""The distribution that the built-ins come from."""

NOT_INSTALLED = "0+not.installed"
"""The version of code that runs from a source tree; below every release, and valid (PEP 440)."""


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, or :data:`NOT_INSTALLED`.

    Examples
    --------
    >>> version_of("no-such-distribution")
    '0+not.installed'
    """
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED
