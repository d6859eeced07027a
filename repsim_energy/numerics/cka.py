"""Linear centred kernel alignment of two sets of features, whole or in batches."""

from __future__ import annotations

import math
import warnings
from typing import Literal

import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, UndefinedSimilarityWarning, UsageError

__all__ = ["CKAMoments", "Estimator", "centered_gram", "cka", "cka_from_grams", "cka_null_band"]

Estimator = Literal["debiased", "biased"]

ROUNDING = 64 * torch.finfo(torch.float64).eps
"""Deviations from the mean below this fraction of the mean are rounding, not variance."""


def cka(
    x: Tensor, y: Tensor, *, kernel: str = "linear", estimator: Estimator = "debiased"
) -> float:
    r"""Return the centred kernel alignment of two feature matrices of the same examples.

    .. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}
        {\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}},\qquad K = XX^\top,\; L = YY^\top

    ``biased`` uses :math:`\mathrm{HSIC} = \|Y^\top X\|_F^2` of centred features (0.80 for
    independent noise at n = 16 and 64 features), ``debiased`` the unbiased estimate of HSIC.

    Source: Kornblith et al. (2019), Equation 4; Song et al. (2012), Equation 5.

    Parameters
    ----------
    x, y : (n, d1) and (n, d2), row i of both from the same example
    kernel : ``linear``
    estimator : ``debiased`` (n >= 4) or ``biased`` (n >= 2)

    Returns
    -------
    A similarity: in [0, 1] when biased; the debiased one may be below 0 and is not clipped. NaN,
    with a warning, where a matrix has no variance or an estimated self-similarity is not positive.

    Raises
    ------
    ShapeError, DataError, UsageError
        For rows that do not match, too few rows, NaN or infinite values, unknown names.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0], [2, 1], [0, 3], [5, 1], [2, 2], [7, 0]])
    >>> round(cka(x, 3 * x), 12), round(cka(x, 3 * x, estimator="biased"), 12)
    (1.0, 1.0)
    """
    if kernel != "linear":
        raise UsageError(f"unknown kernel '{kernel}'; known: linear")
    return CKAMoments().update(x, y).cka(estimator)


class CKAMoments:
    r"""All that linear CKA needs of features that come in batches, exact for any split.

    Kept are the sums of x, y, their outer products and, for the debiased estimator, of
    :math:`\|x\|^2`, :math:`\|x\|^2 x` and the like: O(d²) memory, independent of n. Features are
    shifted by the mean of the first batch, so that a large offset costs no digits.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    >>> y = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    >>> moments = CKAMoments()
    >>> for rows in (slice(0, 7), slice(7, 20)):
    ...     _ = moments.update(x[rows], y[rows])
    >>> abs(moments.cka() - cka(x, y)) < 1e-12
    True
    """

    def __init__(self) -> None:
        self._count = 0
        self._shifts: tuple[Tensor, Tensor] | None = None
        self._products: dict[str, Tensor] = {}

    def update(self, x: Tensor, y: Tensor) -> CKAMoments:
        """Add a batch of (n, d1) and (n, d2) features and return self."""
        pair = _checked_features(x, y)
        if self._shifts is None:
            self._shifts = (pair[0].mean(0), pair[1].mean(0))
        x, y = (f - shift for f, shift in zip(pair, self._shifts, strict=True))
        p, q = x.square().sum(1), y.square().sum(1)
        batch = {
            "x": x.sum(0), "y": y.sum(0), "p": p.sum(), "q": q.sum(),
            "xx": x.T @ x, "yy": y.T @ y, "xy": x.T @ y,
            "px": p @ x, "py": p @ y, "qx": q @ x, "qy": q @ y,
            "pp": p @ p, "qq": q @ q, "pq": p @ q,
        }  # fmt: skip
        for key, value in batch.items():
            self._products[key] = self._products[key] + value if self._count else value
        self._count += len(x)
        return self

    def cka(self, estimator: Estimator = "debiased") -> float:
        """Return the CKA of everything seen so far."""
        _check_estimator(estimator, self._count)
        if not (self._varies("x") and self._varies("y")):
            return _ratio(0.0, 0.0, 0.0)
        return _ratio(*(self._hsic(a, b, estimator) for a, b in ("xy", "xx", "yy")))

    def _varies(self, a: str) -> bool:
        assert self._shifts is not None
        shift = self._shifts["xy".index(a)]
        deviation = self._products[a + a].diagonal() / self._count
        return bool((deviation > (ROUNDING * shift).square()).any())

    def _hsic(self, a: str, b: str, estimator: Estimator) -> float:
        """Return the estimate of HSIC up to a factor that depends on n alone."""
        s, n = self._products, self._count
        mean_a, mean_b = s[a] / n, s[b] / n
        cross = float((s[a + b] - n * torch.outer(mean_a, mean_b)).square().sum())
        if estimator == "biased":
            return cross
        norm = {"x": "p", "y": "q"}
        m_a, m_b = mean_a @ mean_a, mean_b @ mean_b
        p, q = s[norm[a]], s[norm[b]]
        sum_a, sum_b = p - n * m_a, q - n * m_b
        # The sum over examples of |a - mean|^2 |b - mean|^2, expanded in what was kept.
        both = (
            s[norm[a] + norm[b]]
            - 2 * (s[norm[a] + b] @ mean_b) + m_b * p
            - 2 * (s[norm[b] + a] @ mean_a) + m_a * q
            + 4 * (mean_a @ s[a + b] @ mean_b)
            - 3 * n * m_a * m_b
        )  # fmt: skip
        return _debiased(cross, float(both), float(sum_a), float(sum_b), n)


def centered_gram(features: Tensor) -> Tensor:
    r"""Return :math:`K = \tilde X \tilde X^\top` of centred features: (n, d) -> (n, n) float64.

    Examples
    --------
    >>> centered_gram(torch.tensor([[1.0], [3.0]]))
    tensor([[ 1., -1.],
            [-1.,  1.]], dtype=torch.float64)
    """
    gram = torch.zeros(len(features), len(features), dtype=torch.float64, device=features.device)
    for columns in features.split(4096, dim=1):  # a wide layer is never copied whole
        x, _ = _checked_features(columns, columns)
        mean = x.mean(0)
        x = x - mean
        x = x * (x.abs() > ROUNDING * mean.abs())
        gram += x @ x.T
    return gram


def cka_from_grams(gram_x: Tensor, gram_y: Tensor, estimator: Estimator = "debiased") -> float:
    """Return the linear CKA of two centred Gram matrices (n, n) of the same n examples.

    The same number as :func:`cka`; cheaper where there are more features than examples.
    """
    if gram_x.ndim != 2 or gram_x.shape != gram_y.shape or gram_x.shape[0] != gram_x.shape[1]:
        raise ShapeError(
            f"Gram matrices have shapes {tuple(gram_x.shape)} and {tuple(gram_y.shape)}, "
            "expected (n, n) twice; show both networks the same images"
        )
    _check_estimator(estimator, len(gram_x))
    return _ratio(
        *(
            _gram_hsic(a, b, estimator)
            for a, b in ((gram_x, gram_y), (gram_x, gram_x), (gram_y, gram_y))
        )
    )


def cka_null_band(
    gram_x: Tensor,
    gram_y: Tensor,
    estimator: Estimator = "debiased",
    *,
    shuffles: int = 100,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the central 95% of CKA when the examples of one network are shuffled.

    Shuffling keeps every property of either set of features and breaks what ties them together.
    """
    scale = math.sqrt(
        max(0.0, _gram_hsic(gram_x, gram_x, estimator))
        * max(0.0, _gram_hsic(gram_y, gram_y, estimator))
    )
    if scale == 0:
        return (math.nan, math.nan)
    generator = torch.Generator().manual_seed(seed)
    orders = (torch.randperm(len(gram_y), generator=generator) for _ in range(shuffles))
    values = torch.tensor([_gram_hsic(gram_x, gram_y[o][:, o], estimator) / scale for o in orders])
    low, high = values.double().quantile(torch.tensor([0.025, 0.975]).double()).tolist()
    return (low, high)


def _gram_hsic(a: Tensor, b: Tensor, estimator: str) -> float:
    cross, diag_a, diag_b = float(torch.vdot(a.flatten(), b.flatten())), a.diagonal(), b.diagonal()
    if estimator == "biased":
        return cross
    both = float(diag_a @ diag_b)
    return _debiased(cross, both, float(diag_a.sum()), float(diag_b.sum()), len(a))


def _debiased(cross: float, both: float, sum_a: float, sum_b: float, n: int) -> float:
    r"""Return n(n-3) HSIC_1 of centred linear kernels.

    Centring leaves HSIC_1 as it is, and makes the row sums of the kernels without their diagonal
    equal to minus the diagonal, which leaves three numbers of Song et al.'s Equation 5.
    """
    return cross - n / (n - 2) * both + sum_a * sum_b / ((n - 1) * (n - 2))


def _ratio(xy: float, xx: float, yy: float) -> float:
    if not (xx > 0 and yy > 0):
        warnings.warn(
            "a network's features have no variance (or too few examples to estimate it), their "
            "CKA is undefined and reported as NaN",
            UndefinedSimilarityWarning,
            stacklevel=3,
        )
        return math.nan
    return xy / math.sqrt(xx * yy)


def _checked_features(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise ShapeError(
            f"features have shapes {tuple(x.shape)} and {tuple(y.shape)}, expected (n, d1) and "
            "(n, d2) with one row per example; flatten them and show both the same examples"
        )
    x, y = x.detach().to(torch.float64), y.detach().to(torch.float64)
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise DataError("features hold NaN or infinite values, expected finite ones")
    return x, y


def _check_estimator(estimator: str, n: int) -> None:
    least = {"debiased": 4, "biased": 2}
    if estimator not in least:
        raise UsageError(f"unknown estimator '{estimator}'; known: biased, debiased")
    if n < least[estimator]:
        raise DataError(
            f"got {n} examples, expected at least {least[estimator]} for the {estimator} "
            "estimator; use more"
        )
