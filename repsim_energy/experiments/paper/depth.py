"""Beyond the paper: profiles of all convolutions, for whether whitening goes on in depth."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison import make_plan
from repsim_energy.comparison.activations import CONVS
from repsim_energy.comparison.layer_patches import filter_layers, measure_bases
from repsim_energy.comparison.layer_profiles import LayerProfile, layer_profiles
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.experiments.figures import draw_curves
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.results import Variable

if TYPE_CHECKING:
    import xarray as xr

    from repsim_energy.comparison.network import Network
    from repsim_energy.comparison.plan import Key, Plan
    from repsim_energy.experiments.setting import Setting

__all__ = ["interval_of", "run"]

STAGES = ("init", "trained", "change")

MAX_IMAGES = 1000
"""Training images that networks are shown."""

SHORTCUT = "downsample"
"""Part of the names of 1x1 convolutions beside blocks, which are not averaged with the others."""

SUMMARIZED = {
    "theory_correlation": "r of the change with theory",
    "whitening_exponent": "whitening exponent of the change",
    "whitened_components": "components that its theoretical profile has whitened",
}
"""Variable -> its name in the report."""

Profiles = Mapping[str, Mapping[str, LayerProfile]]
"""Stage -> layer -> its profile."""


def run(setting: Setting) -> Outcome:
    """Measure every convolution of VGG11 and ResNet18, before and after training."""
    outcome = Outcome()
    data = setting.data("cifar10")
    models = [setting.scale.model("vgg11"), setting.scale.model("resnet18")]
    plan = make_plan(
        setting.registry, models, [data], setting.seeds, setting.recipe, setting.device
    )
    networks, failures = setting.train_plan(plan)
    outcome.failures += failures
    images = data.train.images[balanced_prefix(data.train.labels, MAX_IMAGES)]
    panels = outcome.panels(2 * len(models), columns=2)
    for m, model in enumerate(models):
        seeds = {key: network for key, network in networks.items() if key.model == m}
        if not seeds:
            continue
        name = model.partition(":")[0]
        measured = [_profiles(plan, key, one, images) for key, one in seeds.items()]
        result = outcome.keep(name, _result(setting, measured, [plan.seeds[k.seed] for k in seeds]))
        _add(outcome, name, result, setting.over)
        for number, (variable, label) in enumerate(
            (("whitening_exponent", "whitening exponent"), ("theory_correlation", "r with theory"))
        ):
            curves = {stage: result[variable].sel(stage=stage).values for stage in STAGES}
            depth = np.arange(1, result.sizes["layer"] + 1)
            draw_curves(panels[2 * m + number], depth, curves, name, "convolution", label)
    return outcome


def _profiles(plan: Plan, key: Key, network: Network, images: Tensor) -> Profiles:
    """Return the profiles of every convolution of a network at each stage.

    At ``init``, the patches are those of the untrained network, else those of the trained one.
    """
    trained, initial = network.module(), plan.trainings[key].new_network()
    named = filter_layers(trained, CONVS)
    seen = {
        stage: measure_bases(module, named, images, normalization=network.normalization)
        for stage, module in (("init", initial), ("trained", trained))
    }
    return {
        "init": layer_profiles(initial, named, seen["init"]),
        "trained": layer_profiles(trained, named, seen["trained"]),
        "change": layer_profiles(trained, named, seen["trained"], initial),
    }


def _result(setting: Setting, measured: Sequence[Profiles], seeds: Sequence[int]) -> xr.Dataset:
    """Return the numbers of every layer (stage, seed, layer)."""
    layers = list(measured[0]["init"])
    dims = ("stage", "seed", "layer")

    def values(number: Callable[[LayerProfile], float]) -> NDArray[np.float64]:
        rows = [[[number(one[s][la]) for la in layers] for one in measured] for s in STAGES]
        return np.array(rows, dtype=np.float64)

    numbers: dict[str, tuple[Callable[[LayerProfile], float], str]] = {
        "theory_correlation": (
            lambda layer: layer.fit.correlation,
            "correlation of the energy profile with the best theoretical profile",
        ),
        "theory_steps": (
            lambda layer: layer.fit.steps,
            "gradient steps of the best theoretical profile",
        ),
        "whitening_exponent": (lambda layer: layer.whitening, "whitening exponent"),
        "whitened_components": (
            lambda layer: layer.whitened,
            "number of components that the best theoretical profile has whitened",
        ),
        "leading_whitening_exponent": (
            lambda layer: layer.leading_whitening,
            "whitening exponent of the components with 99% of the variance",
        ),
        "components_with_variance": (
            lambda layer: len(layer.energy),
            "number of components of the patches that have variance",
        ),
        "leading_components": (
            lambda layer: layer.leading,
            "number of components with 99% of the variance",
        ),
    }
    variables = {
        name: Variable(dims, values(number), meaning) for name, (number, meaning) in numbers.items()
    }
    coords = {"stage": STAGES, "seed": seeds, "layer": layers}
    return setting.result(variables, coords, "cifar10")


def _add(outcome: Outcome, name: str, result: xr.Dataset, over: str) -> None:
    """Add the numbers of the first layer, and the means over the deeper layers of its kernel."""
    first, *deeper = [layer for layer in result.layer.values if SHORTCUT not in str(layer)]
    for title, layers in (("first layer", [first]), (f"{len(deeper)} deeper layers", deeper)):
        means = result.sel(layer=layers).mean("layer")
        for variable, label in SUMMARIZED.items():
            at = {stage: means[variable].sel(stage=stage).values for stage in STAGES}
            low, high = interval_of(at["change"])
            note = f"95% {low:.3f} to {high:.3f}"
            if variable != "whitened_components":  # of a curve that describes the change alone
                note += f"; trained {at['trained'].mean():.3f}, init {at['init'].mean():.3f}"
            outcome.add(f"{name}, {title}: {label}", at["change"], over=over, note=note)


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the 95% interval of the mean by the t distribution, NaN for a single value."""
    from scipy.stats import t

    known = values[np.isfinite(values)]
    if len(known) < 2:
        return np.nan, np.nan
    half = float(t.ppf(0.975, len(known) - 1)) * known.std(ddof=1) / len(known) ** 0.5
    return float(known.mean() - half), float(known.mean() + half)
