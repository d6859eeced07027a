"""Reliability of one filter bank: split halves of its filters, and the influence of each filter."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.given_metric import as_metric
from repsim_energy.comparison.stacks import values_in_stacks
from repsim_energy.errors import RepsimWarning, UndefinedSimilarityWarning, UsageError, warn
from repsim_energy.interfaces import FilterBank, Metric, PatchBasis
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.profiles.energy import check_filters, profile_of_power, responses
from repsim_energy.numerics.settings import own_settings
from repsim_energy.registry import load_registry

__all__ = [
    "SPLITS",
    "filter_influence",
    "has_reliability",
    "parts_of",
    "prepared_filters",
    "reliability",
    "split_half_reliability",
]

SPLITS = 100
"""Random splits of the filters that a reliability is the mean of."""

AT_ONCE = 2**22
"""Responses of parts of the filters that are gathered at once, which bounds the memory."""

Numbers = NDArray[np.float64]


@takes_arrays
@own_settings()
def split_half_reliability(
    filters: Tensor,
    basis: PatchBasis,
    metric: str | Metric = "energy",
    *,
    splits: int = SPLITS,
) -> float:
    r"""Return how similar a filter bank would be to another one drawn from the same law.

    .. math:: \rho = \frac{2 \bar r}{1 + \bar r}

    (Spearman-Brown) with the mean similarity :math:`\bar r` of random halves of the filters. If the
    K filters are independent draws, :math:`\rho` is the similarity to expect of two banks of K such
    filters: a ceiling for the similarity with any other bank, from one network without seeds. The
    similarity of two banks a and b relative to it is :math:`r_{ab} / \sqrt{\rho_a \rho_b}`.

    Source: Spearman (1910), "Correlation calculated from faulty data";
    doi:10.1111/j.2044-8295.1910.tb00206.x.

    Source: Brown (1910), "Some experimental results in the correlation of mental abilities";
    doi:10.1111/j.2044-8295.1910.tb00207.x.

    Parameters
    ----------
    filters : (k, c, kh, kw)
    basis : principal components of patches of the same shape
    metric : on filters, as of :func:`compare`; a similarity whose highest value is 1
    splits : number of random splits, the same ones each time. Of an odd number of filters, a random
        one is left out of each

    Returns
    -------
    float
        At most 1. NaN, with an :class:`UndefinedSimilarityWarning`, for a single filter, and if the
        similarity of halves is undefined.

    Raises
    ------
    UsageError
        For a metric on activations, a distance, or no splits.
    ShapeError
        For filters of another shape than the patches.
    PluginError
        For a metric of a plugin that breaks a rule.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> generator = torch.Generator().manual_seed(0)
    >>> basis = rs.patch_moments(torch.rand(20, 1, 8, 8, generator=generator), (3, 3)).basis()
    >>> scales = torch.linspace(1, 3, 9).reshape(3, 3)
    >>> bank = scales * torch.randn(64, 1, 3, 3, generator=generator)
    >>> 0.5 < rs.split_half_reliability(bank, basis) < 1
    True
    """
    if splits < 1:
        raise UsageError(f"got splits={splits}, expected at least 1, such as {SPLITS}")
    resolved = _on_filters(metric)
    if not has_reliability(resolved):
        raise UsageError(
            f"got metric '{resolved.name}', a {resolved.direction} with bounds {resolved.bounds}, "
            "expected a similarity whose highest value is 1; use another metric"
        )
    check_filters(filters, basis)
    bank = prepared_filters(resolved, filters.detach().cpu())
    value = reliability(resolved, len(bank), parts_of(bank, basis), splits)
    if math.isnan(value):
        warn(
            f"the similarity of halves of {len(bank)} filters is undefined, and their reliability "
            "is reported as NaN",
            UndefinedSimilarityWarning,
        )
    return value


def has_reliability(metric: Metric) -> bool:
    """Return whether a metric is a similarity that is 1 for a bank and itself."""
    return metric.direction == "similarity" and metric.bounds[1] == 1


def parts_of(filters: Tensor, basis: PatchBasis) -> Callable[[Tensor], Iterator[FilterBank]]:
    """Return a function from (n, s) numbers of filters to the n banks of s of them.

    Parameters
    ----------
    filters : (k, c, kh, kw) as the metric compares them
    """
    power = responses(filters, basis).square()  # so that profiles of parts are means of rows

    def banks(parts: Tensor) -> Iterator[FilterBank]:
        for some in parts.split(max(1, AT_ONCE // (parts.shape[1] * power.shape[1]))):
            profiles = profile_of_power(power[some], filters.dtype)
            for part, profile in zip(filters[some], profiles, strict=True):
                yield FilterBank(part, basis, profile)

    return banks


def reliability(
    metric: Metric,
    count: int,
    parts: Callable[[Tensor], Iterable[FilterBank]],
    splits: int = SPLITS,
) -> float:
    """Return the reliability of a filter bank by a metric that has one.

    Parameters
    ----------
    count : number of filters
    parts : returns banks of some of them, as :func:`parts_of`
    """
    size = count // 2
    if not size:
        return float("nan")
    random = np.random.default_rng(0)
    orders = np.stack([random.permutation(count) for _ in range(splits)])
    halves = torch.from_numpy(orders[:, : 2 * size].reshape(2 * splits, size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        represented = [metric.represent(bank) for bank in parts(halves)]
        pairs = list(zip(represented[::2], represented[1::2], strict=True))
        mean = float(np.mean(values_in_stacks(metric, pairs, [0], [1])))
    return 2 * mean / (1 + mean) if mean > -1 else float("nan")


@takes_arrays
@own_settings()
def filter_influence(
    filters: Tensor,
    basis: PatchBasis,
    other: Tensor | None = None,
    metric: str | Metric = "energy",
) -> Numbers:
    """Return how much each filter of a bank changes a similarity.

    With another bank V, it is S(W, V) - S(W without filter k, V): positive for a filter that makes
    the banks more similar. Without one, it is S(W, W) - S(W without filter k, W), which is 1 - r of
    the profiles with and without the filter: how much of the bank's own profile rests on it.

    Parameters
    ----------
    filters : (k, c, kh, kw), at least two
    basis : principal components of patches of the same shape
    other : (m, c, kh, kw) the other bank
    metric : on filters, as of :func:`compare`

    Returns
    -------
    (k,) float64, NaN where a similarity is undefined. Of a metric that leaves filters out, such as
    ``energy:norm=unit`` those that are zero, it is 0 for these.

    Raises
    ------
    UsageError
        For a metric on activations, or fewer than two filters.
    ShapeError
        For filters of another shape than the patches.
    PluginError
        For a metric of a plugin that breaks a rule.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> generator = torch.Generator().manual_seed(0)
    >>> basis = rs.patch_moments(torch.rand(20, 1, 8, 8, generator=generator), (3, 3)).basis()
    >>> bank = torch.randn(16, 1, 3, 3, generator=generator)
    >>> bank[5] *= 10
    >>> int(rs.filter_influence(bank, basis).argmax())
    5
    """
    check_filters(filters, basis)
    resolved, bank = _on_filters(metric), filters.detach().cpu()
    if len(bank) < 2:
        raise UsageError(f"got {len(bank)} filters, expected at least two, to leave one out")

    def represent(some: Tensor) -> Numbers:
        return resolved.represent(FilterBank(some, basis))

    whole = represent(bank)
    against = whole if other is None else represent(other.detach().cpu())
    similarity = resolved.compare(whole, against)
    rest = (torch.cat([bank[:k], bank[k + 1 :]]) for k in range(len(bank)))
    return np.array([similarity - resolved.compare(represent(some), against) for some in rest])


def prepared_filters(metric: Metric, filters: Tensor) -> Tensor:
    """Return filters as a metric compares them, such as divided by their norms."""
    prepare = getattr(metric, "prepare", None)
    prepared: Tensor = filters if prepare is None else prepare(filters)
    return prepared


def _on_filters(metric: str | Metric) -> Metric:
    """Return a metric on filters."""
    resolved = as_metric(load_registry(), metric).metric
    if resolved.operates_on != "filters":
        raise UsageError(
            f"got metric '{resolved.name}', which compares activations, expected one on filters, "
            "such as energy"
        )
    return resolved
