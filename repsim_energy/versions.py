"""Installed versions, and the origin of code that is not part of this package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata

__all__ = ["NOT_INSTALLED", "OWN", "Origin", "version_of"]

OWN = "repsim-energy"
"""Name of this distribution, which has the built-ins."""

NOT_INSTALLED = "0+not.installed"
"""Version of code that runs from a source tree: valid (PEP 440), and below every release."""

DIGITS = 12
"""Leading hexadecimal digits of a SHA-256 that are displayed."""


@dataclass(frozen=True)
class Origin:
    """Distribution or file that a plugin comes from.

    Parameters
    ----------
    distribution : its name; for a single-file plugin the name of the file
    version : its version; for a single-file plugin ``sha256:`` and the SHA-256 of its content
    is_file : whether this is a single file

    Examples
    --------
    >>> str(Origin("repsim-timm", "1.2")), str(Origin("mine.py", "sha256:" + 64 * "0", True))
    ('repsim-timm 1.2', 'mine.py sha256:000000000000')
    """

    distribution: str
    version: str
    is_file: bool = False

    @property
    def is_built_in(self) -> bool:
        """True if this is repsim-energy itself."""
        return self.distribution == OWN

    @property
    def short_version(self) -> str:
        """The version for display, the SHA-256 of a file shortened to 12 digits."""
        return self.version[: len("sha256:") + DIGITS] if self.is_file else self.version

    def __str__(self) -> str:
        return f"{self.distribution} {self.short_version}"


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
