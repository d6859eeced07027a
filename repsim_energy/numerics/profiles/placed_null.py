"""Null intervals of filters that are smaller than the patches they are compared on."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

from repsim_energy.numerics.profiles.placements import windows
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from repsim_energy.interfaces import PatchBasis

__all__ = ["DRAWS", "correlation_interval", "white_profiles"]

DRAWS = 1000
"""Drawn profiles of each network. The ends of an interval of 95% then have a standard error of
about 0.07 standard deviations."""

MAX_MOMENTS, MAX_BANKS = 2**25, 2**23
"""Numbers of the two largest temporary arrays. Banks are drawn again for each part of moments."""


@own_settings()
def white_profiles(
    basis: PatchBasis,
    count: int,
    kernel: tuple[int, int, int],
    dilation: tuple[int, int] = (1, 1),
    *,
    draws: int = DRAWS,
    seed: int = 0,
) -> NDArray[np.float64]:
    r"""Return energy profiles of banks of independent normal weights at all places of a patch.

    .. math:: e_i^2 = \operatorname{tr}(S M_i), \qquad
        M_i = \frac1P \sum_p u_i^{(p)} u_i^{(p)\top}

    S is the mean of w wᵀ over the filters of a bank, and :math:`u_i^{(p)}` the part of a component
    that a filter at the place p sees.

    Parameters
    ----------
    count : filters of a bank
    kernel : channels, rows and columns that they see
    dilation : rows and columns from one pixel that filters see to the next

    Returns
    -------
    (draws, r) float64
    """
    size = math.prod(kernel)
    squares = torch.empty(draws, len(basis.components), dtype=torch.float64)
    step, at_once = (
        max(1, MAX_MOMENTS // size**2),
        max(1, MAX_BANKS // (size * max(size, count))),
    )
    for start in range(0, len(basis.components), step):
        some = slice(start, start + step)
        seen = windows(basis.components[some], basis, kernel, dilation)
        moments = (seen @ seen.mT / seen.shape[2]).flatten(1)
        generator = torch.Generator().manual_seed(seed)  # the same banks for all components
        for first in range(0, draws, at_once):
            n = min(at_once, draws - first)
            banks = torch.randn(n, count, size, generator=generator, dtype=torch.float64)
            second = (banks.mT @ banks / count).flatten(1)
            squares[first : first + n, some] = second @ moments.T
    profiles: NDArray[np.float64] = squares.clamp_min(0).sqrt().numpy()
    return profiles


def correlation_interval(
    a: NDArray[np.float64], b: NDArray[np.float64], level: float = 0.95
) -> tuple[float, float]:
    """Return the central interval of the correlations of drawn profiles.

    Parameters
    ----------
    a, b : (draws, r) profiles of two networks; those of one draw are compared. Components that are
        not finite in all of them are left out
    """
    known = np.isfinite(a).all(0) & np.isfinite(b).all(0)
    if known.sum() < 3:
        return (np.nan, np.nan)
    x, y = (one[:, known] - one[:, known].mean(1, keepdims=True) for one in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        norms = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
        correlations = (x * y).sum(1) / norms
    low, high = np.nanquantile(correlations, [0.5 - level / 2, 0.5 + level / 2]).tolist()
    return (low, high)
