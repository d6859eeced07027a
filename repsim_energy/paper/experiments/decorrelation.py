"""Figure 6: trained first layers decorrelate places of an image that random ones do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from repsim_energy.models.layers import find_first_conv, read_filters
from repsim_energy.numerics.autocorrelation.autocorrelation import Autocorrelation, autocorrelation
from repsim_energy.numerics.profiles.theory import whitening_filters
from repsim_energy.paper.experiments.imagenet_models import KERNELS, pretrained
from repsim_energy.paper.figures import draw_curves, draw_map, new_figure
from repsim_energy.paper.outcome import Outcome
from repsim_energy.paper.setting import PATCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from repsim_energy.paper.setting import Setting

__all__ = ["run"]

MAX_SHIFT = 15
FAR = 10
"""The distance, in pixels, at which the paper quotes its numbers."""
FILTERS = 64
IMAGENET_IMAGES = 100
IMAGENET_DRAWS = 10

Measure = Callable[["Tensor"], Autocorrelation]
Found = dict[str, list[Autocorrelation]]


def run(setting: Setting) -> Outcome:
    """Measure pixels, random banks, trained banks and the exact whitening bank."""
    outcome = Outcome()
    found: dict[str, Found] = {}
    if setting.available(outcome, "cifar10"):
        found["cifar10"] = _cifar10(setting, outcome)
    if setting.available(outcome, "imagenet"):
        found["imagenet"] = _imagenet(setting, outcome)
    outcome.figure, panels = new_figure(max(1, 4 * len(found)), columns=4)
    for number, (source, curves) in enumerate(found.items()):
        kernel = 3 if source == "cifar10" else 7
        _add(outcome, source, curves, kernel)
        _keep(setting, outcome, source, curves)
        _draw(panels[4 * number : 4 * number + 4], source, curves)
    return outcome


def _cifar10(setting: Setting, outcome: Outcome) -> Found:
    """Return name -> autocorrelations; the moments of patches serve every bank."""
    data = setting.data("cifar10")
    lags = setting.lags(data.train, PATCH, MAX_SHIFT)
    networks, failures = setting.train([setting.scale.model("vgg11")], [data])
    outcome.failures += failures
    trained = [network.at("trained") for network in networks.values()]
    changes = [network.at("change") for network in networks.values()]
    whitening = whitening_filters(setting.basis(data.train))
    measure = lags.autocorrelation
    return {
        "RGB": [autocorrelation(data.train.images, max_shift=MAX_SHIFT)],
        "random": _each(measure, _random_banks(setting.scale.draws, lags.patch)),
        "trained": _each(measure, [bank for bank in trained if bank is not None]),
        "change": _each(measure, [bank for bank in changes if bank is not None]),
        "whitening": _each(measure, [whitening]),
    }


def _imagenet(setting: Setting, outcome: Outcome) -> Found:
    """Return name -> autocorrelations of the maps themselves: there are too many moments."""
    train = setting.data("imagenet").train
    images = train.images[:IMAGENET_IMAGES].float() / 255
    basis = setting.basis(train, (7, 7))

    def measure(bank: Tensor) -> Autocorrelation:
        return autocorrelation(F.conv2d(images, bank.float()), max_shift=MAX_SHIFT)

    networks = pretrained(setting, KERNELS[7], outcome).values()
    return {
        "RGB": [autocorrelation(images, max_shift=MAX_SHIFT)],
        "random": _each(measure, _random_banks(IMAGENET_DRAWS, basis.patch)),
        "trained": _each(measure, [read_filters(find_first_conv(net).module) for net in networks]),
        "whitening": _each(measure, [whitening_filters(basis)]),
    }


def _each(measure: Measure, banks: Sequence[Tensor]) -> list[Autocorrelation]:
    return [measure(bank) for bank in banks]


def _random_banks(draws: int, patch: tuple[int, int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(FILTERS, *patch, generator=generator) for _ in range(draws)]


def _curves(found: list[Autocorrelation]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.stack([each.curve.numpy() for each in found])


def _add(outcome: Outcome, source: str, found: Found, kernel: int) -> None:
    key = f"fig6/{source}"
    rgb = found["RGB"][0]
    note = f"horizontal shifts {rgb.horizontal[FAR]:.2f}, vertical {rgb.vertical[FAR]:.2f}"
    outcome.add(f"{source}: RGB at {FAR} pixels", rgb.curve[FAR], f"{key}/rgb", "", note)
    away = _curves(found["random"]) - rgb.curve.numpy()
    each = np.abs(away).max(1)
    worst = f"the worst is {each.max():.3f} away"
    outcome.add(
        f"{source}: random minus RGB, mean of the draws, largest over shifts",
        np.abs(away.mean(0)).max(),
        f"{key}/random",
        f"{len(each)} draws",
    )
    outcome.add(
        f"{source}: random minus RGB, each draw, largest over shifts",
        each,
        f"{key}/random",
        f"{len(each)} draws",
        worst,
    )
    for name in ("trained", "change"):
        if found.get(name):
            values = _curves(found[name])[:, FAR]
            outcome.add(
                f"{source}: {name} at {FAR} pixels",
                values,
                f"{key}/trained",
                f"{len(values)} networks",
            )
    whitening = found["whitening"][0].curve
    outcome.add(
        f"{source}: whitening, largest |C| from {kernel} pixels on", whitening[kernel:].abs().max()
    )
    outcome.add(f"{source}: whitening at {FAR} pixels", whitening[FAR], f"{key}/whitening")


def _keep(setting: Setting, outcome: Outcome, source: str, found: Found) -> None:
    banks = [(name, one) for name, several in found.items() for one in several]
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    along = {"horizontal": "autocorrelation_x", "vertical": "autocorrelation_y"}
    variables = {
        "autocorrelation": (("bank", "shift"), np.stack([c.curve.numpy() for _, c in banks])),
        **{
            name: (("bank", "shift"), np.stack([getattr(c, field).numpy() for _, c in banks]))
            for field, name in along.items()
        },
        "autocorrelation_map": (
            ("bank", "shift_y", "shift_x"),
            np.stack([c.map.numpy() for _, c in banks]),
        ),
    }
    coords: dict[str, Any] = {"bank": [name for name, _ in banks], "shift": range(MAX_SHIFT + 1)}
    coords |= {"shift_y": shifts, "shift_x": shifts}
    outcome.keep(source, setting.result(variables, coords, source))


def _draw(panels: Sequence[Axes], source: str, found: Found) -> None:
    curves = {name: _curves(several) for name, several in found.items() if several}
    draw_curves(
        panels[0], range(MAX_SHIFT + 1), curves, source, "shift (pixels)", "autocorrelation"
    )
    for axes, name in zip(panels[1:], ("RGB", "change", "whitening"), strict=True):
        several = found.get(name) or found["random"]
        draw_map(axes, several[0].map.numpy(), f"{source}: {name}", "shift (pixels)")
