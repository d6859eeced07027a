"""The rules that a data set keeps to."""

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
    """Hold a data set to what training and comparing need of it; both splits are loaded twice.

    Parameters
    ----------
    load : ``callable(split, **options)``
    name : what to call it; by default the callable's own name
    options : as a user would give them, such as where the files are

    Raises
    ------
    RuleViolation
        Which rules are broken, and what to do about each.
    """

    def splits() -> list[ImageSet]:
        return [load(split, **options) for split in ("train", "test")]

    what = display_name("data set", load, name)
    warn_of_undescribed_options(what, load, 1)
    return check_splits(what, Splits(splits))


@dataclass(frozen=True, eq=False)
class Splits:
    """What loads the training and the test split, and what it gave first."""

    load: Callable[[], list[ImageSet]]

    @cached_property
    def first(self) -> list[ImageSet]:
        """Both splits, loaded once."""
        return self.load()


def check_splits(what: str, splits: Splits) -> list[Finding]:
    """Do what :func:`check_dataset` does with splits that come together."""
    both = check_rules(what, {"loads a training and a test split": _gives_both}, splits)
    return both + check_rules(what, RULES, splits)


def _gives_both(splits: Splits) -> None:
    for split, found in zip(("train", "test"), splits.first, strict=True):
        got = type(found).__name__
        require(isinstance(found, ImageSet), f"gives {got} for '{split}', expected an ImageSet")


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


def _is_the_same_again(splits: Splits) -> None:
    pairs = zip(splits.first, splits.load(), strict=True)
    same = all(a.fingerprint == b.fingerprint for a, b in pairs)
    require(same, "gives other images, labels or order when asked again; sort and seed it")


def _splits_differ(splits: Splits) -> None:
    train, test = splits.first
    same = train.image_fingerprint == test.image_fingerprint
    require(not same, "the test images are the training images; give none for no test split")


RULES: Rules = {
    "images and labels have valid types and values": _has_images,
    "class names are unique and not empty": _has_classes,
    "both splits have the same classes and image shape": _splits_agree,
    "test images differ from the training images": _splits_differ,
    "loading twice gives the same images, labels and order": _is_the_same_again,
}
