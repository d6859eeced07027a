"""P-values of many tests, corrected for their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.errors import DataError, unknown_name

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["METHODS", "adjusted"]

METHODS = ("holm", "bh")


def adjusted(p: NDArray[np.float64], method: str) -> NDArray[np.float64]:
    r"""Return p-values corrected for their number.

    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1)\, p_{(j)}) \quad\text{(Holm)},
        \qquad \tilde p_{(i)} = \min_{j \ge i} \min(1, m\, p_{(j)} / j)
        \quad\text{(Benjamini-Hochberg)}

    Source: Holm (1979), "A Simple Sequentially Rejective Multiple Test Procedure", Scandinavian
    Journal of Statistics 6:65; Benjamini and Hochberg (1995), "Controlling the False Discovery
    Rate", doi:10.1111/j.2517-6161.1995.tb02031.x.

    Parameters
    ----------
    p : (n,); NaN is returned as NaN and does not count as a test
    method : ``holm`` or ``bh``

    Raises
    ------
    DataError
        For numbers outside of [0, 1].
    """
    if method not in METHODS:
        raise unknown_name("method", str(method), METHODS)
    out = np.full(p.shape, np.nan)
    known = ~np.isnan(p)
    if known.any() and not 0 <= p[known].min() <= p[known].max() <= 1:
        raise DataError(
            f"got p-values from {p[known].min():.3g} to {p[known].max():.3g}, expected 0 to 1"
        )
    if known.any():
        out[known] = _holm(p[known]) if method == "holm" else _benjamini_hochberg(p[known])
    return out


def _holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(p, kind="stable")
    raised = np.minimum(1.0, np.arange(len(p), 0, -1) * p[order])
    out = np.empty_like(p)
    out[order] = np.maximum.accumulate(raised)
    return out


def _benjamini_hochberg(p: NDArray[np.float64]) -> NDArray[np.float64]:
    order = np.argsort(-p, kind="stable")
    raised = np.minimum(1.0, p[order] * (len(p) / np.arange(len(p), 0, -1)))
    out = np.empty_like(p)
    out[order] = np.minimum.accumulate(raised)
    return out
