"""Share of filters that are localized and oriented, of learned, fixed and random filters.

The lecture says that first layers of convolutional networks are similar to one another and look
like wavelets. :func:`repsim_energy.wavelike` defines both properties and their thresholds.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.stats import binomtest

from repsim_energy.errors import RepsimWarning
from repsim_energy.experiments.figures import (
    draw_filters,
    draw_intervals,
    draw_points,
    scale_each,
)
from repsim_energy.experiments.lecture.filter_banks import SOURCES, Banks, strangers
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.setting import Missing
from repsim_energy.numerics.wavelike.measure import MAX_SPREAD, MIN_COHERENCE, wavelike
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import xarray as xr
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting

    Array = NDArray[np.float64]
    Measured = dict[str, Array]

__all__ = ["interval", "run"]

SHEETS = (
    "two_layer_cnn, cifar10, trained",
    "two_layer_cnn, mnist, trained",
    "crbm",
    "ICA filters",
    "gabor",
)
"""Banks that are drawn, by name."""

MAX_POINTS = 300
"""Filters of a bank drawn as points."""

SMALL_NOISE = (4_000, 3, 3, 3)
"""Shape of the noise that 3x3 filters are compared with."""


def run(setting: Setting) -> Outcome:
    """Measure all banks of one size, and the small filters of networks by other people."""
    outcome = Outcome()
    banks: Banks = {}
    for source in SOURCES:
        try:
            banks |= source(setting, outcome)
        except Missing as error:
            outcome.missing.append(str(error))
    measured = {name: _measure(repetitions) for name, repetitions in banks.items()}
    for name, numbers in measured.items():
        _add(outcome, name, numbers, banks[name])
    outcome.keep("", _result(setting, measured))
    _add_small(outcome)
    _draw(outcome, banks, measured)
    return outcome


def interval(passed: int, count: int) -> tuple[float, float]:
    """Return the 95% interval of Wilson for a share.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference";
    doi:10.1080/01621459.1927.10502953.

    Examples
    --------
    >>> low, high = interval(5, 10)
    >>> round(low, 3), round(high, 3)
    (0.237, 0.763)
    """
    found = binomtest(passed, count).proportion_ci(method="wilson")
    return float(found.low), float(found.high)


def _measure(repetitions: list[Array]) -> Measured:
    """Return the numbers of the filters of all repetitions. Zero filters are left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        numbers = wavelike(np.concatenate(repetitions))
    numbers["repetition"] = np.repeat(np.arange(len(repetitions)), [len(b) for b in repetitions])
    defined = np.isfinite(numbers["spread"])
    return {name: values[defined] for name, values in numbers.items()}


def _share_interval(numbers: Measured) -> tuple[float, float]:
    return interval(int(numbers["wavelike"].sum()), len(numbers["wavelike"]))


def _add(outcome: Outcome, name: str, numbers: Measured, bank: list[Array]) -> None:
    """Add the share of a bank: one value for each repetition, the interval for all together."""
    passed, repetition = numbers["wavelike"], numbers["repetition"]
    shares = [passed[repetition == number].mean() for number in np.unique(repetition)]
    low, high = _share_interval(numbers)
    note = (
        f"95% interval {low:.2f} to {high:.2f}; localized {numbers['localized'].mean():.2f}, "
        f"oriented {numbers['oriented'].mean():.2f} of {len(passed)} filters"
    )
    if left_out := sum(map(len, bank)) - len(passed):
        note += f", {left_out} zero filters left out"
    over = f"{len(shares)} seeds" if len(shares) > 1 else ""
    outcome.add(f"{name}: share localized and oriented", shares, over=over, note=note)


def _add_small(outcome: Outcome) -> None:
    """Add the two numbers of 3x3 filters, which are not judged, beside those of noise."""
    banks = {name: _measure(bank) for name, bank in strangers().items()}
    noise = _measure([np.random.default_rng(0).normal(size=SMALL_NOISE)])
    for number in ("spread", "coherence"):
        medians = [np.median(numbers[number]) for numbers in banks.values()]
        outcome.add(
            f"3x3 filters of other people's networks: median {number}",
            medians,
            over=f"{len(medians)} networks",
            note=f"white noise {np.median(noise[number]):.2f}; too small for a share",
        )


def _result(setting: Setting, measured: Mapping[str, Measured]) -> xr.Dataset:
    intervals = np.array([_share_interval(numbers) for numbers in measured.values()])
    bank = np.repeat(np.arange(len(measured)), [len(m["spread"]) for m in measured.values()])
    each = {
        name: np.concatenate([numbers[name] for numbers in measured.values()])
        for name in ("spread", "coherence", "repetition")
    }
    shares = [numbers["wavelike"].mean() for numbers in measured.values()]
    spread = "variance of the position, relative to equal weights"
    return setting.result(
        {
            "share": Variable(("bank",), shares, "share of filters localized and oriented"),
            "low": Variable(("bank",), intervals[:, 0], "lower end of its 95% interval"),
            "high": Variable(("bank",), intervals[:, 1], "upper end of its 95% interval"),
            "spread": Variable(("filter",), each["spread"], spread),
            "coherence": Variable(("filter",), each["coherence"], "coherence of the orientation"),
            "repetition": Variable(("filter",), each["repetition"], "number of the seed"),
            "bank_index": Variable(("filter",), bank, "index of the bank of a filter"),
        },
        {"bank": list(measured), "filter": list(range(len(bank)))},
    )


def _draw(outcome: Outcome, banks: Banks, measured: Mapping[str, Measured]) -> None:
    sheets = [name for name in SHEETS if name in banks]
    shares, points, *panels = outcome.panels(2 + len(sheets))
    rows = {
        name: (float(numbers["wavelike"].mean()), *_share_interval(numbers))
        for name, numbers in measured.items()
    }
    draw_intervals(shares, rows, "filters localized and oriented", "share, with 95% interval")
    groups = {
        name: (measured[name]["spread"][:MAX_POINTS], measured[name]["coherence"][:MAX_POINTS])
        for name in (*SHEETS, "pca", "white noise")
        if name in measured
    }
    draw_points(points, groups, "both: top left", "spread", "coherence")
    points.axvline(MAX_SPREAD, color="gray", linewidth=0.8)
    points.axhline(MIN_COHERENCE, color="gray", linewidth=0.8)
    for name, axes in zip(sheets, panels, strict=True):
        draw_filters(axes, scale_each(torch.from_numpy(banks[name][0])), name, limit=1.0)
