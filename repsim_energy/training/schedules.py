"""Schedules of the step size."""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = ["RISE_FRACTION", "falling_in_steps", "rising_and_falling"]

RISE_FRACTION = 0.3
"""Fraction of the steps over which the step size of ``one_cycle`` rises."""


def rising_and_falling(lr: float, part: float, rise: float) -> float:
    """Return a step size that rises to ``lr`` in a straight line, and falls along half a cosine.

    Parameters
    ----------
    part : of the training that is done, from 0 to 1
    rise : the part over which it rises; 0 to start with ``lr``

    Examples
    --------
    >>> [round(rising_and_falling(1.0, part, rise=0.5), 2) for part in (0.25, 0.5, 0.75, 1)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if part < rise:
        return lr * part / rise
    return lr * (1 + math.cos(math.pi * (part - rise) / (1 - rise))) / 2


def falling_in_steps(
    lr: float, part: float, rise: float, milestones: Sequence[float], gamma: float
) -> float:
    """Return a step size that is multiplied by ``gamma`` at each milestone.

    Parameters
    ----------
    part : of the training that is done, from 0 to 1
    rise : the part over which it rises to ``lr`` first; 0 to start with ``lr``
    milestones : parts of the training

    Examples
    --------
    >>> [falling_in_steps(1.0, part, 0.0, (0.5, 0.75), 0.5) for part in (0.4, 0.6, 0.9)]
    [1.0, 0.5, 0.25]
    """
    passed = sum(part > milestone for milestone in milestones)
    return lr * min(1.0, part / rise if rise else 1.0) * gamma**passed
