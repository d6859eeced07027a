"""Variants: functions from an image set to a changed image set."""

from __future__ import annotations

from dataclasses import replace

import torch

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import ImageSet

__all__ = ["random_labels"]


def random_labels(images: ImageSet, *, seed: int = 0) -> ImageSet:
    """Shuffle the labels among the images. Class sizes stay the same.

    Source: Chowers & Weiss (2023), section 3 (their code permutes the labels).

    Parameters
    ----------
    seed : seed of the permutation
    """
    if not images.classes:
        raise UsageError(f"images of '{images.name}' have no labels, expected some to shuffle")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(images), generator=generator)
    return replace(images, labels=images.labels[order], name=f"{images.name}+random_labels")
