"""Figure 19: first-layer filters as images, before and after training, on one scale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim_energy.experiments.figures import draw_filters
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.paper.imagenet_models import KERNELS, pretrained, untrained
from repsim_energy.models.filters.layers import find_first_conv, read_filters

if TYPE_CHECKING:
    from torch import Tensor

    from repsim_energy.experiments.setting import Setting

__all__ = ["run"]

STAGES = ("init", "trained", "change")

Banks = dict[str, dict[str, "Tensor"]]
"""Network -> stage -> filters."""


def run(setting: Setting) -> Outcome:
    """Draw the filters of VGG11 and ResNet18, and of pretrained ImageNet models."""
    outcome = Outcome()
    names = ("resnet18", "vgg11")
    models = [setting.scale.model(name) for name in names]
    data, seeds = setting.data("cifar10"), setting.seeds[:1]
    result = outcome.keep("", setting.compare(models, [data], seeds=seeds))
    outcome.add("change vs init", result.init_similarity.isel(dataset=0, seed=0).values)
    networks, _ = setting.train(models, [data], seeds)
    banks: Banks = {
        names[key.model]: {
            stage: bank for stage in STAGES if (bank := network.at(stage)) is not None
        }
        for key, network in networks.items()
    }
    _draw(outcome, banks | _imagenet(setting, outcome))
    return outcome


def _imagenet(setting: Setting, outcome: Outcome) -> Banks:
    """Return 7x7 filters of pretrained networks, and of a random one if there are any."""
    if not setting.available(outcome, "imagenet"):
        return {}
    trained = pretrained(setting, ("resnet18", "googlenet", "densenet121"), outcome)
    random = untrained(setting, KERNELS[7][:1]) if trained else {}
    return {
        f"ImageNet {name}": {stage: read_filters(find_first_conv(network).module)}
        for stage, group in (("init", random), ("trained", trained))
        for name, network in group.items()
    }


def _draw(outcome: Outcome, banks: Banks) -> None:
    """Draw each network's stages on one scale, but magnify the change to its own maximum."""
    panels = iter(outcome.panels(sum(map(len, banks.values()))))
    for name, stages in banks.items():
        largest = {stage: float(bank.abs().max()) for stage, bank in stages.items()}
        shared = max(largest.values())
        for stage, bank in stages.items():
            limit, title = shared, f"{name}, {stage}"
            if stage == "change" and largest[stage]:
                limit = largest[stage]
                title += f", {shared / limit:.1f} times magnified"
            draw_filters(next(panels), bank, title, limit=limit)
