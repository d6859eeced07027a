"""Linear CKA of two sets of features, all at once or in batches."""

from __future__ import annotations

import torch
from torch import Tensor

from repsim_energy.errors import ShapeError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.cka.hsic import (
    Estimator,
    centered_gram,
    check_estimator,
    check_rows,
    cka_from_grams,
    cka_from_hsic,
    debiased_hsic,
    relative_rounding,
)
from repsim_energy.numerics.cka.mixed_precision import (
    RowProducts,
    as_floating,
    fits_float32,
    row_lengths,
    typical_row,
)
from repsim_energy.numerics.features import check_finite
from repsim_energy.numerics.settings import own_settings

__all__ = ["StreamingCKA", "Estimator", "cka"]

CHUNK_ROWS = 2048
"""Rows that are multiplied at once."""

MIN_SELF_SIMILARITY = {torch.float32: 1e-5, torch.float64: 1e-11}
"""A debiased self-similarity below this fraction of the biased one is rounding, by the dtype of the
products (measured: 8e-7 and 2e-14)."""


@takes_arrays
@own_settings()
def cka(x: Tensor, y: Tensor, *, estimator: Estimator = "debiased") -> float:
    r"""Return the linear centered kernel alignment of two sets of features of the same samples.

    .. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}
        {\sqrt{\mathrm{HSIC}(K, K)\,\mathrm{HSIC}(L, L)}},\qquad K = XX^\top,\; L = YY^\top

    ``biased`` takes :math:`\mathrm{HSIC} = \|Y^\top X\|_F^2` of centered features, which gives 0.80
    for independent noise with n = 16 samples of 64 features. ``debiased`` takes the unbiased
    estimate of HSIC.

    Source: Kornblith, Norouzi, Lee and Hinton (2019), "Similarity of Neural Network Representations
    Revisited", Equation 4; arXiv:1905.00414.

    Source: Song, Smola, Gretton, Bedo and Borgwardt (2012), "Feature Selection via Dependence
    Maximization", Equation 5; https://jmlr.org/papers/v13/song12a.html.

    Parameters
    ----------
    x, y : (n, d1) and (n, d2), row i of both from the same sample
    estimator : ``debiased`` (n >= 4) or ``biased`` (n >= 2)

    Returns
    -------
    float
        In [0, 1] if biased. The debiased one can be negative and is not clipped. NaN, with a
        warning, for constant features, and where an estimated self-similarity is not positive
        beyond rounding. That is also the debiased one of features that differ for one sample
        alone, because it leaves out the products of a sample with itself.

    Raises
    ------
    ShapeError
        For features that are not (n, d1) and (n, d2).
    DataError
        For too few samples, complex features, NaN or infinite values.
    UsageError
        For an unknown estimator.

    Warns
    -----
    UndefinedSimilarityWarning
        Where CKA is NaN.

    Examples
    --------
    >>> x = torch.tensor([[1.0, 0], [2, 1], [0, 3], [5, 1], [2, 2], [7, 0]])
    >>> round(cka(x, 3 * x), 12), round(cka(x, 3 * x, estimator="biased"), 12)
    (1.0, 1.0)
    """
    check_rows(x, y)
    check_estimator(estimator, len(x))
    if _grams_are_cheaper(len(x), x.shape[1], y.shape[1]):
        return cka_from_grams(centered_gram(x), centered_gram(y), estimator)
    return StreamingCKA().update(x, y).cka(estimator)


def _grams_are_cheaper(n: int, d1: int, d2: int) -> bool:
    """Compare the multiplications of both ways: symmetric products take 0.6 of a whole one.

    Gram matrices also have to be brought into memory, which costs a fifth more.
    """
    return 0.75 * n * (d1 + d2) < 0.6 * (d1 * d1 + d2 * d2) + d1 * d2


class StreamingCKA:
    r"""Sums over batches of features, from which linear CKA follows exactly.

    The sums are those of x, y, their outer products and, for the debiased estimator, of
    :math:`\|x\|^2`, :math:`\|x\|^2 x` and similar terms. They take O(d²) memory, independent of the
    number of samples, and do not depend on the split into batches beyond rounding. The mean of the
    first batch is subtracted from all features, so that a large offset costs no precision.

    Examples
    --------
    >>> generator = torch.Generator().manual_seed(0)
    >>> x = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    >>> y = torch.randn(20, 4, generator=generator, dtype=torch.float64)
    >>> moments = StreamingCKA()
    >>> for rows in (slice(0, 7), slice(7, 20)):
    ...     _ = moments.update(x[rows], y[rows])
    >>> abs(moments.cka() - cka(x, y)) < 1e-12
    True
    """

    def __init__(self) -> None:
        self._count = 0
        self._rounding = [0.0, 0.0]
        self._multiplied_in = torch.float64
        self._shifts: tuple[Tensor, Tensor] | None = None
        self._waiting: list[tuple[Tensor, Tensor]] = []
        self._sums: dict[str, Tensor] = {}
        self._products = {
            pair: RowProducts(symmetric=pair != "xy", repeated=True) for pair in ("xx", "yy", "xy")
        }

    @takes_arrays
    @own_settings()
    def update(self, x: Tensor, y: Tensor) -> StreamingCKA:
        """Add a batch of features, and return self.

        Parameters
        ----------
        x, y : (n, d1) and (n, d2), row i of both from the same sample; d1 and d2 as in the
            batches before

        Raises
        ------
        ShapeError
            For features of other shapes.
        DataError
            For complex features, NaN or infinite values.
        """
        check_rows(x, y)
        if len(x) == 0:
            return self
        self._rounding = [
            max(r, relative_rounding(f)) for r, f in zip(self._rounding, (x, y), strict=True)
        ]
        x, y = as_floating(x), as_floating(y)
        check_finite(x)
        check_finite(y)
        if self._shifts is None:
            self._shifts = (typical_row(x), typical_row(y))
        for features, shift in zip((x, y), self._shifts, strict=True):
            if features.shape[1] != len(shift):
                raise ShapeError(
                    f"a batch has {features.shape[1]} features, expected {len(shift)} as in the "
                    "batches before; flatten all in the same way"
                )
        for a, b in zip(x.split(CHUNK_ROWS), y.split(CHUNK_ROWS), strict=True):
            self._waiting.append((a - self._shifts[0], b - self._shifts[1]))
            if sum(len(rows) for rows, _ in self._waiting) >= CHUNK_ROWS:
                self._multiply()
        self._count += len(x)
        return self

    @own_settings()
    def cka(self, estimator: Estimator = "debiased") -> float:
        """Return the linear CKA of all batches so far, as :func:`~repsim_energy.cka` does.

        Parameters
        ----------
        estimator : ``debiased`` or ``biased``

        Raises
        ------
        DataError
            For too few samples.
        UsageError
            For an unknown estimator.
        """
        check_estimator(estimator, self._count)
        self._multiply()
        if not (self._varies("x") and self._varies("y")):
            return cka_from_hsic(0.0, 0.0, 0.0)
        return cka_from_hsic(*(self._hsic(a, b, estimator) for a, b in ("xy", "xx", "yy")))

    def _multiply(self) -> None:
        """Add the rows that have been received since the last call to the sums."""
        if not self._waiting:
            return
        x, y = (
            torch.cat(parts) if len(parts) > 1 else parts[0]
            for parts in zip(*self._waiting, strict=True)
        )
        self._waiting = []
        p, q = row_lengths(x), row_lengths(y)
        if x.dtype != y.dtype or not (fits_float32(p) and fits_float32(q)):
            x, y = x.double(), y.double()
            p, q = row_lengths(x), row_lengths(y)
        if x.dtype == torch.float32:
            self._multiplied_in = torch.float32
        p, q = p.double().square(), q.double().square()
        self._products["xx"].add(x, x)
        self._products["yy"].add(y, y)
        self._products["xy"].add(x, y)
        weights = torch.stack((torch.ones_like(p), p, q)).to(x.dtype)
        of_x, of_y = ((weights @ f).double() for f in (x, y))
        batch = {
            "x": of_x[0],
            "y": of_y[0],
            "p": p.sum(),
            "q": q.sum(),
            "px": of_x[1],
            "py": of_y[1],
            "qx": of_x[2],
            "qy": of_y[2],
            "pp": p @ p,
            "qq": q @ q,
            "pq": p @ q,
        }
        self._sums = {key: self._sums.get(key, 0) + value for key, value in batch.items()}

    def _varies(self, a: str) -> bool:
        assert self._shifts is not None
        side = "xy".index(a)
        shift, rounding = self._shifts[side].double(), self._rounding[side]
        deviation = self._products[a + a].diagonal() / self._count
        return bool((deviation > (rounding * shift).square()).any())

    def _hsic(self, a: str, b: str, estimator: Estimator) -> float:
        """Return the estimate of HSIC up to a factor that depends on n alone."""
        s, n, products = self._sums, self._count, self._products[a + b]
        mean_a, mean_b = s[a] / n, s[b] / n
        cross = products.squared_norm(n * mean_a, mean_b)
        if estimator == "biased":
            return cross
        norm = {"x": "p", "y": "q"}
        m_a, m_b = mean_a @ mean_a, mean_b @ mean_b
        p, q = s[norm[a]], s[norm[b]]
        sum_a, sum_b = p - n * m_a, q - n * m_b
        # The sum over samples of |a - mean|^2 |b - mean|^2, expanded in the sums.
        both = (
            s[norm[a] + norm[b]]
            - 2 * (s[norm[a] + b] @ mean_b)
            + m_b * p
            - 2 * (s[norm[b] + a] @ mean_a)
            + m_a * q
            + 4 * products.bilinear(mean_a, mean_b)
            - 3 * n * m_a * m_b
        )
        hsic = debiased_hsic(cross, float(both), float(sum_a), float(sum_b), n)
        is_rounding = a == b and hsic <= MIN_SELF_SIMILARITY[self._multiplied_in] * cross
        return 0.0 if is_rounding else hsic
