"""Versions of installed distributions."""

from __future__ import annotations

from importlib import metadata

__all__ = ["NOT_INSTALLED", "OWN", "version_of"]

OWN = "repsim-energy"
"""Name of this distribution, which has the built-ins."""

NOT_INSTALLED = "0+not.installed"
"""Version of code that runs from a source tree: valid (PEP 440), and below every release."""


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
