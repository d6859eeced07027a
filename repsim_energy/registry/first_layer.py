"""The options ``first=`` and ``frozen=``, which every architecture has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repsim_energy.errors import ShapeError, UsageError, warn
from repsim_energy.interfaces import ImageSet, ModelSpec, TrainedModel
from repsim_energy.options import call_builder, options_of, takes_any
from repsim_energy.registry.builders import with_options
from repsim_energy.specs import parse_spec

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = ["common_options", "first_layer_options", "with_first_layer"]


def first_layer_options(*, first: str | None = None, frozen: bool = False) -> None:
    """Accept the options that an architecture has without declaring them.

    Parameters
    ----------
    first : model whose filters the first layer begins with, such as frame/dct; of networks that
        are trained here
    frozen : whether the first layer is not trained
    """


def common_options(thing: Any, skip: int, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options ``first`` and ``frozen``, unless an architecture declares them.

    One that accepts any option receives ``frozen`` itself if ``first`` is not given.
    """
    own = {option.name for option in options_of(thing, skip)}
    if "first" not in options and takes_any(thing, skip):
        own.add("frozen")
    common = (option.name for option in options_of(first_layer_options, 0))
    return {key: options[key] for key in common if key in options and key not in own}


def with_first_layer(
    spec: ModelSpec,
    typed: Mapping[str, Any],
    resolve: Callable[[str, str, Mapping[str, Any]], ModelSpec],
    *,
    first: str | None,
    frozen: bool,
) -> ModelSpec:
    """Return an architecture with these filters in its first layer, or a layer that is not trained.

    Without both, it is the same, and so is its identity.

    Parameters
    ----------
    spec : of the architecture
    typed : its options as typed
    resolve : ``(label, name, options)`` -> model, for the one that ``first`` names
    first, frozen : values of the common options
    """
    if first is None and not frozen:
        return spec
    added: dict[str, Any] = {"frozen": True} if frozen else {}
    identity = dict(spec.identity or {})
    origins, filters = spec.origins, None
    if first is not None:
        added["first"] = first
        source = parse_spec(first)
        model = resolve(first, source.name, source.options)
        sized = "patch" in model.options and "patch" not in source.options
        filters = _FirstFilters(first, model.build, sized)
        origins += model.origins
        identity["first"] = None if _reads_file(model) else model.identity
    identity["options"] = identity["options"] | {key: str(added[key]) for key in added}
    build = _WithFirstLayer(
        f"model '{identity['name']}'",
        spec.build,
        adapts="filters" in spec.options and "filters" not in typed,
        first=filters,
        frozen=frozen,
    )
    known = first is None or identity["first"] is not None
    return replace(
        spec,
        build=build,
        identity=identity if known else None,
        origins=origins,
        options={**spec.options, **added},
    )


def _reads_file(model: ModelSpec) -> bool:
    """Return whether an option is a path. The content of the file can change."""
    return any(isinstance(value, Path) for value in model.options.values())


SCALE_IMAGES = 1000
"""Images that the scale of the filters is computed from."""


@dataclass(frozen=True)
class _FirstFilters:
    """The model that the option ``first`` names.

    Parameters
    ----------
    text : as typed
    build : of the model
    sized : whether its option ``patch`` is that of the layer
    """

    text: str
    build: Callable[..., Any]
    sized: bool

    def filters(
        self, num_classes: int, in_channels: int, images: ImageSet, size: tuple[int, int]
    ) -> Tensor:
        """Return the (n, c, h, w) filters of the model.

        Raises
        ------
        UsageError
            If the model is no trained one.
        """
        from repsim_energy.models.filters.applied_filters import applied_filters
        from repsim_energy.models.filters.first_layer import first_layer, named_layer

        size_option = {"patch": f"{size[0]}x{size[1]}"} if self.sized else {}
        build = with_options(self.build, size_option)
        model = call_builder(build, num_classes, in_channels, images)
        if not isinstance(model, TrainedModel):
            raise UsageError(
                f"got first={self.text}, a network that is trained here, expected filters that "
                "are known before; use a model such as frame/dct or checkpoint"
            )
        if model.fold or model.channels != "rgb":
            raise UsageError(
                f"got first={self.text} with fold= or channels=, expected filters as they are; "
                "leave these options out"
            )
        _, c, h, w = images.images.shape
        image = (c, h, w)
        name = model.layer
        if name is None and model.network:
            name = first_layer(model.module, image).name
        return applied_filters(model.module, named_layer(model.module, name)[0], image)


@dataclass(frozen=True)
class _WithFirstLayer:
    """Builder of an architecture whose first layer begins with given filters, or is not trained.

    Parameters
    ----------
    called : the architecture in errors
    build : of the architecture
    adapts : whether its option ``filters`` becomes the number of filters
    first : the filters; ``None`` for its own
    frozen : whether the layer is not trained
    """

    called: str
    build: Callable[..., Any]
    adapts: bool
    first: _FirstFilters | None
    frozen: bool

    def __call__(self, num_classes: int, in_channels: int, images: ImageSet) -> nn.Module:
        """Return a new network."""
        import torch

        given = (num_classes, in_channels, images)
        state = torch.get_rng_state()
        network = self._network(self.build, given)
        name, layer = self._first_layer(network, images)
        if self.first is not None:
            bank = self._bank(given, name, layer)
            if self.adapts and len(bank) != layer.out_channels:
                torch.set_rng_state(state)  # as if the first network had not been built
                network = self._network(with_options(self.build, {"filters": len(bank)}), given)
                name, layer = self._first_layer(network, images)
            self._write(bank, name, layer, images)
        if self.frozen:
            layer.requires_grad_(False)
        return network

    def _network(self, build: Callable[..., Any], given: tuple[int, int, ImageSet]) -> nn.Module:
        network = call_builder(build, *given)
        if isinstance(network, TrainedModel):
            option = f"first={self.first.text}" if self.first else "frozen=true"
            raise UsageError(
                f"got {option} for {self.called}, which is trained already, expected an "
                "architecture that is trained here; leave the option out"
            )
        module: nn.Module = network
        return module

    def _first_layer(self, network: nn.Module, images: ImageSet) -> tuple[str, Any]:
        from repsim_energy.models.filters.first_layer import first_layer

        _, c, h, w = images.images.shape
        found = first_layer(network, (c, h, w))
        return found.name, found.layer

    def _bank(self, given: tuple[int, int, ImageSet], name: str, layer: Any) -> Tensor:
        """Return filters of the shape of the layer's.

        Raises
        ------
        UsageError
            For a layer that is no plain convolution.
        ShapeError
            For filters of another shape.
        """
        from repsim_energy.models.filters.layers import applies_its_weight

        assert self.first is not None
        if not applies_its_weight(layer):
            raise UsageError(
                f"got first={self.first.text} for {self.called}, whose first layer '{name}' "
                f"({type(layer).__name__}) is no plain convolution without dilation and groups, "
                "expected one; use another architecture"
            )
        shape = tuple(layer.weight.shape[1:])
        bank = self.first.filters(*given, size=(int(shape[1]), int(shape[2])))
        if tuple(bank.shape[1:]) != shape:
            raise ShapeError(
                f"got first={self.first.text} with filters of shape {tuple(bank.shape[1:])}, "
                f"expected {shape}, that of layer '{name}' of {self.called}; leave patch= out, or "
                "use filters of that shape"
            )
        return bank

    def _write(self, bank: Tensor, name: str, layer: Any, images: ImageSet) -> None:
        """Copy the filters into the layer, and set its bias to 0.

        One factor for all filters makes the mean variance of their responses to image patches that
        of the filters that the layer has.
        """
        import torch

        assert self.first is not None
        n, k = len(bank), int(layer.out_channels)
        if n < k:
            raise UsageError(
                f"got first={self.first.text} with {n} filters for the {k} of layer '{name}' of "
                f"{self.called}, expected at least as many; use a frame of more filters, such as "
                f"'frame/random:filters={k}', or fewer filters in the layer"
            )
        if n > k:
            warn(
                f"first={self.first.text} has {n} filters and layer '{name}' of {self.called} has "
                f"{k}; the first {k} are used, and {n - k} are left out"
            )
        own, new = _responses((layer.weight, bank[:k]), images)
        if not (own > 0 and 0 < new < float("inf")):
            raise UsageError(
                f"got first={self.first.text} with mean response {new:.3g}, and {self.called} with "
                f"{own:.3g}, expected filters that respond to the images; use others, or another "
                "sigma="
            )
        with torch.no_grad():
            layer.weight.copy_(bank[:k].double() * (own / new))
            if layer.bias is not None:
                layer.bias.zero_()


def _responses(banks: Sequence[Tensor], images: ImageSet) -> list[float]:
    r"""Return the root mean variance of the responses of filters to image patches, for each bank.

    .. math:: \sqrt{\tfrac1K \sum_k w_k^\top C w_k}

    The banks have filters of one size.
    """
    from repsim_energy.numerics.patches.moments import patch_moments

    _, _, h, w = banks[0].shape
    covariance = patch_moments(images.images[:SCALE_IMAGES], (h, w)).covariance()
    flat = [bank.detach().cpu().double().flatten(1) for bank in banks]
    return [float(((x @ covariance) * x).sum(1).mean().clamp_min(0).sqrt()) for x in flat]
