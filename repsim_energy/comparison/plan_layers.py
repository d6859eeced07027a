"""Layers of each model, found and tried before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn

from repsim_energy.comparison.activations import layer_names, layer_sizes
from repsim_energy.comparison.layer_roles import LayersLike, Role, layers_of_model, roles_of
from repsim_energy.comparison.layers import naming
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.views import Words, views_of
from repsim_energy.errors import UsageError
from repsim_energy.numerics.positions import View
from repsim_energy.progress import working

__all__ = ["Layers", "plan_layers"]


@dataclass(frozen=True, eq=False)
class Layers:
    """Layers of each model.

    Parameters
    ----------
    names : for each model, layer -> submodule
    sizes : for each model, layer -> the size of what is compared of its output for one image
    views : for each model, layer -> the choice of its positions; missing for the whole output
    typed : for each model, layer -> its name in the model, with the entry of its output
    """

    names: Sequence[Mapping[str, str]]
    sizes: Sequence[Mapping[str, int]]
    views: Sequence[Mapping[str, View]]
    typed: Sequence[Mapping[str, str]]

    @property
    def labels(self) -> list[str]:
        """Names of all layers without repetition. Models need not have the same ones."""
        return list(dict.fromkeys(layer for names in self.names for layer in names))

    def view(self, model: int, layer: str) -> View | None:
        """Return the choice of positions of a layer, ``None`` for the whole output."""
        return self.views[model].get(layer)

    @property
    def has_sample_grids(self) -> bool:
        """Whether positions of some layers are samples."""
        return any(
            bool(self.sample_grid(m, layer))
            for m, names in enumerate(self.names)
            for layer in names
        )

    def sample_grid(self, model: int, layer: str) -> tuple[int, ...]:
        """Return the positions of an image that are samples, empty if the image is one sample."""
        view = self.view(model, layer)
        return () if view is None else view.sample_grid


class _Tried(NamedTuple):
    """The untrained network of a model, to try its layers on."""

    label: str
    module: nn.Module
    answer: str
    first: str | None


def plan_layers(plan: Plan, layers: LayersLike, words: Sequence[Words] = ()) -> Layers:
    """Find the layers in every model and run it on two images, before anything is trained.

    Parameters
    ----------
    layers : as in :func:`~repsim_energy.compare`
    words : the options ``pool`` and ``tokens`` of each model; all positions as features by default

    Raises
    ------
    UsageError
        For layers that a model does not have or that return no activations, for filters without a
        network, and for positions that are not known.
    RepsimError
        For models that fail on the images.
    """
    roles = roles_of(layers, [spec.label for spec in plan.models])
    names, typed, sizes, views = [], [], [], []
    data = plan.datasets[0]
    with working("trying layers", len(plan.models), "models") as advance:
        for m in range(len(plan.models)):
            one = _untrained(plan, m)
            with naming(one.label):
                found, called = _find(one, roles)
                given = (one.module, found)
                size = layer_sizes(*given, data.train.images, plan.device, one.answer, called)
                word = words[m] if words else Words()
                view = views_of(*given, data.image_shape, plan.device, one.answer, word, called)
            names.append(found)
            typed.append(called)
            sizes.append(size | {layer: chosen.size for layer, chosen in view.items()})
            views.append(view)
            advance(1)
    return Layers(names, sizes, views, typed)


def _find(one: _Tried, roles: Sequence[Role]) -> tuple[dict[str, str], dict[str, str]]:
    """Return label -> submodule, and label -> name in the model."""
    known = {name for name, _ in one.module.named_modules()}

    def find(name: str) -> dict[str, str]:
        return layer_names(one.module, [name], one.first)

    return layers_of_model(roles, one.label, known, find)


def _untrained(plan: Plan, m: int) -> _Tried:
    label, first = plan.models[m].label, plan.layers.get((0, m))
    given = plan.trained.get((0, m))
    if given is None:
        return _Tried(label, plan.untrained(plan.trainings[Key(0, m, 0)]), "", first)
    if not given.network:
        raise UsageError(
            f"model '{label}' is filters alone and has no activations; name its "
            "architecture with arch=, or compare with metric=energy"
        )
    return _Tried(label, given.module, given.answer, first)
