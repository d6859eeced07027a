"""Mean, spread and extremes of the values of all pairs between groups, block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["PairMoments", "moments_of_pairs"]

BLOCK = 512
"""Members of a block. Values of two blocks with each other are in memory at a time."""

Numbers = NDArray[np.float64]
Values = Callable[[NDArray[np.int64], NDArray[np.int64]], Numbers]


class PairMoments(NamedTuple):
    """Values of the pairs between groups, each a symmetric (g, g) array.

    Parameters
    ----------
    n, missing : number of pairs that have a value, and of those that have none
    mean, spread : of the values; the standard deviation has n - 1 in the denominator. NaN for no
        pair, and a spread of fewer than two
    lowest, highest : of the values, NaN for no pair
    """

    n: NDArray[np.int64]
    missing: NDArray[np.int64]
    mean: Numbers
    spread: Numbers
    lowest: Numbers
    highest: Numbers


def moments_of_pairs(
    groups: NDArray[np.int64], count: int, values: Values, *, block: int = BLOCK
) -> PairMoments:
    r"""Return the moments of the values of all pairs of different members, by their groups.

    .. math:: M_{ab} = \frac{1}{n_{ab}} \sum_{i \in a,\, j \in b,\, i < j} S_{ij}

    Blocks are merged one after the other, so that memory does not grow with the number of pairs.
    Every pair is in one of them.

    Source: Chan, Golub and LeVeque (1983), "Algorithms for Computing the Sample Variance",
    equation 2.1; doi:10.1080/00031305.1983.10483115.

    Parameters
    ----------
    groups : (m,) group of each member, from 0
    count : number of groups
    values : members i and j -> (len(i), len(j)) symmetric values, NaN where there is none
    block : members of a block

    Examples
    --------
    >>> x = np.array([1.0, 2.0, 4.0])
    >>> found = moments_of_pairs(np.array([0, 0, 1]), 2, lambda i, j: np.outer(x[i], x[j]))
    >>> found.mean.tolist(), found.n.tolist()
    ([[2.0, 6.0], [6.0, nan]], [[1, 2], [2, 0]])
    """
    n, missing = np.zeros((2, count, count), dtype=np.int64)
    mean, squares = np.zeros((2, count, count))
    lowest, highest = np.full((count, count), np.inf), np.full((count, count), -np.inf)
    order = np.argsort(groups, kind="stable")  # members of a group follow each other
    blocks = [order[start : start + block] for start in range(0, len(order), block)]
    for number, first in enumerate(blocks):
        for second in blocks[number:]:
            found = values(first, second)
            pair = np.triu(np.ones(found.shape, dtype=bool), 1) if first is second else True
            known = np.isfinite(found) & pair
            rows, columns = _Cuts(groups[first]), _Cuts(groups[second])
            at = np.ix_(rows.names, columns.names)
            new = _sums(known.astype(np.int64), rows, columns)
            missing[at] += _sums((~known & pair).astype(np.int64), rows, columns)
            divisor = np.maximum(new, 1)
            own = _sums(np.where(known, found, 0.0), rows, columns) / divisor
            rest = found - own[np.ix_(rows.index, columns.index)]
            own_squares = _sums(np.where(known, rest, 0.0) ** 2, rows, columns)
            both, step = n[at] + new, own - mean[at]
            squares[at] += own_squares + step**2 * n[at] * new / np.maximum(both, 1)
            mean[at] += step * new / np.maximum(both, 1)
            n[at] = both
            low = _reduced(np.minimum, np.where(known, found, np.inf), rows, columns)
            high = _reduced(np.maximum, np.where(known, found, -np.inf), rows, columns)
            lowest[at], highest[at] = np.minimum(lowest[at], low), np.maximum(highest[at], high)
    return _symmetric(n, missing, mean, squares, lowest, highest)


class _Cuts:
    """Where the groups of the members of a block begin, and which they are."""

    def __init__(self, groups: NDArray[np.int64]) -> None:
        self.names, self.starts, self.index = np.unique(
            groups, return_index=True, return_inverse=True
        )


def _reduced(function: np.ufunc, values: NDArray[Any], rows: _Cuts, columns: _Cuts) -> NDArray[Any]:
    """Return the (rows, columns) values of pairs of members reduced to those of their groups."""
    inside: NDArray[Any] = function.reduceat(values, rows.starts, axis=0)
    return np.asarray(function.reduceat(inside, columns.starts, axis=1))


def _sums(values: NDArray[Any], rows: _Cuts, columns: _Cuts) -> NDArray[Any]:
    return _reduced(np.add, values, rows, columns)


def _symmetric(
    n: NDArray[np.int64],
    missing: NDArray[np.int64],
    mean: Numbers,
    squares: Numbers,
    lowest: Numbers,
    highest: Numbers,
) -> PairMoments:
    """Return the moments of both triangles, of which blocks have filled the upper one."""
    upper = np.triu(np.ones(n.shape, dtype=bool))
    spread = np.sqrt(np.where(n > 1, squares / np.maximum(n - 1, 1), np.nan))
    known = [np.where(n > 0, values, np.nan) for values in (mean, lowest, highest)]
    both = [np.where(upper, one, one.T) for one in (n, missing, known[0], spread, *known[1:])]
    return PairMoments(*both)
