"""A new plugin, written as a complete distribution."""

from __future__ import annotations

from repsim_energy.scaffold.distribution import write_plugin

__all__ = ["write_plugin"]
