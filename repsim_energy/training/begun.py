"""A training with its new network, and its run once it has been trained."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from repsim_energy.errors import TrainingError, UsageError
from repsim_energy.interfaces import Normalization
from repsim_energy.models.filters.applied_filters import Patch, applied_filters, filter_patch
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.models.filters.following_norm import following_norm
from repsim_energy.models.filters.norm_folding import Norm
from repsim_energy.training.history import History
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.loop import evaluate
from repsim_energy.training.run_cache import Run

if TYPE_CHECKING:
    from repsim_energy.training.training import Training

__all__ = ["Begun", "begin"]


@dataclass(frozen=True, eq=False)
class Begun:
    """A training with its new network."""

    training: Training
    module: nn.Module
    layer: str
    initial: Tensor
    normalization: Normalization
    norm: Norm | None
    patch: Patch
    several: str

    def ended(self, history: History, device: torch.device, layout: torch.memory_format) -> Run:
        """Return its run after the network has been trained."""
        data, module = self.training.data, self.module
        _, test = evaluate(
            module, data.test, self.normalization, device, self.training.recipe, layout
        )
        trained = applied_filters(module, self.layer, data.image_shape)
        frozen = not any(p.requires_grad for p in module.get_submodule(self.layer).parameters())
        if frozen and not torch.equal(self.initial, trained):
            raise TrainingError(
                f"the frozen first layer of '{self.training.model.label}' changed; report this"
            )
        scale = None if self.norm is None else self.norm.scale_or_nan()
        module.cpu()
        return Run(
            key="",
            layer=self.layer,
            initial=self.initial,
            trained=trained,
            scale=scale,
            history=history,
            normalization=self.normalization,
            test_accuracy=test,
            network=lambda: module,
            patch=self.patch,
            several=self.several,
        )


def begin(training: Training) -> Begun:
    """Build the network of a training, and read its filters."""
    module, image = training.new_network(), training.data.image_shape
    first = first_layer(module, image)
    layer, initial = first.name, applied_filters(module, first.name, image)
    norm = None
    with contextlib.suppress(UsageError):  # something else follows, which is said where it matters
        norm = following_norm(module, layer, image)
    normalization, patch = normalization_of(training.data.train), filter_patch(first.layer, initial)
    return Begun(training, module, layer, initial, normalization, norm, patch, first.several)
