"""Best n-term approximation of piecewise smooth images, beside the rates of the theorem.

For images that are twice differentiable away from a twice differentiable edge, the squared error of
the best approximation by n terms falls as n^(-1/2) with waves, n^(-1) with wavelets, and
n^(-2) (log n)^3 with curvelets (Candes & Donoho, 2004, New tight frames of curvelets and optimal
representations of objects with piecewise C2 singularities).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from repsim_energy.experiments.figures import draw_curves
from repsim_energy.experiments.lecture.representations import (
    curvelet_errors,
    fourier_errors,
    wavelet_errors,
)
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.results import Variable

if TYPE_CHECKING:
    import xarray as xr

    from repsim_energy.experiments.setting import Setting

__all__ = ["cartoon", "fitted_rate", "run", "term_counts"]

Array = NDArray[np.float64]

SIZES = {"smoke": 256, "cpu": 512, "full": 1024}
"""Scale -> height and width of the images."""

WAVELETS = ("haar", "db2", "db4", "db8")

SUBPIXELS = 4
"""Points per pixel and direction whose mean is the pixel."""

METHODS: dict[str, Callable[[Array, NDArray[np.int64]], Array]] = {
    "fourier": fourier_errors,
    **{name: partial(wavelet_errors, wavelet=name) for name in WAVELETS},
    "curvelet": curvelet_errors,
}
"""Representation -> squared errors of the best approximations of an image by n terms."""

THEORY: dict[str, Callable[[Array], Array]] = {
    "fourier": lambda n: n**-0.5,
    **{wavelet: lambda n: n**-1.0 for wavelet in WAVELETS},
    "curvelet": lambda n: n**-2.0 * np.log(n) ** 3,
}
"""Representation -> squared error of n terms, up to a constant."""


def run(setting: Setting) -> Outcome:
    """Approximate cartoons, one for each seed, and fit the rates."""
    size = SIZES[setting.scale.name]
    terms = term_counts(size)
    images = [cartoon(size, seed) for seed in setting.seeds]
    errors = np.array(
        [
            [method(image, terms) / np.square(image).sum() for image in images]
            for method in METHODS.values()
        ]
    )
    rates = np.array([[fitted_rate(terms, one) for one in row] for row in errors])
    outcome = Outcome()
    for name, row, values in zip(METHODS, errors, rates, strict=True):
        _add(outcome, name, terms, row, values)
    difference = rates[-1] - rates[1:-1].min(0)
    note = "curvelets are steeper if negative"
    outcome.add("curvelets: exponent less the steepest of wavelets", difference, note=note)
    outcome.keep("", _result(setting, terms, errors, rates))
    _draw(outcome, terms, errors)
    return outcome


def _add(
    outcome: Outcome, name: str, terms: NDArray[np.int64], errors: Array, rates: Array
) -> None:
    """Add the exponent of a representation, beside the theory between the same numbers of terms."""
    theory = THEORY[name](terms.astype(np.float64))
    constant = float(np.exp(np.log(errors / theory).mean()))
    note = (
        f"theory {fitted_rate(terms, theory):.2f} between n = {terms[0]} and {terms[-1]}; "
        f"error / theory {constant:.2g}"
    )
    key = "" if name == "curvelet" else f"nterm/{name}"
    outcome.add(f"{name}: exponent of n", rates, key=key, over=f"{len(rates)} images", note=note)


def term_counts(size: int) -> NDArray[np.int64]:
    """Return the numbers of terms between which rates are fitted, for images of a size.

    With fewer than a tenth of the size, the smooth parts matter too. An edge crosses about one and
    a half times as many pixels as an image is wide; with more terms than the size, the finest
    wavelets along it run out, and errors fall faster than between images of points.
    """
    return np.unique(np.geomspace(size // 10, size, 8).astype(np.int64))


def fitted_rate(terms: NDArray[np.int64], errors: Array) -> float:
    """Return the exponent of the power of n that fits errors best, in logarithms."""
    return float(np.polyfit(np.log(terms), np.log(errors), 1)[0])


def cartoon(size: int, seed: int) -> Array:
    """Return a (size, size) image that is smooth inside and outside of a smooth closed edge.

    The edge is a circle whose radius has waves of two to four periods. Outside, the image vanishes
    smoothly towards its border, so that it may be repeated without an edge. Pixels are means over
    4x4 points.
    """
    random = np.random.default_rng(seed)
    places = (np.arange(size * SUBPIXELS) + 0.5) / (size * SUBPIXELS) * 2 - 1
    x, y = np.meshgrid(places, places)
    center = random.uniform(-0.1, 0.1, 2)
    angle = np.arctan2(y - center[1], x - center[0])
    radius = np.full_like(x, 0.5)
    for periods in (2, 3, 4):
        phase = random.uniform(0, 2 * np.pi)
        radius += random.normal(0, 0.12 / periods**1.5) * np.cos(periods * angle + phase)
    height, tilt, bend = random.normal(0, 0.3, 3)
    window = (np.cos(np.pi * x / 2) * np.cos(np.pi * y / 2)) ** 4
    inside = np.hypot(x - center[0], y - center[1]) < radius
    fine = window * (height + tilt * x) + inside * (1 + bend * x * y)
    pixels: Array = fine.reshape(size, SUBPIXELS, size, SUBPIXELS).mean((1, 3))
    return pixels


def _result(setting: Setting, terms: NDArray[np.int64], errors: Array, rates: Array) -> xr.Dataset:
    dims = ("representation", "seed")
    return setting.result(
        {
            "error": Variable((*dims, "terms"), errors, "squared error of n terms / squared image"),
            "exponent": Variable(dims, rates, "fitted power of the number of terms"),
        },
        {"representation": list(METHODS), "seed": list(setting.seeds), "terms": terms.tolist()},
    )


def _draw(outcome: Outcome, terms: NDArray[np.int64], errors: Array) -> None:
    (axes,) = outcome.panels(1)
    curves = dict(zip(METHODS, errors, strict=True))
    labels = ("number of terms", "squared error / squared image")
    draw_curves(axes, terms, curves, "best approximation", *labels, xscale="log", yscale="log")
