"""Figures 2 and 20: networks train as well with a frozen, random first layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.paper.figures import draw_curves, new_figure
from repsim_energy.paper.outcome import Outcome
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from repsim_energy.comparison.network import Network
    from repsim_energy.paper.setting import Setting

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


def run(setting: Setting) -> Outcome:
    """Train VGGs of four depths with a learned and with a frozen first layer."""
    outcome = Outcome()
    frozen = [":frozen=true", ""]
    models = [setting.scale.model(name, extra=extra) for name in DEPTHS for extra in frozen]
    networks, outcome.failures = setting.train(models, [setting.data("cifar10")], setting.seeds[:1])
    found = {models[m]: network for (_, m, _), network in networks.items()}
    for name, network in found.items():  # the training itself refuses to go on if it were not so
        assert not name.endswith(frozen[0]) or _unchanged(network)
    curves = {name: _curves(network) for name, network in found.items()}
    outcome.keep("", setting.result(*_variables(curves), "cifar10"))
    for depth in reversed(DEPTHS):
        pair = [setting.scale.model(depth, extra=extra) for extra in frozen]
        if all(name in curves for name in pair):
            _add(outcome, depth, *(curves[name] for name in pair))
    _draw(outcome, curves)
    return outcome


def _unchanged(network: Network) -> bool:
    return bool((network.filters["init"] == network.filters["trained"]).all())


def _curves(network: Network) -> dict[str, np.ndarray[Any, np.dtype[Any]]]:
    """Return the steps of the evaluations and the four curves at them.

    Those of the training are averages since the evaluation before.
    """
    assert network.run is not None
    history = network.run.history
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


def _variables(
    curves: dict[str, dict[str, Any]],
) -> tuple[dict[str, Variable], dict[str, list[str]]]:
    """Return the curves side by side, the shorter ones filled with NaN (steps with -1)."""
    longest = max(len(values[STEP]) for values in curves.values())
    variables = {}
    for name, meaning in {STEP: "gradient step of the evaluation", **CURVES}.items():
        filler = -1 if name == STEP else np.nan
        rows = [
            np.pad(v[name], (0, longest - len(v[name])), constant_values=filler)
            for v in curves.values()
        ]
        variables[name] = Variable(("model", "evaluation"), np.stack(rows), meaning)
    return variables, {"model": list(curves)}


def _add(outcome: Outcome, depth: str, frozen: dict[str, Any], learned: dict[str, Any]) -> None:
    for curve in ("training_accuracy", "validation_accuracy"):
        if len(frozen[curve]) and len(learned[curve]):
            last = [float(values[curve][-1]) for values in (frozen, learned)]
            note = f"frozen {last[0]:.3f}, learned {last[1]:.3f}"
            outcome.add(
                f"{depth}: {curve.replace('_', ' ')}, frozen minus learned",
                last[0] - last[1],
                f"fig2/{curve}",
                "",
                note,
            )


def _draw(outcome: Outcome, curves: dict[str, dict[str, Any]]) -> None:
    outcome.figure, panels = new_figure(len(CURVES), columns=2)
    for axes, curve in zip(panels, CURVES, strict=True):
        title = curve.replace("_", " ")
        for name, values in reversed(curves.items()):
            depth, _, options = name.partition(":")
            kind, style = ("frozen", "--") if "frozen" in options else ("learned", "-")
            shown = {f"{depth} {kind}": values[curve]}
            steps = values[STEP]
            draw_curves(axes, steps, shown, title, "iteration", title, style=style)
