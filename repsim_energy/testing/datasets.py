"""The rules that a data set keeps to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from repsim_energy.interfaces import ImageSet
from repsim_energy.testing.contract import Finding, Rules, demand, hold

__all__ = ["check_dataset"]


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
    what = f"data set '{name or getattr(load, '__name__', type(load).__name__)}'"

    def splits() -> list[ImageSet]:
        return [load(split, **options) for split in ("train", "test")]

    first = hold(what, {"gives both splits": _gives_both}, splits)
    return first + hold(what, RULES, splits(), splits)


def _gives_both(splits: Callable[[], list[ImageSet]]) -> None:
    for split, found in zip(("train", "test"), splits(), strict=True):
        got = type(found).__name__
        demand(isinstance(found, ImageSet), f"gives {got} for '{split}', expected an ImageSet")


def _has_images(splits: list[ImageSet], _: object) -> None:
    demand(len(splits[0]) > 0, "the training split has no image; check the files and options")
    for images in splits:
        problem = images.problem()
        demand(problem is None, str(problem))


def _splits_agree(splits: list[ImageSet], _: object) -> None:
    train, test = splits
    demand(train.classes == test.classes, "the splits have different classes, or another order")
    if len(test):
        shapes = [tuple(images.images.shape[1:]) for images in splits]
        demand(shapes[0] == shapes[1], f"images are {shapes[0]} and {shapes[1]} in the two splits")


def _has_classes(splits: list[ImageSet], _: object) -> None:
    classes = splits[0].classes
    demand(
        len(set(classes)) == len(classes) > 0 and all(classes),
        f"classes are {classes}, expected names, each once",
    )


def _is_the_same_again(splits: list[ImageSet], load: Callable[[], list[ImageSet]]) -> None:
    same = [a.fingerprint == b.fingerprint for a, b in zip(splits, load(), strict=True)]
    demand(all(same), "gives other images, labels or order when asked again; sort and seed it")


def _splits_differ(splits: list[ImageSet], _: object) -> None:
    same = splits[0].image_fingerprint == splits[1].image_fingerprint
    demand(not same, "the test images are the training images; give none for no test split")


RULES: Rules = {
    "has images and labels of the right kind": _has_images,
    "names its classes": _has_classes,
    "has splits that belong together": _splits_agree,
    "has other images to test with": _splits_differ,
    "is the same every time": _is_the_same_again,
}
