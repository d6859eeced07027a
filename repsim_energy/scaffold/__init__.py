"""A new plugin, written as a complete distribution."""

from __future__ import annotations

from repsim_energy.scaffold.distribution import KINDS, write_plugin

__all__ = ["KINDS", "write_plugin"]
