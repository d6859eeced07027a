"""Experiments on the systems of a lecture about first layers and fixed representations.

The lecture: J. Tanner, Theories of Deep Learning, C6.5, video 12 (University of Oxford). Each
experiment is a module with a function ``run(setting) -> Outcome``.
"""

from __future__ import annotations

from repsim_energy.experiments.experiment import Experiment

__all__ = ["EXPERIMENTS"]

EXPERIMENTS = (
    Experiment(
        f"{__name__}.nterm",
        ("nterm",),
        "best n-term approximation of cartoons by waves, wavelets and curvelets",
        frozenset({"seeds"}),
    ),
    Experiment(
        f"{__name__}.transfer",
        ("transfer",),
        "linear classifiers of the largest responses of frames, random and learned filters",
        frozenset({"dataset", "seeds", "recipe", "device", "scheduler", "jobs"}),
    ),
)
