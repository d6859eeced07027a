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
    demand,
    hold,
    say_what_is_undescribed,
    titled,
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
    ContractError
        Which rules are broken, and what to do about each.
    """

    def splits() -> list[ImageSet]:
        return [load(split, **options) for split in ("train", "test")]

    what = titled("data set", load, name)
    say_what_is_undescribed(what, load, 1)
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
    both = hold(what, {"gives both splits": _gives_both}, splits)
    return both + hold(what, RULES, splits)


def _gives_both(splits: Splits) -> None:
    for split, found in zip(("train", "test"), splits.first, strict=True):
        got = type(found).__name__
        demand(isinstance(found, ImageSet), f"gives {got} for '{split}', expected an ImageSet")


def _has_images(splits: Splits) -> None:
    demand(len(splits.first[0]) > 0, "the training split has no image; check the files and options")
    for images in splits.first:
        problem = images.problem()
        demand(problem is None, str(problem))


def _splits_agree(splits: Splits) -> None:
    train, test = splits.first
    demand(train.classes == test.classes, "the splits have different classes, or another order")
    if len(test):
        shapes = [tuple(images.images.shape[1:]) for images in (train, test)]
        demand(shapes[0] == shapes[1], f"images are {shapes[0]} and {shapes[1]} in the two splits")


def _has_classes(splits: Splits) -> None:
    classes = splits.first[0].classes
    demand(
        len(set(classes)) == len(classes) > 0 and all(classes),
        f"classes are {classes}, expected names, each once",
    )


def _is_the_same_again(splits: Splits) -> None:
    pairs = zip(splits.first, splits.load(), strict=True)
    same = all(a.fingerprint == b.fingerprint for a, b in pairs)
    demand(same, "gives other images, labels or order when asked again; sort and seed it")


def _splits_differ(splits: Splits) -> None:
    train, test = splits.first
    same = train.image_fingerprint == test.image_fingerprint
    demand(not same, "the test images are the training images; give none for no test split")


RULES: Rules = {
    "has images and labels of the right kind": _has_images,
    "names its classes": _has_classes,
    "has splits that belong together": _splits_agree,
    "has other images to test with": _splits_differ,
    "is the same every time": _is_the_same_again,
}
