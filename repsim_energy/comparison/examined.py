"""Facts of every network that a plan needs: its first layer, patch and batch norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from repsim_energy.comparison.folding import folding_of
from repsim_energy.comparison.network import seen_image
from repsim_energy.comparison.network_options import refuse_order, with_options
from repsim_energy.data.selection import is_gray, select
from repsim_energy.errors import ShapeError, UsageError, warn
from repsim_energy.interfaces import Dataset, ModelSpec, TrainedModel
from repsim_energy.models.filters.applied_filters import Patch, applied_filters, filter_patch
from repsim_energy.models.filters.first_layer import first_layer, named_layer
from repsim_energy.models.filters.norm_folding import Folding
from repsim_energy.progress import working
from repsim_energy.training.build import build
from repsim_energy.training.inputs import normalization_of
from repsim_energy.training.run_cache import first_layer_of
from repsim_energy.training.training import Training

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Examined", "Patch", "Place"]

Place = tuple[int, int]
"""Indices of a data set and a model."""

MAX_KEPT_BYTES = 2**30
"""Memory of the untrained networks that are kept; further ones are built again when needed."""


@dataclass
class Examined:
    """Networks of a comparison, each built once and examined before any is trained.

    Of networks whose runs are in the cache, the runs are read instead.

    Parameters
    ----------
    trainings : (data set, model) -> one for each seed, unless the network turns out to be given;
        that of the first seed is built
    fold, channels : label -> the option of that model
    filters : whether filters are compared
    trained : (data set, model) -> the network, for those that were trained elsewhere
    layers : (data set, model) -> the name of the first layer; missing where none was found in a
        given network whose filters are not compared
    patches : (data set, model) -> the patch that the first layer sees; missing as in ``layers``
    built : (model, data set) -> the untrained network, for as many as ``MAX_KEPT_BYTES`` allow
    folds : (data set, model) -> what is folded into the filters, where that is asked for
    """

    trainings: Mapping[Place, Sequence[Training]]
    fold: Mapping[str, str]
    channels: Mapping[str, str]
    filters: bool
    trained: dict[Place, TrainedModel] = field(default_factory=dict)
    layers: dict[Place, str] = field(default_factory=dict)
    patches: dict[Place, Patch] = field(default_factory=dict)
    built: dict[tuple[ModelSpec, Dataset], nn.Module] = field(default_factory=dict)
    folds: dict[Place, Folding] = field(default_factory=dict)
    _kept_bytes: int = 0

    def add(self, d: int, data: Dataset, models: Sequence[ModelSpec]) -> Dataset:
        """Examine the networks for a data set, and return it with the channels that they see.

        Raises
        ------
        RepsimError
            For images that cannot be normalized, and networks that cannot be built, have no first
            layer, or see another number of channels.
        """
        new = []
        for m, model in enumerate(models):
            if not self._read_from_cache((d, m), model):
                new.append(m)
        if new:
            normalization_of(data.train)  # refuses empty, constant and infinite images
        with working("building models", len(new), "models") as advance:
            for m in new:
                self._examine((d, m), models[m], data)
                advance(1)
        luma = {m for (e, m), model in self.trained.items() if e == d and model.channels == "luma"}
        needed = {
            m: 3 if m in luma and patch[0] == 1 else patch[0]
            for (e, m), patch in self.patches.items()
            if e == d
        }
        seen = _seen_by(needed, models, data)
        for m, model in enumerate(models):
            if (d, m) in self.trained:  # gray images may be left with one channel
                refuse_order(self.trained[d, m], model, seen)
        return seen

    def _read_from_cache(self, place: Place, model: ModelSpec) -> bool:
        """Read what is examined from the runs of a model, if all are in the cache and say so.

        Networks whose activations or deeper layers are compared are built when they are needed.
        """
        options = self.fold[model.label] or self.channels[model.label]
        if options or not self.filters or model.identity is None:
            return False
        if not all(training.is_cached for training in self.trainings[place]):
            return False
        known = first_layer_of(self.trainings[place][0].key)
        if known is None:
            return False
        self.layers[place], self.patches[place], several = known
        if several:
            warn(_said_of_several(model, several, known[0]))
        return True

    def _examine(self, place: Place, model: ModelSpec, data: Dataset) -> None:
        fold, channels = self.fold[model.label], self.channels[model.label]
        seed = self.trainings[place][0].seed
        built = with_options(build(model, data, seed), model, data, fold, channels)
        if isinstance(built, TrainedModel):
            if built.channels == "luma" and not self.filters:
                raise UsageError(
                    f"got channels=luma for '{model.label}', which is for metrics on filters; give "
                    "images of one channel to compare activations"
                )
            self.trained[place], fold = built, built.fold
            with nullcontext() if self.filters else suppress(UsageError):
                self._find_first_layer(place, built, model, data)
                self.trained[place] = replace(built, layer=self.layers[place])
                if built.channels == "luma" and (c := self.patches[place][0]) != 1:
                    raise UsageError(
                        f"got channels=luma for '{model.label}', whose filters see {c} channels, "
                        "expected 1; leave it out"
                    )
        else:
            self._find_first_layer(place, built, model, data)
            self._keep(built, model, data)
        if fold and self.filters:
            image = (self.patches[place][0], *data.image_shape[1:])
            self.folds[place] = folding_of(built, fold, self.layers[place], image, model.label)

    def _find_first_layer(
        self, place: Place, built: nn.Module | TrainedModel, model: ModelSpec, data: Dataset
    ) -> None:
        self.layers[place], self.patches[place] = _first_layer(built, model, data, self.filters)

    def _keep(self, built: nn.Module, model: ModelSpec, data: Dataset) -> None:
        size = sum(tensor.nbytes for tensor in (*built.parameters(), *built.buffers()))
        if self._kept_bytes + size <= MAX_KEPT_BYTES:
            self._kept_bytes += size
            self.built[model, data] = built


def _first_layer(
    built: nn.Module | TrainedModel, spec: ModelSpec, data: Dataset, filters: bool
) -> tuple[str, Patch]:
    """Return the name of the layer that gets the image, and the patch that it sees.

    A network that cannot be run on the images is warned of only if filters are compared. Otherwise
    an error follows when its layers are tried.
    """
    problem = several = ""
    image = seen_image(built, data) if isinstance(built, TrainedModel) else data.image_shape
    module = built.module if isinstance(built, TrainedModel) else built
    if isinstance(built, TrainedModel) and (built.layer or not built.network):
        name, layer = named_layer(module, built.layer)
    else:
        name, layer, problem, several = first_layer(module, image)
    if several and isinstance(built, TrainedModel):
        raise UsageError(
            f"several layers of '{spec.label}' get the image: {several}; name one of them with "
            "layer="
        )
    if several:
        warn(_said_of_several(spec, several, name))
    bank = applied_filters(module, name, image)
    if problem and filters and isinstance(built, TrainedModel):  # of others their training says so
        warn(
            f"'{spec.label}' cannot be run on the images ({problem}), so its first layer is taken "
            f"to be the first that it registers, '{name}'; name it with layer="
        )
    return name, filter_patch(layer, bank)


def _said_of_several(spec: ModelSpec, several: str, name: str) -> str:
    return f"several layers of '{spec.label}' get the image: {several}; '{name}' is compared"


def _seen_by(needed: Mapping[int, int], specs: Sequence[ModelSpec], data: Dataset) -> Dataset:
    """Return the images with the number of channels that all networks need.

    Gray images with three equal channels are reduced to one if all networks need one.
    """
    channels = data.train.images.shape[1]
    if set(needed.values()) == {1} and data.train.transform is None:
        gray = all(is_gray(images.images) for images in (data.train, data.test))
        if channels > 1 and gray:
            train, test = (select(images, gray=True) for images in (data.train, data.test))
            return replace(data, train=train, test=test)
    for m, c in needed.items():
        if c != channels:
            groups = "" if channels % c else ", or load it with arch= where it has groups"
            if (c, channels) == (1, 3):
                groups += ", or channels=luma where gray is 0.299 R + 0.587 G + 0.114 B"
            raise ShapeError(
                f"images of '{data.label}' have {channels} channels but the filters of "
                f"'{specs[m].label}' see {c}; use images with {c} channels or another model{groups}"
            )
    return data
