"""Principal components of the patches that layers anywhere in a network see."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_energy.comparison.activations import (
    CONVS,
    FIRST,
    OUTPUT,
    layer_names,
    layout_of,
    looking_on,
)
from repsim_energy.comparison.listed import items_of
from repsim_energy.errors import RepsimError, RepsimWarning, UsageError, first_few
from repsim_energy.interfaces import Normalization, PatchBasis
from repsim_energy.models.filters.any_layer import layer_filters, patch_size, window_of
from repsim_energy.models.filters.partial_forward import run_eagerly
from repsim_energy.numerics.patches.moments import batches_of, check_batch, no_images
from repsim_energy.numerics.patches.seen import SeenPatches, patches_of, seen_patches
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import working
from repsim_energy.training.inputs import as_input

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ALL", "PLACES", "filter_layers", "layer_bases", "show_images"]

PLACES = ("seen", "inside")
"""Places of patches: those that the layer sees, or all that are inside its input."""

ALL = "all"
"""Name for all convolutions and linear layers."""

BATCH_IMAGES = 250
"""Images of a forward pass."""

MAX_PATCH = 8192
"""Numbers of a patch. The components of larger ones take minutes and more than 2 GiB."""

MAX_MOMENTS_BYTES = 2**30
"""Bytes of second moments of the layers that share a forward pass."""

MAX_NAMED = 5
"""Maximum number of layers that a warning names."""

MAX_DEVIATION = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Relative difference up to which a layer's output is that of its filters; else 0.05."""

OnInput = Callable[[str, Tensor], None]
"""Called with the name of a layer and its input (n, c, h, w) for a batch."""


def filter_layers(
    network: nn.Module, layers: str | Sequence[str], first: str | None = None
) -> dict[str, str]:
    """Return the submodule of each layer whose filters are measured.

    Parameters
    ----------
    layers : names of submodules, ``first``, ``convs``, or ``all`` for convolutions and linear
        layers
    first : the layer that gets the image; by default the first convolution that is registered

    Raises
    ------
    UsageError
        For names that the network does not have, and layers that have no filters.
    """
    wanted = items_of(layers) if isinstance(layers, str) else list(layers)
    kinds = (nn.Conv2d, nn.Linear)
    every = [name for name, part in network.named_modules() if isinstance(part, kinds) and name]
    named: dict[str, str] = {}
    for layer in wanted:
        if layer == ALL:
            named |= {name: name for name in every}
        elif layer.removeprefix(":") == OUTPUT:
            raise UsageError(
                f"got the layer '{layer}', which has no filters, expected names of convolutions "
                f"and linear layers, {FIRST}, {CONVS} or {ALL}"
            )
        else:
            named |= layer_names(network, [layer], first)
    if not named:
        raise UsageError(f"got layers {layers!r}, expected at least one name, such as {CONVS}")
    for name in named.values():
        window_of(network.get_submodule(name), name)
    return named


@own_settings()
def layer_bases(
    network: nn.Module,
    layers: str | Sequence[str],
    images: Tensor | NDArray[Any] | Iterable[Any],
    *,
    places: str = "seen",
    normalization: Normalization | None = None,
) -> dict[str, PatchBasis]:
    r"""Return the principal components of the patches that layers of a network see.

    .. math:: C = \frac1n \sum_j (p_j - \mu)(p_j - \mu)^\top

    over all images and places j of the layer's own input, which is the image for the first layer
    and the output of other layers for deeper ones. With ``rs.energy_profile`` the filters of the
    layer then have a profile, and with ``rs.fit_profile`` the best theoretical one.

    Images pass through the network in batches, in evaluation mode, and the network is left as it
    was. Memory does not grow with the number of images. Moments are summed in float64.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Definition 2.1, for first layers; arXiv:2206.02454.

    Parameters
    ----------
    network : a trained or untrained module
    layers : names of its convolutions and linear layers; ``first``, ``convs`` for all convolutions,
        ``all`` for linear layers too
    images : (n, c, h, w) uint8 (read as 0..1) or float, a tensor or an array, or an iterable of
        batches, such as a DataLoader
    places : ``seen``: the places that the layer itself computes, with its stride and its padding;
        ``inside``: all overlapping patches inside its input, as for images. They differ most in
        small maps, where most patches reach over the border
    normalization : of the images before the network; none by default

    Returns
    -------
    dict
        Name of each layer -> basis of patches (c, kh, kw). c are the channels of one group where a
        convolution has groups: the covariance is then the mean of those of the groups. A linear
        layer sees (in_features, 1, 1), at each position of its input. A layer that is used several
        times sees the patches of all uses. Channels that are always zero have no variance, and
        components of them are left out.

    Raises
    ------
    UsageError
        For layers that do not exist, have no filters, are not used, or compute something else than
        their filters' responses; for patches of more than 8,192 numbers.
    ShapeError, DataError
        For unusable images, for fewer patches than components, and for maps that are smaller than a
        patch.

    Warns
    -----
    RepsimWarning
        Where components without variance are left out.

    Examples
    --------
    >>> import repsim_energy as rs
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Tanh(), nn.Conv2d(8, 4, 3, padding=1))
    >>> images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> bases = layer_bases(net, "convs", images)
    >>> {name: basis.patch for name, basis in bases.items()}
    {'0': (3, 3, 3), '2': (8, 3, 3)}
    >>> profile = rs.energy_profile(net[2].weight, bases["2"])
    >>> fit = rs.fit_profile(profile, bases["2"].eigenvalues)
    """
    if places not in PLACES:
        raise UsageError(f"got places={places!r}, expected one of {', '.join(PLACES)}")
    named = filter_layers(network, layers)
    windows = {}
    for label, name in named.items():
        seen = window_of(network.get_submodule(name), name)
        windows[label] = seen if places == "seen" else seen.inside()
    found: dict[str, SeenPatches] = {}
    for group in _groups(network, named, images):

        def add(label: str, maps: Tensor) -> None:
            part = seen_patches(maps, windows[label])
            if part is not None:
                found[label] = found[label] + part if label in found else part

        show_images(network, group, images, add, normalization)
    bases = {label: _basis(label, found[label]) for label in named}
    _warn_of_missing(bases)
    return bases


def _basis(label: str, patches: SeenPatches) -> PatchBasis:
    """Return the basis of a layer, with its name in errors, and without its warning."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RepsimWarning)
            return patches.basis()
    except RepsimError as error:
        raise type(error)(f"layer '{label}': {error}") from error


def _warn_of_missing(bases: Mapping[str, PatchBasis]) -> None:
    """Warn of components without variance, once for all layers."""
    missing = [
        f"{basis.without_variance} of {basis.components.shape[1]} of layer '{label}'"
        for label, basis in bases.items()
        if basis.without_variance
    ]
    if missing:
        warnings.warn(
            f"components of the patches have no variance and are left out: "
            f"{first_few(missing, MAX_NAMED)} (as of channels that are always zero)",
            RepsimWarning,
            stacklevel=4,  # above own_settings
        )


def _groups(
    network: nn.Module, named: Mapping[str, str], images: object
) -> Iterator[dict[str, str]]:
    """Yield layers in groups whose second moments fit into memory together."""
    sizes = {}
    for label, name in named.items():
        layer = network.get_submodule(name)
        window, size = window_of(layer, name), patch_size(layer)
        if size > MAX_PATCH:
            raise UsageError(
                f"layer '{label}' sees patches of {size} numbers, expected at most {MAX_PATCH}; "
                "name other layers, or a narrower network"
            )
        sizes[label] = 8 * window.groups * size**2
    group: dict[str, str] = {}
    room = MAX_MOMENTS_BYTES
    for label, size in sizes.items():
        room -= size
        if group and room < 0:
            if iter(images) is images:  # type: ignore[call-overload]
                raise UsageError(
                    "got images that can be read once, expected a tensor, an array or a DataLoader "
                    "for so many layers; name fewer layers"
                )
            yield group
            group, room = {}, MAX_MOMENTS_BYTES - size
        group[label] = named[label]
    yield group


@torch.no_grad()
def show_images(
    network: nn.Module,
    named: Mapping[str, str],
    images: Tensor | NDArray[Any] | Iterable[Any],
    on_input: OnInput,
    normalization: Normalization | None = None,
    device: torch.device | None = None,
) -> None:
    """Run a network on images in evaluation mode and pass the inputs of layers to a function.

    The first output of each layer is compared with the responses of its filters.

    Parameters
    ----------
    named : label -> name of the submodule
    on_input : called with the input of a layer in every call, as (n, c, h, w). It must copy a
        tensor that it stores
    normalization : of the images; none by default
    device : that computes; by default the one of the network
    """
    parameter = next(network.parameters(), None)
    device = device or (torch.device("cpu") if parameter is None else parameter.device)
    observers = {
        label: _Observer(label, network.get_submodule(name), on_input)
        for label, name in named.items()
    }
    layout, count = None, 0
    with looking_on(network, device) as hooks, run_eagerly(network):
        for observer in observers.values():
            hooks += observer.hooks()
        total = len(images) if isinstance(images, Tensor | np.ndarray) else None
        with working("showing images to the network", total, "images") as advance:
            for batch in batches_of(images):
                check_batch(batch, (1, 1))
                channels = batch.shape[1]
                way = normalization or Normalization((0.0,) * channels, (1.0,) * channels)
                for shown in batch.split(BATCH_IMAGES):
                    if layout is None:
                        layout = layout_of(network, shown[:2].to(device), way)
                        for observer in observers.values():
                            observer.begin()
                    network(as_input(shown.to(device), way, network, layout))
                    count += len(shown)
                    advance(len(shown))
    if not count:
        raise no_images()
    for label, observer in observers.items():
        if not observer.calls:
            raise UsageError(
                f"layer '{label}' is not used by {type(network).__name__}, expected one that "
                "images pass through; name another one with layers="
            )


class _Observer:
    """Hooks on a layer that pass its input on and check its first output."""

    def __init__(self, label: str, layer: nn.Module, on_input: OnInput) -> None:
        self._label = label
        self._layer = layer
        self._on_input = on_input
        self._window = window_of(layer, label)
        self._filters = layer_filters(layer, label)
        self._active = False
        self._input: Tensor | None = None
        self.calls = 0

    def begin(self) -> None:
        """Begin to count calls; those before only find the layout of the images."""
        self._active = True

    def hooks(self) -> list[Any]:
        """Add the hooks and return their handles."""
        return [
            self._layer.register_forward_pre_hook(self._before, with_kwargs=True),
            self._layer.register_forward_hook(self._after),
        ]

    def _before(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self._active:
            return
        given = args[0] if args else kwargs.get("input")
        if not isinstance(given, Tensor) or not given.is_floating_point():
            raise UsageError(
                f"layer '{self._label}' receives {type(given).__name__}, expected a tensor of real "
                "numbers; name another layer"
            )
        maps = given.detach()
        if isinstance(self._layer, nn.Linear):  # each position of the input is a patch of one pixel
            maps = maps.reshape(-1, maps.shape[-1])[:, :, None, None]
        if self.calls == 0:
            self._input = maps[:1].cpu().double()
        self.calls += 1
        self._on_input(self._label, maps)

    def _after(self, _: nn.Module, __: object, output: Any) -> None:
        """Check that the output is the filters' response to the patches, up to a constant each."""
        if self._input is None:
            return
        maps, self._input = self._input, None
        window, bias = self._window, getattr(self._layer, "bias", None)
        filters = self._filters.double().flatten(1).unflatten(0, (window.groups, -1))
        expected = (filters @ patches_of(maps, window)).flatten(0, 1)
        if isinstance(bias, Tensor):
            expected = expected + bias.detach().cpu().double()[:, None]
        actual = output.detach().cpu().double() if isinstance(output, Tensor) else expected[:0]
        if isinstance(self._layer, nn.Linear):
            actual = actual.reshape(-1, actual.shape[-1])[:1].T
        else:
            actual = actual[:1].flatten(2).flatten(0, 1)
        if actual.shape != expected.shape:
            raise self._refusal("has another number of places than its stride and padding give")
        size = float(torch.maximum(expected.abs().amax(), actual.abs().amax()))
        allowed = MAX_DEVIATION.get(output.dtype, 0.05) * size
        if float((actual - expected).abs().max()) > allowed:
            raise self._refusal("computes something else than the responses of its filters")

    def _refusal(self, problem: str) -> UsageError:
        return UsageError(
            f"layer '{self._label}' ({type(self._layer).__name__}) {problem}, expected a "
            "convolution or linear layer; name another layer"
        )
