"""Half-samples of groups of images, orthogonal to each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_GROUPS", "group_count", "half_samples", "random_groups"]

MIN_GROUPS = 4
"""The smallest number of groups that has orthogonal half-samples."""


def group_count(most: int) -> int:
    """Return the largest number of groups up to ``most`` that has half-samples here, 0 for none.

    These are 4, 8, 12, 20, 24, 32, 44, 48, 60, ...: a prime of the form 4k + 3, plus 1.

    Examples
    --------
    >>> [group_count(most) for most in (3, 4, 19, 20, 100)]
    [0, 4, 12, 20, 84]
    """
    return next((n for n in range(most, MIN_GROUPS - 1, -1) if n % 4 == 0 and _prime(n - 1)), 0)


def _prime(number: int) -> bool:
    return number > 1 and all(number % d for d in range(2, int(number**0.5) + 1))


def half_samples(groups: int) -> NDArray[np.bool_]:
    r"""Return groups - 1 half-samples of a number of groups, which are orthogonal.

    .. math:: \sum_g \epsilon_{hg}\,\epsilon_{kg} = 0 \quad (h \ne k), \qquad
        \sum_g \epsilon_{hg} = 0

    with :math:`\epsilon = 1` for the groups of a half-sample and -1 for the others. For numbers
    :math:`x_g` with mean m, the means :math:`m_h` of the half-samples then have exactly

    .. math:: \frac{1}{G - 1}\sum_h (m_h - m)^2 = \frac{1}{G (G - 1)} \sum_g (x_g - m)^2

    which is the squared standard error of m. As many random half-samples would give it with an
    error. Signs alternate, so that the half-samples together use no group much more than another.

    Source: McCarthy (1969), "Pseudo-replication: half samples"; doi:10.2307/1402116.

    Source: Paley (1933), "On orthogonal matrices"; doi:10.1002/sapm1933121311.

    Parameters
    ----------
    groups : G, of :func:`group_count`

    Returns
    -------
    (G - 1, G) bool, True for the groups of a half-sample; each has G / 2

    Examples
    --------
    >>> half_samples(4).astype(int)
    array([[1, 0, 1, 0],
           [0, 0, 1, 1],
           [0, 1, 1, 0]])
    """
    q = groups - 1
    squares = np.isin(np.arange(q), np.unique(np.arange(1, q) ** 2 % q))
    shifted = squares[(np.arange(q) - np.arange(q)[:, None]) % q]
    halves = np.concatenate([shifted, np.ones((q, 1), dtype=bool)], axis=1)
    halves[::2] = ~halves[::2]
    return halves


def random_groups(count: int, groups: int) -> list[NDArray[np.int64]]:
    """Return the numbers from 0 to count - 1 in random groups of nearly equal size.

    The groups are the same each time, and the numbers of a group in ascending order.
    """
    order = np.random.default_rng(0).permutation(count)
    return [np.sort(part) for part in np.array_split(order, groups)]
