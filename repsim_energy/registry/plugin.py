"""A plugin: where it comes from, what it offers, and how its code is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from repsim_energy.errors import visible
from repsim_energy.registry.contained import contained
from repsim_energy.registry.plugin_file import PluginFile
from repsim_energy.versions import Origin

__all__ = ["Plugin"]


@dataclass
class Plugin:
    """A plugin that was loaded, or an attempt to load one.

    Parameters
    ----------
    name : of its entry point; for a single file the name without ``.py``
    origin : the distribution or file that it comes from
    provides : kind -> names of the components that it offers
    problems : reasons why a part of it, or all of it, is left out
    notes : what it did to the process while it was loaded, and what of it was undone
    file : the file, for a single-file plugin
    """

    name: str
    origin: Origin
    provides: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    file: PluginFile | None = None

    @property
    def distribution(self) -> str:
        """Name of the distribution, or of the file."""
        return self.origin.distribution

    @property
    def version(self) -> str:
        """Version of the distribution, or SHA-256 of the file."""
        return self.origin.version

    @property
    def status(self) -> str:
        """``ok``, ``partial`` (some of it works) or ``failed``."""
        if not self.problems:
            return "ok"
        return "partial" if any(self.provides.values()) else "failed"

    @property
    def called(self) -> str:
        """Name and origin, for messages."""
        return f"plugin '{visible(self.name)}' of {self.origin}"

    @property
    def check_command(self) -> str:
        """The command that checks this plugin."""
        return f"repsim plugins check {self.file.path if self.file else self.distribution}"

    def run(self, call: Callable[[], Any]) -> Any:
        """Call code of the plugin, contained unless it is built in, and note what it does besides.

        Raises
        ------
        BaseException
            What the code raises, a PluginError if it takes too long.
        """
        if self.origin.is_built_in:
            return call()
        notes: list[str] = []
        try:
            with contained(self.called, notes):
                return call()
        finally:
            self.notes += [note for note in notes if note not in self.notes]

    def as_dict(self) -> dict[str, Any]:
        """Return a description as plain values, for JSON."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "provides": self.provides,
            "problems": self.problems,
            "notes": self.notes,
            "status": self.status,
        }
