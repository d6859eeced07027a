"""Experiments for the tables and figures of the paper.

Each is a module with a function ``run(setting) -> Outcome``.
"""

from __future__ import annotations

from repsim_energy.experiments.experiment import TRAINING, Experiment

__all__ = ["EXPERIMENTS"]

EXPERIMENTS = tuple(
    Experiment(f"{__name__}.{module}", tuple(names.split()), title, frozenset(uses.split()))
    for module, names, title, uses in (
        (
            "consistency",
            "table1 fig1",
            "the same profile across seeds, widths and architectures",
            f"dataset cifar100 celeba {TRAINING}",
        ),
        (
            "random_labels",
            "table2 fig3",
            "the same profile with true and with random labels",
            f"dataset cifar100 celeba {TRAINING}",
        ),
        (
            "beyond_theory",
            "beyond",
            "what networks share beyond the theoretical profile: seeds, widths, architectures, "
            "labels",
            f"dataset cifar100 celeba {TRAINING}",
        ),
        (
            "depth",
            "depth",
            "profiles of all convolutions: does partial whitening go on in depth?",
            f"dataset {TRAINING}",
        ),
        (
            "formula_fit",
            "table3 fig7 fig14 fig15 fig16",
            "the theoretical profile, fitted over t, on many data sets",
            f"dataset cifar100 celeba imagenet {TRAINING}",
        ),
        (
            "frozen_layer",
            "fig2 fig20",
            "training with a frozen and with a learned first layer",
            f"dataset {TRAINING}",
        ),
        (
            "formula_over_time",
            "fig4",
            "the theoretical profile at growing t, and its limit",
            "dataset",
        ),
        (
            "theorem",
            "theorem",
            "the linear CNN: simulation, closed form and published formula",
            "dataset",
        ),
        (
            "label_correlation",
            "fig5",
            "correlation of the classes with each component",
            "dataset imagenet",
        ),
        (
            "decorrelation",
            "fig6",
            "spatial autocorrelation of pixels and of first layers",
            f"dataset imagenet {TRAINING}",
        ),
        (
            "energy_labels",
            "fig8a fig17",
            "labels made from the patch energy of a component",
            f"dataset components {TRAINING}",
        ),
        (
            "scaled_patches",
            "fig8b fig18",
            "patches scaled along a component",
            f"dataset components {TRAINING}",
        ),
        (
            "families",
            "fig9 fig10 fig11 fig12 fig13",
            "profiles of many architectures",
            f"dataset cifar100 imagenet {TRAINING}",
        ),
        (
            "filter_images",
            "fig19",
            "first-layer filters as images",
            f"dataset imagenet {TRAINING}",
        ),
        (
            "report_networks",
            "reproduction",
            "the reproduction report's VGG11 and ResNet20",
            f"dataset {TRAINING}",
        ),
    )
)
