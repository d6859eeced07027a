"""Who makes missing runs and sums: this process, processes of this machine, or a cluster."""

from __future__ import annotations

from repsim_energy.scheduling.chunks import patch_moments_of_chunks
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of

__all__ = ["Scheduler", "patch_moments_of_chunks", "scheduler_of"]
