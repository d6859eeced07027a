"""Rules for variants of data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import ImageSet
from repsim_energy.options import takes
from repsim_energy.testing.contract import (
    Finding,
    Rules,
    check_rules,
    display_name,
    other_randomness,
    require,
    warn_of_undescribed_options,
)

__all__ = ["check_variant"]

Change = Callable[[ImageSet, ImageSet], ImageSet]


def check_variant(
    change: Callable[..., ImageSet], *, name: str | None = None, size: int = 12, **options: Any
) -> list[Finding]:
    """Check a variant against the rules, on generated images.

    Parameters
    ----------
    change : ``callable(images, **options)``, or ``callable(images, train, **options)``
    name : of the variant in messages; by default the name of the callable
    size : height and width of the images
    options : of the callable

    Returns
    -------
    list of Finding
        One for each rule.

    Raises
    ------
    RuleViolation
        If a rule is broken; the message names each broken rule with a remedy.

    Examples
    --------
    >>> from repsim_energy.data.variants import random_labels
    >>> all(finding.problem is None for finding in check_variant(random_labels, seed=3))
    True
    """
    what = display_name("variant", change, name)
    given = 2 if takes(change, 1, "train") else 1
    warn_of_undescribed_options(what, change, given)

    def changed(images: ImageSet, train: ImageSet) -> ImageSet:
        return change(*(images, train)[:given], **options)

    return check_rules(what, RULES, changed, *(_pictures(seed, size) for seed in (0, 1)))


def _pictures(seed: int, size: int) -> ImageSet:
    """Return 80 smooth images of four classes."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(80, 3, size, size, generator=generator).cumsum(2).cumsum(3)
    low, high = noise.amin((1, 2, 3), keepdim=True), noise.amax((1, 2, 3), keepdim=True)
    pixels = (255 * (noise - low) / (high - low)).to(torch.uint8)
    return ImageSet(pixels, torch.arange(80) % 4, ("a", "b", "c", "d"), "pictures")


def _returns_images(change: Change, train: ImageSet, test: ImageSet) -> None:
    for images in (train, test):
        found = change(images, train)
        got = type(found).__name__
        require(isinstance(found, ImageSet), f"returns {got}, expected an ImageSet")
        require(len(found) > 0, "returns no image for 80, expected some")
        problem = found.problem()
        require(problem is None, str(problem))


def _splits_agree(change: Change, train: ImageSet, test: ImageSet) -> None:
    a, b = change(train, train), change(test, train)
    require(
        a.classes == b.classes,
        f"returns classes {a.classes} and {b.classes} for the two splits, expected the same",
    )
    shapes = [tuple(images.images.shape[1:]) for images in (a, b)]
    require(
        shapes[0] == shapes[1],
        f"returns images of {shapes[0]} and {shapes[1]} for the two splits, expected the same",
    )


def _leaves_inputs(change: Change, train: ImageSet, test: ImageSet) -> None:
    for images in (train, test):
        kept = replace(images, images=images.images.clone(), labels=images.labels.clone())
        change(images, train)
        same = kept.fingerprint == replace(images).fingerprint  # a copy has no fingerprint yet
        require(same, "modifies its input; work on a copy")


def _deterministic(change: Change, train: ImageSet, test: ImageSet) -> None:
    found = []
    for seed in (1, 2):
        with other_randomness(seed):
            found.append(change(test, train).fingerprint)
    require(
        found[0] == found[1], "returns other images or labels the second time; add an option seed="
    )


def _changes_something(change: Change, train: ImageSet, test: ImageSet) -> None:
    found = change(train, train)
    same = found.fingerprint == train.fingerprint
    require(not same, "changes none of 80 images and labels; check its options")


def _takes_any_precision(change: Change, train: ImageSet, test: ImageSet) -> None:
    floats = [replace(images, images=images.images / 255) for images in (train, test)]
    try:
        problem = change(floats[1], floats[0]).problem()
    except UsageError:
        return  # refused
    require(problem is None, str(problem))


RULES: Rules = {
    "images and labels have valid types and values": _returns_images,
    "both splits have the same classes and image shape": _splits_agree,
    "inputs are not modified": _leaves_inputs,
    "repeated calls agree, whatever the global random states": _deterministic,
    "changes images or labels": _changes_something,
    "float images are processed or refused with a UsageError": _takes_any_precision,
}
