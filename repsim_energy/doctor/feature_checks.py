"""Checks of CKA and its null interval, against their definitions."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.doctor import references
from repsim_energy.doctor.checks import Check, Deviations, on_device
from repsim_energy.doctor.inputs import features
from repsim_energy.interfaces import Activations
from repsim_energy.metrics.cka import LinearCKA
from repsim_energy.numerics.cka.hsic import Estimator, centered_gram, cka_from_grams
from repsim_energy.numerics.cka.mixed_precision import MAX_FLOAT32_ROWS
from repsim_energy.numerics.cka.null import INVARIANTS
from repsim_energy.numerics.cka.streaming import StreamingCKA, cka

__all__ = ["checks"]

Array = NDArray[np.float64]
Sizes = tuple[int, int, int]
Compute = Callable[[Tensor, Tensor, Estimator], float]

ESTIMATORS: tuple[Estimator, ...] = ("debiased", "biased")

NARROW, WIDE = (150, 20, 30), (140, 300, 200)
"""Samples, and features of two layers: fewer features than samples, or more."""

LARGE = (910, 140, 130)
"""Large enough for products in float32."""

BATCHES = 7

REPEATS = 2 * (MAX_FLOAT32_ROWS // LARGE[0] // 2 + 1)
"""Repetitions of the samples until sums in float32 are added to float64."""


def checks(device: torch.device) -> list[Check]:
    """Return the checks of CKA on a device."""
    ways: dict[str, tuple[Compute, list[Sizes]]] = {
        "whole": (_whole, [NARROW, WIDE]),
        "in batches": (_in_batches, [NARROW, LARGE]),
        "from Gram matrices": (_from_grams, [NARROW, WIDE]),
    }
    expected = "its definition in float64"
    listed = []
    for dtype, allowed in ((torch.float64, 1e-11), (torch.float32, 2e-7)):
        kind = str(dtype).removeprefix("torch.")
        for way, (compute, sizes) in ways.items():
            measure = partial(_measure, compute, sizes, dtype, device)
            listed.append(Check(f"CKA of {kind}, {way}", expected, allowed, measure))
    listed += [
        Check(
            "CKA of repeated samples",
            "CKA of the samples once",
            2e-7,
            partial(_repeated, device),
            all_threads=True,
        ),
        Check("CKA metric, summed over batches", expected, 2e-7, partial(_metric, device)),
    ]
    if device.type == "cpu":
        listed.append(
            Check("null interval of CKA", "all permutations of 6 samples", 1e-4, _null_interval)
        )
    return listed


def _measure(
    compute: Compute, sizes: list[Sizes], dtype: torch.dtype, device: torch.device
) -> Deviations:
    for size in sizes:
        x, y = (on_device(device, part).to(dtype) for part in features(*size))
        for estimator in ESTIMATORS:
            case = f"{estimator}, {size[0]} samples of {size[1]} and {size[2]} features"
            yield case, abs(compute(x, y, estimator) - _expected(size, estimator))


@cache
def _expected(size: Sizes, estimator: Estimator) -> float:
    return references.cka(*features(*size), estimator)


def _whole(x: Tensor, y: Tensor, estimator: Estimator) -> float:
    return cka(x, y, estimator=estimator)


def _in_batches(x: Tensor, y: Tensor, estimator: Estimator) -> float:
    moments = StreamingCKA()
    for rows in zip(x.chunk(BATCHES), y.chunk(BATCHES), strict=True):
        moments.update(*rows)
    return moments.cka(estimator)


def _from_grams(x: Tensor, y: Tensor, estimator: Estimator) -> float:
    return cka_from_grams(centered_gram(x), centered_gram(y), estimator)


def _repeated(device: torch.device) -> Deviations:
    """Repeating all samples does not change biased CKA."""
    repeated = [
        on_device(device, part).float().repeat(REPEATS // 2, 1) for part in features(*LARGE)
    ]
    moments = StreamingCKA().update(*repeated).update(*repeated)
    yield f"{REPEATS} times", abs(moments.cka("biased") - _expected(LARGE, "biased"))


def _metric(device: torch.device) -> Deviations:
    """Pass (n, c, h, w) activations in batches, in two memory layouts."""
    metric, (count, channels, side) = LinearCKA(batch=130), (260, 10, 4)
    x, y = features(count, channels * side**2, channels * side**2)
    batches = [(x[at : at + 130], y[at : at + 130]) for at in range(0, count, 130)]
    expected = references.cka_of_batches(batches, "debiased")
    for order in (torch.contiguous_format, torch.channels_last):
        stacks = []
        for part in zip(*batches, strict=True):
            maps = (on_device(device, rows).float().view(-1, channels, side, side) for rows in part)
            ordered = (m.contiguous(memory_format=order) for m in maps)
            stacks.append(np.stack([metric.represent(Activations(m)) for m in ordered]))
        yield str(order).removeprefix("torch."), abs(metric.compare(*stacks) - expected)


def _null_interval() -> Deviations:
    """Compare with the gamma distribution that has the moments of CKA over all permutations."""
    metric, rows = LinearCKA(), features(6, 40, 30)
    a, b = (metric.represent(Activations(torch.from_numpy(part))) for part in rows)
    k, m = (part[INVARIANTS:].reshape(6, 6) for part in (a, b))
    values = [(k * m[np.ix_(order, order)]).sum() for order in itertools.permutations(range(6))]
    correlations = np.array(values) / np.sqrt((k * k).sum() * (m * m).sum())
    yield "mean", abs(correlations.mean())
    spread = math.sqrt((correlations**2).mean())
    skewness = float((correlations**3).mean()) / spread**3
    for end, share in zip(metric.null_interval(a, b), (0.025, 0.975), strict=True):
        yield f"{share:.1%} below", abs(_gamma_cdf(end / spread, skewness) - share)


def _gamma_cdf(value: float, skewness: float) -> float:
    """Return the distribution function of a standardized gamma variable, by the midpoint rule."""
    shape = 4 / skewness**2
    end = math.copysign(1, skewness) * value * math.sqrt(shape) + shape
    edges = np.linspace(0, end, 100_001)
    middle = (edges[1:] + edges[:-1]) / 2
    density = np.exp((shape - 1) * np.log(middle) - middle - math.lgamma(shape))
    below = float(density.mean()) * end
    return below if skewness > 0 else 1 - below
