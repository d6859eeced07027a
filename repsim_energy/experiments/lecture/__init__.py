"""Experiments on the systems of a lecture about first layers and fixed representations.

The lecture: J. Tanner, Theories of Deep Learning, C6.5, video 12 (University of Oxford). Each
experiment is a module with a function ``run(setting) -> Outcome``.
"""

from __future__ import annotations

from repsim_energy.experiments.experiment import TRAINING, Experiment

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
        frozenset(f"dataset {TRAINING}".split()),
    ),
    Experiment(
        f"{__name__}.one_layer",
        ("one-layer",),
        "accuracy with exactly one trained layer, against its depth",
        frozenset(f"dataset mnist {TRAINING}".split()),
        recipes={
            scale: f"quick:{length}:optimizer=adam:lr=0.003:snapshots=0:test_images={tests}"
            for scale, length, tests in (
                ("smoke", "steps=20", 60),
                ("cpu", "steps=1000", 2000),
                ("full", "epochs=40", "none"),
            )
        },
    ),
    Experiment(
        f"{__name__}.crbm",
        ("crbm",),
        "bases of a convolutional deep belief network, and the share of wavelike ones",
        frozenset({"natural", "seeds"}),
    ),
    Experiment(
        f"{__name__}.wavelike",
        ("wavelike",),
        "share of filters that are localized and oriented, as wavelets are",
        frozenset(f"dataset mnist natural {TRAINING}".split()),
    ),
)
