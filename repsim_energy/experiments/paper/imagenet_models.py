"""torchvision's ImageNet models, by the patch size of their first layer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from repsim_energy.errors import RepsimError
from repsim_energy.interfaces import TrainedModel
from repsim_energy.numerics.generators import seeded
from repsim_energy.registry import resolve_model

if TYPE_CHECKING:
    from torch import nn

    from repsim_energy.experiments.outcome import Outcome
    from repsim_energy.experiments.setting import Setting

__all__ = ["KERNELS", "pretrained", "untrained"]

KERNELS = {
    7: ("resnet18", "resnet50", "wide_resnet50_2", "densenet121", "googlenet"),
    3: ("vgg11", "vgg16", "mobilenet_v2", "efficientnet_b0", "inception_v3"),
}
"""Height and width of the first layer's kernels -> models."""


def pretrained(setting: Setting, names: Iterable[str], outcome: Outcome) -> dict[str, nn.Module]:
    """Return the networks whose weights are available; add the others to what is missing."""
    networks, errors = {}, {}
    for name in names:
        try:
            networks[name] = _network(setting, f"{name}:weights=IMAGENET1K_V1")
        except RepsimError as error:
            errors[name] = str(error)
    if errors:
        first = next(iter(errors.values()))
        outcome.missing.append(f"pretrained {', '.join(errors)}, the first because {first}")
    return networks


def untrained(setting: Setting, names: Iterable[str]) -> dict[str, nn.Module]:
    """Return networks with the random weights of seed 0, named ``NAME (random)``."""
    return {f"{name} (random)": _network(setting, name) for name in names}


def _network(setting: Setting, spec: str) -> nn.Module:
    with seeded(0):
        built = resolve_model(setting.registry, f"torchvision/{spec}").build(1000, 3)
    return built.module if isinstance(built, TrainedModel) else built
