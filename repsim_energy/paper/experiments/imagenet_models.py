"""torchvision's ImageNet models, by the patch that their first layer sees."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from repsim_energy.errors import RepsimError
from repsim_energy.interfaces import TrainedModel
from repsim_energy.registry import resolve_model

if TYPE_CHECKING:
    from torch import nn

    from repsim_energy.paper.outcome import Outcome
    from repsim_energy.paper.setting import Setting

__all__ = ["KERNELS", "pretrained", "untrained"]

KERNELS = {
    7: ("resnet18", "resnet50", "wide_resnet50_2", "densenet121", "googlenet"),
    3: ("vgg11", "vgg16", "mobilenet_v2", "efficientnet_b0", "inception_v3"),
}
"""Height and width of the first layer's kernels -> models."""


def pretrained(setting: Setting, names: Iterable[str], outcome: Outcome) -> dict[str, nn.Module]:
    """Return those networks whose weights can be had; the others are noted as missing."""
    found, without = {}, {}
    for name in names:
        spec = resolve_model(setting.registry, f"torchvision/{name}:weights=IMAGENET1K_V1")
        try:
            taken = spec.build(1000, 3)
        except RepsimError as error:
            without[name] = str(error)
            continue
        assert isinstance(taken, TrainedModel)
        found[name] = taken.module
    if without:
        first = next(iter(without.values()))
        outcome.missing.append(f"pretrained {', '.join(without)}, the first because {first}")
    return found


def untrained(setting: Setting, names: Iterable[str]) -> dict[str, nn.Module]:
    """Return networks as they are initialized."""
    found = {}
    for name in names:
        net = resolve_model(setting.registry, f"torchvision/{name}").build(1000, 3)
        assert not isinstance(net, TrainedModel)
        found[f"{name} (random)"] = net
    return found
