"""Entries of the cache: what they are, whether they are whole, and which to remove."""

from __future__ import annotations

from repsim_energy.cache.checks import Verdict, check
from repsim_energy.cache.choice import Limits, choose
from repsim_energy.cache.entries import Entry, list_entries

__all__ = ["Entry", "Limits", "Verdict", "check", "choose", "list_entries"]
