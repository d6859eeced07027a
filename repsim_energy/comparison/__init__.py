"""The main pipeline, from names to a result.

The folder is not called ``compare``, because a module of that name would shadow the public
function ``repsim_energy.compare``.
"""

from __future__ import annotations

from repsim_energy.comparison.networks import train_networks
from repsim_energy.comparison.patch_bases import basis_of_images
from repsim_energy.comparison.pipeline import compare
from repsim_energy.comparison.plan import Plan
from repsim_energy.comparison.planning import make_plan
from repsim_energy.comparison.sweep import sweep

__all__ = [
    "Plan",
    "basis_of_images",
    "compare",
    "make_plan",
    "sweep",
    "train_networks",
]
