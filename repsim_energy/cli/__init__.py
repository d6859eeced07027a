"""The command ``repsim``, with one module per subcommand."""

from __future__ import annotations

from repsim_energy.cli.app import main

__all__ = ["main"]
