"""Parts of frames: their accuracy, beside their energy similarity with learned filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, spearmanr

from repsim_energy.errors import UsageError
from repsim_energy.experiments.lecture.linear_classifier import bank_accuracy
from repsim_energy.experiments.lecture.transfer_banks import parts_of_frames
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.numerics.profiles.energy import energy_profile, profile_similarities
from repsim_energy.progress import working
from repsim_energy.results import Variable

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from torch import Tensor

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.interfaces import Dataset, PatchBasis

__all__ = [
    "Parts",
    "add_correlations",
    "draw_parts",
    "measure_parts",
    "rank_correlation",
    "result_of_parts",
]

Array = NDArray[np.float64]

PART_SHARE = 0.1
"""Share of the responses that is kept, besides all of them."""

MIN_PAIRS = 4
"""Pairs from which a correlation has an interval."""


@dataclass(frozen=True, eq=False)
class Parts:
    """Accuracy of parts of frames, and what may predict it.

    Parameters
    ----------
    frames, names : of each part
    filters : number of filters
    accuracy : (parts, 2), with the share ``PART_SHARE`` and with all responses
    similarity : (parts, 2), energy similarity with trained filters and with their change, means
        over seeds
    variance : (parts,), mean variance of the responses of filters of norm 1
    """

    frames: list[str]
    names: list[str]
    filters: list[int]
    accuracy: Array
    similarity: Array
    variance: Array


def measure_parts(
    data: Dataset,
    basis: PatchBasis,
    learned: Sequence[tuple[Tensor, Tensor]],
    outcome: Outcome,
) -> Parts:
    """Classify with equally large parts of frames, and measure what may predict the accuracy.

    Parameters
    ----------
    learned : trained filters and their change, for each seed
    outcome : receives what is missing
    """
    frames, names, banks = [], [], []
    for frame, name, build in parts_of_frames(basis.patch[0]):
        try:
            banks.append(build(basis))
        except UsageError as error:
            outcome.missing.append(str(error))
            continue
        frames.append(frame)
        names.append(name)
    accuracy = np.empty((len(banks), 2))
    with working("classifying with parts of frames", len(banks), "parts") as advance:
        for row, bank in zip(accuracy, banks, strict=True):
            row[:] = [bank_accuracy(data, bank, basis.mean, share) for share in (PART_SHARE, 1.0)]
            advance(1)
    profiles = np.stack([energy_profile(bank, basis) for bank in banks])
    similarity = np.stack(
        [
            _mean_similarity(profiles, [energy_profile(one[kind], basis) for one in learned])
            for kind in range(2)
        ],
        axis=1,
    )
    squares = np.square(profiles)
    variance = squares @ basis.eigenvalues.numpy() / squares.sum(1)
    sizes = [len(bank) for bank in banks]
    return Parts(frames, names, sizes, accuracy, similarity, variance)


def _mean_similarity(profiles: Array, references: Sequence[Array]) -> Array:
    """Return the mean correlation of each profile with the references; NaN without any."""
    if not references:
        return np.full(len(profiles), np.nan)
    count = len(profiles)
    correlations = profile_similarities(np.concatenate([profiles, np.stack(references)]))
    means: Array = correlations[:count, count:].mean(1)
    return means


def rank_correlation(a: Array, b: Array) -> tuple[float, float, float, int]:
    r"""Return Spearman's rank correlation, its 95% interval, and the number of pairs.

    .. math:: \tanh\left(\operatorname{artanh} r \pm 1.96 \sqrt{\frac{1 + r^2/2}{n - 3}}\right)

    Pairs with NaN are left out. Fewer than four pairs, or a constant, give NaN.

    Source: Bonett and Wright (2000), "Sample size requirements for estimating Pearson, Kendall and
    Spearman correlations"; doi:10.1007/BF02294183.

    Examples
    --------
    >>> values = np.arange(10.0)
    >>> r, low, high, n = rank_correlation(values, values % 7)
    >>> round(r, 3), round(low, 3), round(high, 3), n
    (0.159, -0.526, 0.719, 10)
    """
    known = np.isfinite(a) & np.isfinite(b)
    n = int(known.sum())
    if n < MIN_PAIRS or np.ptp(a[known]) == 0 or np.ptp(b[known]) == 0:
        return np.nan, np.nan, np.nan, n
    r = float(spearmanr(a[known], b[known]).statistic)
    half = norm.ppf(0.975) * np.sqrt((1 + r**2 / 2) / (n - 3))
    with np.errstate(divide="ignore"):
        low, high = np.tanh(np.arctanh(r) + np.array([-half, half]))
    return r, float(low), float(high), n


def add_correlations(outcome: Outcome, parts: Parts) -> None:
    """Add the rank correlations of accuracy with energy similarity and, beside it, variance."""
    predictors = {
        "energy similarity with trained filters": parts.similarity[:, 0],
        "energy similarity with their change": parts.similarity[:, 1],
        "variance of the responses": parts.variance,
    }
    for kept, accuracy in zip((f"{PART_SHARE:.0%}", "all"), parts.accuracy.T, strict=True):
        for name, values in predictors.items():
            r, low, high, n = rank_correlation(values, accuracy)
            outcome.add(
                f"parts of frames, {kept} kept: rank correlation of accuracy and {name}",
                r,
                over=f"{n} parts",
                note=f"95% interval {low:.2f} to {high:.2f}",
            )


def result_of_parts(setting: Setting, parts: Parts) -> xr.Dataset:
    """Return the measurements as a result."""
    dims = ("part",)
    return setting.result(
        {
            "frame": Variable(dims, parts.frames, "frame that the part is of", ""),
            "filters": Variable(dims, parts.filters, "number of filters"),
            "accuracy": Variable((*dims, "share"), parts.accuracy, "accuracy on test images"),
            "similarity": Variable(
                (*dims, "learned"), parts.similarity, "energy similarity with learned filters"
            ),
            "variance": Variable(
                dims, parts.variance, "mean variance of the responses of filters of norm 1"
            ),
        },
        {"part": parts.names, "share": [PART_SHARE, 1.0], "learned": ["trained", "change"]},
        "cifar10",
    )


def draw_parts(axes: Axes, parts: Parts) -> None:
    """Draw accuracy over energy similarity, with a color for each frame."""
    for number, frame in enumerate(dict.fromkeys(parts.frames)):
        rows = [row for row, name in enumerate(parts.frames) if name == frame]
        x, y = parts.similarity[rows, 0], parts.accuracy[rows, 0]
        axes.scatter(x, y, 18, marker="osD^vPX*<>"[number % 10], label=frame)
    r, low, high, n = rank_correlation(parts.similarity[:, 0], parts.accuracy[:, 0])
    axes.set(
        title=f"{n} parts of frames: r = {r:.2f} ({low:.2f} to {high:.2f})",
        xlabel="energy similarity with learned filters",
        ylabel=f"test accuracy, {PART_SHARE:.0%} kept",
    )
    axes.legend(fontsize="x-small", frameon=False)
