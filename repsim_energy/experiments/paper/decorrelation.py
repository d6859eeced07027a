"""Figure 6: trained first layers decorrelate the pixels of images, random ones do not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F

from repsim_energy.experiments.figures import draw_curves, draw_map
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.paper.imagenet_models import KERNELS, pretrained
from repsim_energy.experiments.setting import PATCH
from repsim_energy.models.filters.layers import find_first_conv, read_filters
from repsim_energy.numerics.autocorrelation.autocorrelation import Autocorrelation, autocorrelation
from repsim_energy.numerics.profiles.theory import whitening_filters
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from torch import Tensor

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

MAX_SHIFT = 15
FAR = 10
"""Distance in pixels at which the paper reports its numbers."""
FILTERS = 64
KERNEL_PIXELS = {"cifar10": 3, "imagenet": 7}
IMAGENET_IMAGES = 100
IMAGENET_DRAWS = 10

Measure = Callable[["Tensor"], Autocorrelation]
Measured = dict[str, list[Autocorrelation]]
"""RGB, random, trained, change or whitening -> autocorrelations."""


def run(setting: Setting) -> Outcome:
    """Measure pixels, random banks, trained banks and the exact whitening bank."""
    outcome = Outcome()
    measure = {"cifar10": _cifar10, "imagenet": _imagenet}
    sources = setting.available(outcome, *measure)
    panels = iter(outcome.panels(4 * len(sources), columns=4))
    for source in sources:
        measured = measure[source](setting, outcome)
        _add(outcome, source, measured, KERNEL_PIXELS[source])
        _keep(setting, outcome, source, measured)
        _draw(list(islice(panels, 4)), source, measured)
    return outcome


def _cifar10(setting: Setting, outcome: Outcome) -> Measured:
    """Measure all banks on the same autocovariance of patches."""
    data = setting.data("cifar10")
    autocovariance = setting.autocovariance(data.train, PATCH, MAX_SHIFT)
    networks, failures = setting.train([setting.scale.model("vgg11")], [data])
    outcome.failures += failures
    trained = [network.at("trained") for network in networks.values()]
    changes = [network.at("change") for network in networks.values()]
    whitening = whitening_filters(setting.basis(data.train))
    measure = autocovariance.autocorrelation
    return {
        "RGB": [autocorrelation(data.train.images, max_shift=MAX_SHIFT)],
        "random": _each(measure, _random_banks(setting.scale.draws, autocovariance.patch)),
        "trained": _each(measure, [bank for bank in trained if bank is not None]),
        "change": _each(measure, [bank for bank in changes if bank is not None]),
        "whitening": _each(measure, [whitening]),
    }


def _imagenet(setting: Setting, outcome: Outcome) -> Measured:
    """Measure the banks on their outputs; the autocovariance of 7x7 patches is too large."""
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


def _curves(several: list[Autocorrelation]) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.stack([each.curve.numpy() for each in several])


def _add(outcome: Outcome, source: str, measured: Measured, kernel: int) -> None:
    key = f"fig6/{source}"
    rgb = measured["RGB"][0]
    note = f"horizontal shifts {rgb.horizontal[FAR]:.2f}, vertical {rgb.vertical[FAR]:.2f}"
    outcome.add(f"{source}: RGB at {FAR} pixels", rgb.curve[FAR], key=f"{key}/rgb", note=note)
    away = _curves(measured["random"]) - rgb.curve.numpy()
    each, of_mean = np.abs(away).max(1), np.abs(away.mean(0)).max()
    for name, values, note in (
        ("mean of the draws", of_mean, ""),
        ("each draw", each, f"the worst is {each.max():.3f} away"),
    ):
        outcome.add(
            f"{source}: random minus RGB, {name}, largest over shifts",
            values,
            key=f"{key}/random",
            over=f"{len(each)} draws",
            note=note,
        )
    for name in ("trained", "change"):
        if measured.get(name):
            values = _curves(measured[name])[:, FAR]
            outcome.add(
                f"{source}: {name} at {FAR} pixels",
                values,
                key=f"{key}/trained",
                over=f"{len(values)} networks",
            )
    whitening = measured["whitening"][0].curve
    largest = whitening[kernel:].abs().max()
    outcome.add(f"{source}: whitening, largest |C| from {kernel} pixels on", largest)
    outcome.add(f"{source}: whitening at {FAR} pixels", whitening[FAR], key=f"{key}/whitening")


def _keep(setting: Setting, outcome: Outcome, source: str, measured: Measured) -> None:
    banks = [(name, one) for name, several in measured.items() for one in several]
    shifts = range(-MAX_SHIFT, MAX_SHIFT + 1)
    along = {
        "autocorrelation": ("curve", "spatial autocorrelation, mean of both axes"),
        "autocorrelation_x": ("horizontal", "spatial autocorrelation for horizontal shifts"),
        "autocorrelation_y": ("vertical", "spatial autocorrelation for vertical shifts"),
    }
    variables = {
        name: Variable(
            ("bank", "shift"), np.stack([getattr(c, field).numpy() for _, c in banks]), meaning
        )
        for name, (field, meaning) in along.items()
    }
    variables["autocorrelation_map"] = Variable(
        ("bank", "shift_y", "shift_x"),
        np.stack([c.map.numpy() for _, c in banks]),
        "spatial autocorrelation for shifts in the plane",
    )
    coords: dict[str, Any] = {"bank": [name for name, _ in banks], "shift": range(MAX_SHIFT + 1)}
    coords |= {"shift_y": shifts, "shift_x": shifts}
    outcome.keep(source, setting.result(variables, coords, source))


def _draw(panels: Sequence[Axes], source: str, measured: Measured) -> None:
    curves = {name: _curves(several) for name, several in measured.items() if several}
    draw_curves(
        panels[0], range(MAX_SHIFT + 1), curves, source, "shift (pixels)", "autocorrelation"
    )
    for axes, name in zip(panels[1:], ("RGB", "change", "whitening"), strict=True):
        several = measured.get(name) or measured["random"]
        draw_map(axes, several[0].map.numpy(), f"{source}: {name}", "shift (pixels)")
