"""Figures 2 and 20: networks train as well with a frozen, random first layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.experiments.figures import draw_curves
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.training.history import History

__all__ = ["run"]

DEPTHS = ("vgg19", "vgg16", "vgg13", "vgg11")
CURVES = {
    "training_loss": "training loss, mean since the evaluation before",
    "training_accuracy": "training accuracy, mean since the evaluation before",
    "validation_loss": "loss on test images",
    "validation_accuracy": "accuracy on test images",
}
"""Curve -> what it is."""

STEP = "evaluation_step"

Curves = Mapping[str, "NDArray[Any]"]
Case = tuple[str, bool]
"""Depth, and whether the first layer is frozen."""


def run(setting: Setting) -> Outcome:
    """Train VGGs of four depths with a learned and with a frozen first layer."""
    outcome = Outcome()
    specs = {
        (depth, frozen): setting.scale.model(depth, frozen=frozen)
        for depth in DEPTHS
        for frozen in (True, False)
    }
    cases, models = list(specs), list(specs.values())
    networks, outcome.failures = setting.train(models, [setting.data("cifar10")], setting.seeds[:1])
    curves = {
        cases[key.model]: _curves(network.run.history)
        for key, network in networks.items()
        if network.run is not None
    }
    coords = {"model": [specs[case] for case in curves]}
    outcome.keep("", setting.result(_variables(curves), coords, "cifar10"))
    for depth in reversed(DEPTHS):
        if (depth, True) in curves and (depth, False) in curves:
            _add(outcome, depth, curves[depth, True], curves[depth, False])
    _draw(outcome, curves)
    return outcome


def _curves(history: History) -> Curves:
    """Return the steps of the evaluations and the four curves at these steps.

    Training loss and accuracy are means since the previous evaluation.
    """
    loss, accuracy, steps = (
        values.numpy() for values in (history.loss, history.accuracy, history.evaluation_steps)
    )
    evaluations = history.evaluations.numpy()
    spans = [slice(a, b) for a, b in zip([0, *steps[:-1]], steps, strict=True)]
    return {
        STEP: steps,
        "training_loss": np.array([loss[span].mean() for span in spans]),
        "training_accuracy": np.array([accuracy[span].mean() for span in spans]),
        "validation_loss": evaluations[:, 0],
        "validation_accuracy": evaluations[:, 1],
    }


def _variables(curves: Mapping[Case, Curves]) -> dict[str, Variable]:
    """Return the curves as (model, evaluation), padded with NaN (steps with -1)."""
    longest = max(len(values[STEP]) for values in curves.values())
    variables = {}
    for name, meaning in {STEP: "gradient step of the evaluation", **CURVES}.items():
        padding = -1 if name == STEP else np.nan
        rows = [
            np.pad(v[name], (0, longest - len(v[name])), constant_values=padding)
            for v in curves.values()
        ]
        variables[name] = Variable(("model", "evaluation"), np.stack(rows), meaning)
    return variables


def _add(outcome: Outcome, depth: str, frozen: Curves, learned: Curves) -> None:
    for curve in ("training_accuracy", "validation_accuracy"):
        if len(frozen[curve]) and len(learned[curve]):
            last = [float(values[curve][-1]) for values in (frozen, learned)]
            outcome.add(
                f"{depth}: {curve.replace('_', ' ')}, frozen minus learned",
                last[0] - last[1],
                key=f"fig2/{curve}",
                note=f"frozen {last[0]:.3f}, learned {last[1]:.3f}",
            )


def _draw(outcome: Outcome, curves: dict[Case, Curves]) -> None:
    for axes, curve in zip(outcome.panels(len(CURVES), columns=2), CURVES, strict=True):
        title = curve.replace("_", " ")
        for (depth, frozen), values in reversed(curves.items()):
            kind, style = ("frozen", "--") if frozen else ("learned", "-")
            line = {f"{depth} {kind}": values[curve]}
            steps = values[STEP]
            draw_curves(axes, steps, line, title, "iteration", title, style=style)
