"""Hard and soft thresholds, and those that keep the largest entries."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, UsageError
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.settings import own_settings

__all__ = ["hard_threshold", "keep_largest", "soft_threshold"]


def hard_threshold(values: Tensor, tau: float | Tensor) -> Tensor:
    r"""Return entries beyond a threshold as they are, and zero for the others.

    .. math:: \sigma(x; \tau) = \begin{cases} x & |x| > \tau \\ 0 & |x| \le \tau \end{cases}

    This is the standard function (Donoho and Johnstone 1994), which keeps the sign. Some texts
    print -x for x < -tau, which would be the absolute value.

    Source: Donoho and Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage";
    doi:10.1093/biomet/81.3.425.

    Parameters
    ----------
    values : of any shape
    tau : at least 0, in units of the values; a tensor is broadcast

    Examples
    --------
    >>> hard_threshold(torch.tensor([-3.0, -1.0, 0.5, 2.0]), 1.0)
    tensor([-3.,  0.,  0.,  2.])
    """
    return torch.where(values.abs() > tau, values, 0.0)


def soft_threshold(values: Tensor, tau: float | Tensor) -> Tensor:
    r"""Return entries moved towards zero by a threshold, and zero for those up to it.

    .. math:: \sigma(x; \tau) = \operatorname{sign}(x) \max(|x| - \tau, 0)
        = \arg\min_y \tfrac12 (y - x)^2 + \tau |y|

    Source: Donoho and Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage";
    doi:10.1093/biomet/81.3.425.

    Parameters
    ----------
    values : of any shape
    tau : at least 0, in units of the values; a tensor is broadcast

    Examples
    --------
    >>> soft_threshold(torch.tensor([-3.0, -1.0, 0.5, 2.0]), 1.0)
    tensor([-2.,  0.,  0.,  1.])
    """
    bound = torch.as_tensor(tau).to(values)
    return values - values.clamp(-bound, bound)


@takes_arrays
@own_settings()
def keep_largest(values: Tensor, count: int, *, soft: bool = False) -> Tensor:
    r"""Return each sample with its largest entries by absolute value alone, and zero elsewhere.

    With ``soft``, entries are also moved towards zero by the largest absolute value that is left
    out, which is the threshold :math:`\tau` of a sample:

    .. math:: y = \operatorname{sign}(x) \max(|x| - \tau, 0), \qquad
        \tau = |x|_{(\mathrm{count} + 1)}

    Without, the entries that are kept are unchanged, so that y is the best approximation of x with
    ``count`` entries.

    Source: Donoho and Johnstone (1994), "Ideal spatial adaptation by wavelet shrinkage";
    doi:10.1093/biomet/81.3.425, for both thresholds.

    Parameters
    ----------
    values : (n, ...), finite, one sample for each index of the first axis
    count : number of entries of a sample to keep, from 0 to all
    soft : whether to move the entries towards zero

    Returns
    -------
    (n, ...) Tensor
        Of the shape of the values. Exactly ``count`` entries of each sample are kept. Of equal
        absolute values, the first in the order of memory are kept; with ``soft`` they become zero,
        so that fewer may differ from zero.

    Raises
    ------
    ShapeError
        For values without an axis of samples.
    UsageError
        For another count.
    DataError
        For values that are complex or not finite, which have no order.

    Examples
    --------
    >>> values = torch.tensor([[3.0, -4.0, 1.0, 0.5]])
    >>> keep_largest(values, 2), keep_largest(values, 2, soft=True)
    (tensor([[ 3., -4.,  0.,  0.]]), tensor([[ 2., -3.,  0.,  0.]]))
    """
    if values.ndim < 2:
        raise ShapeError(
            f"got values of shape {tuple(values.shape)}, expected (n, ...) with one sample for "
            "each index of the first axis; add an axis"
        )
    if values.is_complex():
        raise DataError("got complex numbers, expected real ones; take the part that you mean")
    values = values.detach()
    values = values if values.is_floating_point() else values.double()
    flat = values.flatten(1)
    size = flat.shape[1]
    if not 0 <= count <= size:
        raise UsageError(f"got count={count}, expected a number from 0 to {size}, all entries")
    magnitudes = flat.abs()
    if magnitudes.numel() and not magnitudes.max().isfinite():
        raise DataError("got values that are NaN or infinite, expected finite ones; remove them")
    if count == size or len(flat) == 0:
        return values.clone()
    if soft:
        kept = soft_threshold(flat, _largest(magnitudes, count + 1))
    elif count == 0:
        kept = torch.zeros_like(flat)
    else:
        kept = torch.where(_first_largest(magnitudes, count), flat, 0.0)
    return kept.reshape(values.shape)


def _largest(magnitudes: Tensor, rank: int) -> Tensor:
    """Return the (n, 1) rank-th largest of the entries in each row, counted from 1."""
    place = magnitudes.shape[1] - rank
    array = magnitudes.cpu().double() if magnitudes.dtype == torch.bfloat16 else magnitudes.cpu()
    found = np.partition(array.numpy(), place, axis=1)[:, place : place + 1]
    return torch.from_numpy(found.copy()).to(magnitudes)


def _first_largest(magnitudes: Tensor, count: int) -> Tensor:
    """Return a mask of the largest entries of each row, of equal ones the first."""
    smallest = _largest(magnitudes, count)
    mask = magnitudes >= smallest
    for row in (mask.sum(1) > count).nonzero().flatten().tolist():
        equal = (magnitudes[row] == smallest[row]).nonzero().flatten()
        mask[row, equal[len(equal) - (int(mask[row].sum()) - count) :]] = False
    return mask
