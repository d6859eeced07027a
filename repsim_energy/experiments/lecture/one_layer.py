"""Accuracy of networks of which exactly one layer is trained, against the depth of that layer.

All other layers stay as initialized. The expressive power of the layers that follow predicts that
accuracy falls with depth (Raghu et al., 2017, On the expressive power of deep neural networks,
Figure 6).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import nn

from repsim_energy.errors import TrainingError, warn
from repsim_energy.experiments.figures import draw_curves
from repsim_energy.experiments.lecture.single_layers import layer_names, train_only
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.registry import resolve_model
from repsim_energy.results import Variable
from repsim_energy.training.build import build
from repsim_energy.training.device import choose_device
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.loop import evaluate
from repsim_energy.training.recipe import parse_recipe

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.interfaces import Dataset, ModelSpec

__all__ = ["depth_correlation", "run"]

Array = NDArray[np.float64]

NETWORKS = (("mlp", "mnist"), ("mlp", "cifar10"), ("vgg11", "cifar10"))
"""Architecture and its data set."""

WIDTHS = {"smoke": {"mlp": 0.1, "vgg11": 0.03125}, "cpu": {"vgg11": 0.25}}
"""Scale -> architecture -> factor of its width, by default 1."""

REFERENCES = ("all", "none")
"""Networks of which all layers, or none, are trained."""

LEAST_EQUAL = 4
"""Least number of layers with equally many parameters whose rank correlation is a row."""


@dataclass(frozen=True, eq=False)
class _Measured:
    """Accuracies of the networks of one architecture.

    Parameters
    ----------
    layers : names of the n layers
    parameters : (n + 2,) trained parameters, of each layer, of all and of none
    train, test : (n + 2, seeds) accuracy on training and on test images
    """

    layers: list[str]
    parameters: NDArray[np.int64]
    train: Array
    test: Array

    def equal_layers(self) -> NDArray[np.int64]:
        """Return the indices of the layers with the most common number of parameters."""
        sizes = self.parameters[: len(self.layers)]
        ((size, _),) = Counter(sizes.tolist()).most_common(1)
        return np.flatnonzero(sizes == size)


def run(setting: Setting) -> Outcome:
    """Train each layer of each architecture alone, all layers together, and none."""
    outcome = Outcome()
    available = setting.available(outcome, "mnist", "cifar10")
    cases = [case for case in NETWORKS if case[1] in available]
    for axes, (name, source) in zip(outcome.panels(len(cases)), cases, strict=True):
        spec = _spec(setting, name)
        try:
            measured = _measure(setting, outcome, spec, setting.data(source))
        except TrainingError as error:
            outcome.failures.append(str(error))
            continue
        outcome.keep(f"{name}_{source}", _result(setting, measured, source))
        _add(outcome, f"{name} on {source}", measured, setting.over)
        _draw(axes, f"{name} on {source}", measured)
    return outcome


def _spec(setting: Setting, name: str) -> ModelSpec:
    width = WIDTHS.get(setting.scale.name, {}).get(name)
    return resolve_model(setting.registry, name if width is None else f"{name}:width={width}")


def _measure(setting: Setting, outcome: Outcome, spec: ModelSpec, data: Dataset) -> _Measured:
    """Train the networks of an architecture, and add failed trainings to the outcome."""
    network = _new_network(spec, data, setting.seeds[0])
    layers = layer_names(network)
    models = [*(train_only(spec, layer) for layer in layers), spec]
    sizes = [
        sum(p.numel() for p in part.parameters())
        for part in (*map(network.get_submodule, layers), network)
    ]
    networks, failures = setting.train(models, [data])
    outcome.failures += failures
    train = np.full((len(models) + 1, len(setting.seeds)), np.nan)
    test = train.copy()
    for key, trained in networks.items():
        assert trained.run is not None
        place = (key.model, key.seed)
        train[place], test[place] = trained.run.history.train_accuracy, trained.run.test_accuracy
    for s, seed in enumerate(setting.seeds):
        train[-1, s], test[-1, s] = _untrained(setting, spec, data, seed)
    return _Measured(layers, np.array([*sizes, 0]), train, test)


def _new_network(spec: ModelSpec, data: Dataset, seed: int) -> nn.Module:
    network = build(spec, data, seed)
    assert isinstance(network, nn.Module)  # the architectures above are trained here
    return network


def _untrained(setting: Setting, spec: ModelSpec, data: Dataset, seed: int) -> tuple[float, float]:
    """Return the accuracy of a network before training on training and on test images."""
    network, recipe = _new_network(spec, data, seed), parse_recipe(setting.recipe)
    given = (normalization_of(data.train), choose_device(setting.device), recipe)
    (_, train), (_, test) = (evaluate(network, part, *given) for part in (data.train, data.test))
    return train, test


def depth_correlation(accuracy: Array, label: str = "accuracy") -> Array:
    """Return the rank correlation of accuracy with depth (Spearman), for each seed.

    Equal accuracies have the mean of their ranks.

    Parameters
    ----------
    accuracy : (n, seeds), layers from the first to the last
    label : of the accuracy, in warnings

    Returns
    -------
    (seeds,) numbers from -1, where accuracy falls with depth, to 1. NaN with a warning where all
    accuracies are equal, and NaN where one is.

    Examples
    --------
    >>> depth_correlation(np.array([[0.9, 0.1], [0.8, 0.3], [0.2, 0.2]])).tolist()
    [-1.0, 0.5]
    """
    found = np.full(accuracy.shape[1], np.nan)
    depth = np.arange(len(accuracy), dtype=np.float64)
    for s, values in enumerate(accuracy.T):
        if not np.isfinite(values).all():
            continue
        if (values == values[0]).all():
            warn(f"{label} is equal for all layers; its rank correlation with depth is NaN")
            continue
        found[s] = spearmanr(depth, values).statistic
    return found


def _result(setting: Setting, measured: _Measured, source: str) -> xr.Dataset:
    dims = ("trained", "seed")
    return setting.result(
        {
            "train_accuracy": Variable(
                dims, measured.train, "accuracy on training images, last epoch"
            ),
            "test_accuracy": Variable(
                dims, measured.test, "accuracy on test images after training"
            ),
            "trained_parameters": Variable(
                dims[:1], measured.parameters, "number of trained weights and biases"
            ),
        },
        {"trained": [*measured.layers, *REFERENCES], "seed": list(setting.seeds)},
        source,
    )


def _add(outcome: Outcome, label: str, measured: _Measured, over: str) -> None:
    """Add accuracies of the first, the middle and the last layer, and rank correlations."""
    names, count = [*measured.layers, *REFERENCES], len(measured.layers)
    rows = {"first layer": 0, "middle layer": (count - 1) // 2, "last layer": count - 1}
    rows |= {"all layers": count, "no layer": count + 1}
    for what, row in rows.items():
        note = f"on training images {np.nanmean(measured.train[row]):.3f}"
        if row < count:
            note = f"{names[row]}, {measured.parameters[row]} parameters; {note}"
        outcome.add(
            f"{label}: test accuracy, {what} trained", measured.test[row], over=over, note=note
        )
    groups: dict[str, Sequence[int]] = {"": range(count)}
    equal = measured.equal_layers()
    if LEAST_EQUAL <= len(equal) < count:
        groups[f", {len(equal)} layers of equal size"] = equal.tolist()
    for split, accuracy in {"train": measured.train, "test": measured.test}.items():
        for which, group in groups.items():
            name = f"{label}: rank correlation of {split} accuracy with depth{which}"
            values = depth_correlation(accuracy[group], name)
            outcome.add(name, values, over=over, note="-1 if accuracy falls with depth")


def _draw(axes: Axes, title: str, measured: _Measured) -> None:
    """Draw accuracy against depth; lines across show the networks trained in all or no layers."""
    depth = np.arange(1, len(measured.layers) + 1)
    for split, accuracy in {"train": measured.train, "test": measured.test}.items():
        style = {"train": "--", "test": "-"}[split]
        curve = {split: accuracy[: len(depth)].T}
        draw_curves(axes, depth, curve, title, "trained layer", "accuracy", style=style)
    for name, row in zip(REFERENCES, (-2, -1), strict=True):
        mean = float(np.nanmean(measured.test[row]))
        axes.axhline(
            mean,
            color="gray",
            linewidth=1,
            linestyle={"all": "-.", "none": ":"}[name],
            label=f"test, {name} trained",
        )
    axes.set_xticks(depth)
    axes.set_ylim(0, 1)
    axes.legend(fontsize="x-small", frameon=False)
