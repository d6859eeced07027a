"""The command ``repsim``: one module per command; parse, call, print."""

from __future__ import annotations

from repsim_energy.cli.app import main

__all__ = ["main"]
