"""Figure 19: first-layer filters as images, before and after training, on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim_energy.models.layers import find_first_conv, read_filters
from repsim_energy.paper.experiments.imagenet_models import KERNELS, pretrained, untrained
from repsim_energy.paper.figures import draw_filters, new_figure
from repsim_energy.paper.outcome import Outcome

if TYPE_CHECKING:
    from torch import Tensor

    from repsim_energy.paper.setting import Setting

__all__ = ["run"]


def run(setting: Setting) -> Outcome:
    """Draw the filters of VGG11 and ResNet18, and of pretrained ImageNet models."""
    outcome = Outcome()
    models = [setting.scale.model(name) for name in ("resnet18", "vgg11")]
    data, seeds = setting.data("cifar10"), setting.seeds[:1]
    result = outcome.keep("", setting.compare(models, [data], seeds=seeds))
    networks, _ = setting.train(models, [data], seeds)
    banks: dict[str, Tensor] = {}
    for (_, m, _), network in networks.items():
        name = models[m].partition(":")[0]
        for stage in ("init", "trained", "change"):
            bank = network.at(stage)
            assert bank is not None
            banks[f"{name}, {stage}"] = bank
    banks |= _imagenet(setting, outcome)
    outcome.figure, panels = new_figure(len(banks))
    for (name, bank), axes in zip(banks.items(), panels, strict=True):
        limit, magnified = _scale(name, banks)
        draw_filters(axes, bank.numpy(), f"{name}{magnified}", limit=limit)
    outcome.add("change vs init", result.init_similarity.isel(dataset=0, seed=0).values)
    return outcome


def _scale(name: str, banks: dict[str, Tensor]) -> tuple[float, str]:
    """Return what is drawn white: shared by a network before and after; its change is magnified."""
    largest = {other: float(bank.abs().max()) for other, bank in banks.items()}
    family = name.partition(",")[0]
    shared = max(value for other, value in largest.items() if other.partition(",")[0] == family)
    if not name.endswith("change") or largest[name] == 0:
        return shared, ""
    return largest[name], f", {shared / largest[name]:.1f} times magnified"


def _imagenet(setting: Setting, outcome: Outcome) -> dict[str, Tensor]:
    """Return 7x7 filters of pretrained networks, with those of one that is not trained."""
    if not setting.available(outcome, "imagenet"):
        return {}
    found = pretrained(setting, ("resnet18", "googlenet", "densenet121"), outcome)
    if not found:
        return {}
    found = {**untrained(setting, KERNELS[7][:1]), **found}
    return {name: read_filters(find_first_conv(net).module) for name, net in found.items()}
