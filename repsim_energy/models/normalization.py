"""Normalization of the images for given networks, parsed from text."""

from __future__ import annotations

import math
from typing import Literal

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Normalization

__all__ = ["NAMES", "parse_normalization"]

PUBLISHED = {
    "imagenet": Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar": Normalization((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
"""Means and standard deviations of the channels that most training scripts use."""

NAMES = ("auto", "none", *PUBLISHED, "dataset")


def parse_normalization(text: str, channels: int) -> Normalization | Literal["dataset"] | None:
    """Parse the normalization of images with pixels from 0 to 1, ``None`` for ``auto``.

    Parameters
    ----------
    text : ``none`` for unchanged images, ``imagenet``, ``cifar``, ``dataset`` for the mean and
        standard deviation of the data set, ``MEAN/STD`` such as ``0.5/0.5``, or a mean for each
        channel followed by a standard deviation for each: ``0.5/0.4/0.4/0.2/0.2/0.3``
    channels : of the images

    Raises
    ------
    UsageError
        If the text is none of these, or for another number of channels.

    Examples
    --------
    >>> parse_normalization("0.5/0.25", 3)
    Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25), reverse=False)
    """
    if text == "auto":
        return None
    if text == "dataset":
        return "dataset"
    if text == "none":
        return Normalization((0.0,) * channels, (1.0,) * channels)
    if text in PUBLISHED:
        if channels != 3:
            raise UsageError(
                f"got normalize={text} for images of {channels} channels, expected 3; use MEAN/STD"
            )
        return PUBLISHED[text]
    return _numbers(text, channels)


def _numbers(text: str, channels: int) -> Normalization:
    try:
        numbers = [float(part) for part in text.split("/")]
    except ValueError:
        numbers = []
    if len(numbers) == 2:
        numbers = [numbers[0]] * channels + [numbers[1]] * channels
    mean, std = tuple(numbers[:channels]), tuple(numbers[channels:])
    valid = len(numbers) == 2 * channels and all(map(math.isfinite, numbers))
    if not valid or not all(value > 0 for value in std):
        raise UsageError(
            f"got normalize={text}, expected {', '.join(NAMES)}, MEAN/STD, or {channels} means and "
            f"{channels} standard deviations above 0, joined by /"
        )
    return Normalization(mean, std)
