"""Transfer: linear classifiers of the largest responses of fixed, random and learned filters.

The two layers of the lecture: h = σ(W x + b) with a fixed W, where σ keeps the largest entries by
a hard or soft threshold, then a linear classifier of h, which alone is trained. Two questions:
which filters classify best at which share of entries, and does the energy similarity of filters
with learned ones predict it?
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from repsim_energy.errors import UsageError
from repsim_energy.experiments.figures import draw_curves
from repsim_energy.experiments.lecture.linear_classifier import bank_accuracy
from repsim_energy.experiments.lecture.transfer_banks import (
    WHOLE,
    crbm_bank,
    random_bank,
    whole_bank,
)
from repsim_energy.experiments.lecture.transfer_parts import (
    Parts,
    add_correlations,
    draw_parts,
    measure_parts,
    result_of_parts,
)
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.progress import working
from repsim_energy.results import Variable

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.interfaces import Dataset, PatchBasis

__all__ = ["run"]

Array = NDArray[np.float64]

PATCH = (5, 5)
"""Height and width of all filters, those of LeNet-5."""

SHARES: dict[str, tuple[float, ...]] = {
    "smoke": (0.1, 1.0),
    "cpu": (0.01, 0.03, 0.1, 0.3, 1.0),
    "full": (0.01, 0.03, 0.1, 0.3, 1.0),
}
"""Scale -> shares of the responses of an image that are kept, the last one all."""

CRBM_STEPS = {"smoke": 20, "cpu": 1000, "full": 5000}
"""Scale -> steps of a convolutional restricted Boltzmann machine."""

THRESHOLDS = ("hard", "soft")


class Learned(NamedTuple):
    """Filters of a trained network, and their change in training."""

    trained: Tensor
    change: Tensor


@dataclass(frozen=True, eq=False)
class Accuracies:
    """Accuracies of whole banks.

    Parameters
    ----------
    shares : of the responses that are kept
    values : name -> (seeds, thresholds, shares), NaN for seeds that a bank does not have
    filters : name -> number of filters
    """

    shares: Sequence[float]
    values: dict[str, Array]
    filters: dict[str, int]


def run(setting: Setting) -> Outcome:
    """Measure accuracy against sparsity, and compare it with energy similarity."""
    outcome = Outcome()
    data = setting.data("cifar10")
    basis = setting.basis(data.train, PATCH)
    learned = _learned(setting, data, outcome)
    accuracies = _accuracies(setting, data, basis, learned, outcome)
    parts = measure_parts(data, basis, learned.get("lenet5", []), outcome)
    for name in accuracies.values:
        _add(outcome, name, accuracies)
    add_correlations(outcome, parts)
    outcome.keep("accuracy", _result(setting, accuracies))
    outcome.keep("parts", result_of_parts(setting, parts))
    _draw(outcome, accuracies, parts)
    outcome.missing = list(dict.fromkeys(outcome.missing))
    return outcome


def _learned(setting: Setting, data: Dataset, outcome: Outcome) -> dict[str, list[Learned]]:
    """Train networks whose first layers have as many filters as a patch has numbers."""
    count = data.image_shape[0] * PATCH[0] * PATCH[1]
    models = [f"lenet5:style=modern:filters={count}", f"linear_cnn:kernel=5:filters={count}"]
    networks, outcome.failures = setting.train(models, [data])
    learned: dict[str, list[Learned]] = {}
    for key, network in sorted(networks.items()):
        trained, change = network.at("trained"), network.at("change")
        if trained is not None and change is not None and trained.isfinite().all():
            name = models[key.model].split(":")[0]
            learned.setdefault(name, []).append(Learned(trained, change))
    return learned


def _accuracies(
    setting: Setting,
    data: Dataset,
    basis: PatchBasis,
    learned: Mapping[str, Sequence[Learned]],
    outcome: Outcome,
) -> Accuracies:
    """Classify with all whole banks. Those without anything random have one value."""
    shares = SHARES[setting.scale.name]
    banks = {name: [bank] for name, bank in _available(WHOLE, basis, outcome)}
    banks["random"] = [random_bank(basis, seed) for seed in setting.seeds]
    steps = CRBM_STEPS[setting.scale.name]
    banks["crbm"] = [crbm_bank(data, basis, seed, steps) for seed in setting.seeds]
    banks |= {name: [one.trained for one in runs] for name, runs in learned.items()}
    values = {
        name: np.full((len(setting.seeds), len(THRESHOLDS), len(shares)), np.nan) for name in banks
    }
    total = sum(map(len, banks.values()))
    with working("classifying with whole banks", total, "banks") as advance:
        for name, several in banks.items():
            for seed, bank in enumerate(several):
                values[name][seed] = _curves(data, basis, bank, shares)
                advance(1)
    return Accuracies(shares, values, {name: len(several[0]) for name, several in banks.items()})


def _available(
    names: Sequence[str], basis: PatchBasis, outcome: Outcome
) -> Iterator[tuple[str, Tensor]]:
    """Yield the frames whose packages are installed; add the others to what is missing."""
    for name in names:
        try:
            yield name, whole_bank(name, basis)
        except UsageError as error:
            outcome.missing.append(str(error))


def _curves(data: Dataset, basis: PatchBasis, bank: Tensor, shares: Sequence[float]) -> Array:
    """Return the (thresholds, shares) accuracies. With all entries, both thresholds are equal."""
    hard = [bank_accuracy(data, bank, basis.mean, share) for share in shares]
    soft = [bank_accuracy(data, bank, basis.mean, share, soft=True) for share in shares[:-1]]
    return np.array([hard, [*soft, hard[-1]]])


def _add(outcome: Outcome, name: str, accuracies: Accuracies) -> None:
    """Add the accuracy with all responses; the note has those with thresholds, means over seeds."""
    values = accuracies.values[name]
    means = np.nanmean(values, axis=0) if np.isfinite(values).any() else values[0]
    curves = []
    for threshold, row in zip(THRESHOLDS, means, strict=True):
        points = zip(accuracies.shares[:-1], row[:-1], strict=True)
        curves.append(
            f"{threshold} {', '.join(f'{share:.0%} {mean:.3f}' for share, mean in points)}"
        )
    count = int(np.isfinite(values[:, 0, -1]).sum())
    over = f"{count} seeds" if count > 1 else ""
    note = f"{accuracies.filters[name]} filters; kept by thresholds: {'; '.join(curves)}"
    outcome.add(f"{name}: test accuracy, all responses", values[:, 0, -1], over=over, note=note)


def _result(setting: Setting, accuracies: Accuracies) -> xr.Dataset:
    dims = ("bank", "seed", "threshold", "share")
    values = np.stack(list(accuracies.values.values()))
    return setting.result(
        {
            "accuracy": Variable(dims, values, "accuracy on test images"),
            "filters": Variable(("bank",), list(accuracies.filters.values()), "number of filters"),
        },
        {
            "bank": list(accuracies.values),
            "seed": list(setting.seeds),
            "threshold": list(THRESHOLDS),
            "share": list(accuracies.shares),
        },
        "cifar10",
    )


def _draw(outcome: Outcome, accuracies: Accuracies, parts: Parts) -> None:
    *panels, last = outcome.panels(len(THRESHOLDS) + 1)
    for number, (axes, threshold) in enumerate(zip(panels, THRESHOLDS, strict=True)):
        labels = (f"{threshold} threshold", "share of responses kept", "test accuracy")
        for name, values in accuracies.values.items():
            curve = values[:, number]
            curves = {name: curve[np.isfinite(curve).all(1)]}
            style = "-" if name in WHOLE else "--"
            if len(curves[name]):
                draw_curves(axes, accuracies.shares, curves, *labels, style=style, xscale="log")
        axes.set_ylim(bottom=0)  # room for the legend
        axes.legend(fontsize="x-small", frameon=False, ncol=2, loc="lower right")
    draw_parts(last, parts)
