"""Rules for data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from repsim_energy.interfaces import ImageSet
from repsim_energy.testing.contract import (
    Finding,
    Rules,
    check_rules,
    display_name,
    require,
    warn_of_undescribed_options,
)

__all__ = ["Splits", "check_dataset", "check_splits"]


def check_dataset(
    load: Callable[..., ImageSet], *, name: str | None = None, **options: Any
) -> list[Finding]:
    """Check a data set against the rules. Both splits are loaded twice.

    Parameters
    ----------
    load : ``callable(split, **options)``
    name : of the data set in messages; by default the name of the callable
    options : of the callable, such as the folder of the files

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
    >>> import torch
    >>> def noise(split: str) -> ImageSet:
    ...     generator = torch.Generator().manual_seed(len(split))
    ...     images = torch.rand(8, 3, 16, 16, generator=generator)
    ...     return ImageSet(images, torch.arange(8) % 2, ("a", "b"), "noise")
    >>> all(finding.problem is None for finding in check_dataset(noise))
    True
    """

    def splits() -> list[ImageSet]:
        return [load(split, **options) for split in ("train", "test")]

    what = display_name("data set", load, name)
    warn_of_undescribed_options(what, load, 1)
    return check_splits(what, Splits(splits))


@dataclass(frozen=True, eq=False)
class Splits:
    """Function that loads both splits, with the result of its first call."""

    load: Callable[[], list[ImageSet]]

    @cached_property
    def first(self) -> list[ImageSet]:
        """Training and test split of the first call."""
        return self.load()


def check_splits(what: str, splits: Splits) -> list[Finding]:
    """Check splits that are loaded together, as :func:`check_dataset` does."""
    both = check_rules(what, {"loads a training and a test split": _loads_both}, splits)
    return both + check_rules(what, RULES, splits)


def _loads_both(splits: Splits) -> None:
    for split, images in zip(("train", "test"), splits.first, strict=True):
        got = type(images).__name__
        require(isinstance(images, ImageSet), f"returns {got} for '{split}', expected an ImageSet")


def _has_images(splits: Splits) -> None:
    require(
        len(splits.first[0]) > 0, "the training split has no image; check the files and options"
    )
    for images in splits.first:
        problem = images.problem()
        require(problem is None, str(problem))


def _splits_agree(splits: Splits) -> None:
    train, test = splits.first
    require(train.classes == test.classes, "the splits have different classes, or another order")
    if len(test):
        shapes = [tuple(images.images.shape[1:]) for images in (train, test)]
        require(shapes[0] == shapes[1], f"images are {shapes[0]} and {shapes[1]} in the two splits")


def _has_classes(splits: Splits) -> None:
    classes = splits.first[0].classes
    require(
        len(set(classes)) == len(classes) > 0 and all(classes),
        f"classes are {classes}, expected names, each once",
    )


def _loads_the_same_again(splits: Splits) -> None:
    pairs = zip(splits.first, splits.load(), strict=True)
    same = all(a.fingerprint == b.fingerprint for a, b in pairs)
    require(
        same,
        "loads other images, labels or another order the second time; sort files and fix the seed",
    )


def _splits_differ(splits: Splits) -> None:
    train, test = splits.first
    same = train.image_fingerprint == test.image_fingerprint
    require(not same, "the test images are the training images; return an empty test split instead")


RULES: Rules = {
    "images and labels have valid types and values": _has_images,
    "class names are unique and not empty": _has_classes,
    "both splits have the same classes and image shape": _splits_agree,
    "test images differ from the training images": _splits_differ,
    "loading twice gives the same images, labels and order": _loads_the_same_again,
}
