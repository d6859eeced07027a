"""The main pipeline, from names to a result.

The folder is not called ``compare``, because a module of that name would shadow the public
function ``repsim_energy.compare``.
"""

from __future__ import annotations

from repsim_energy.comparison.chunks import patch_moments_of_chunks
from repsim_energy.comparison.networks import train_networks
from repsim_energy.comparison.pipeline import compare
from repsim_energy.comparison.plan import Plan, Step, make_plan
from repsim_energy.comparison.schedulers import Scheduler, scheduler_of

__all__ = [
    "Plan",
    "Scheduler",
    "Step",
    "compare",
    "make_plan",
    "patch_moments_of_chunks",
    "scheduler_of",
    "train_networks",
]
