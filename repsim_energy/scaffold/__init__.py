"""Create new plugins as complete distributions."""

from __future__ import annotations

from repsim_energy.scaffold.distribution import write_plugin

__all__ = ["write_plugin"]
