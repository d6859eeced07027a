"""Execution of trainings and sums: in this process, in local processes, or on a Dask cluster."""

from __future__ import annotations

from repsim_energy.scheduling.chunks import patch_moments_of_chunks
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of

__all__ = ["Scheduler", "patch_moments_of_chunks", "scheduler_of"]
