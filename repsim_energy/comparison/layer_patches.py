"""Principal components of the patches that layers anywhere in a network see."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from repsim_energy.comparison.activations import (
    CONVS,
    FIRST,
    OUTPUT,
    layer_names,
)
from repsim_energy.comparison.layer_inputs import show_images
from repsim_energy.comparison.listed import items_of
from repsim_energy.errors import RepsimError, RepsimWarning, UsageError, first_few, warn
from repsim_energy.interfaces import Normalization, PatchBasis
from repsim_energy.models.filters.any_layer import patch_size, window_of
from repsim_energy.numerics.patches.seen import SeenPatches, seen_patches
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["ALL", "PLACES", "filter_layers", "layer_bases", "measure_bases"]

PLACES = ("seen", "inside")
"""Places of patches: those that the layer sees, or all that are inside its input."""

ALL = "all"
"""Name for all convolutions and linear layers."""

MAX_PATCH = 8192
"""Numbers of a patch. The components of larger ones take minutes and more than 2 GiB."""

MAX_MOMENTS_BYTES = 2**30
"""Bytes of second moments of the layers that share a forward pass."""

MAX_NAMED = 5
"""Maximum number of layers that a warning names."""


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
                f"got layers={layer}, which has no filters, expected names of convolutions and "
                f"linear layers, {FIRST}, {CONVS} or {ALL}"
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
    bases = measure_bases(network, named, images, places, normalization)
    _warn_of_missing(bases)
    return bases


@own_settings()
def measure_bases(
    network: nn.Module,
    named: Mapping[str, str],
    images: Tensor | NDArray[Any] | Iterable[Any],
    places: str = "seen",
    normalization: Normalization | None = None,
    device: torch.device | None = None,
) -> dict[str, PatchBasis]:
    """Return the basis of each layer, as :func:`layer_bases` does, without its warning.

    Parameters
    ----------
    named : label -> name of the submodule, by :func:`filter_layers`
    device : that computes; by default the one of the network
    """
    windows = {}
    for label, name in named.items():
        seen = window_of(network.get_submodule(name), name)
        windows[label] = seen if places == "seen" else seen.inside()
    found: dict[str, SeenPatches] = {}
    for group in _groups(network, named, images):

        def add(label: str, maps: Tensor) -> None:
            with _naming(label):
                part = seen_patches(maps, windows[label])
            if part is not None:
                found[label] = found[label] + part if label in found else part

        show_images(network, group, images, add, normalization, device)
    return {label: _basis(label, found[label]) for label in named}


def _basis(label: str, patches: SeenPatches) -> PatchBasis:
    """Return the basis of a layer, with its name in errors, and without its warning."""
    with _naming(label), warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        return patches.basis()


@contextlib.contextmanager
def _naming(label: str) -> Iterator[None]:
    """Name the layer in errors."""
    try:
        yield
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
        warn(
            "components of the patches have no variance and are left out: "
            f"{first_few(missing, MAX_NAMED)} (as of channels that are always zero)"
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
