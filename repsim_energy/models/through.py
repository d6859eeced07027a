"""Read the filters of the layer that gets the image through the network that it stands in.

What stands before a layer (``nn.Flatten``, patches laid out as rows, space-to-depth) decides which
pixels it sees. The network is shown images of impulses and left as soon as the layer has answered:
these answers are the filters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError
from repsim_energy.models.first_layer import layers_with_weights, run_eagerly
from repsim_energy.models.impulses import (
    TOLERANCE,
    Call,
    as_it_is,
    first_that_runs,
    in_double,
    response_of,
)
from repsim_energy.models.layers import applies_its_weight, find_first_conv, read_filters, step_of
from repsim_energy.models.leaving import Network, answer_at, input_at
from repsim_energy.models.untouched import left_as_it_was
from repsim_energy.numerics.settings import own_settings

__all__ = [
    "applied_filters",
    "filters_of_weights",
    "mixes_channels",
    "response_through",
    "step_through",
]

Shape = tuple[int, int, int]

GEOMETRY = (
    "in_channels",
    "out_channels",
    "kernel_size",
    "stride",
    "padding",
    "dilation",
    "groups",
    "padding_mode",
)
"""What a convolution is but for its numbers."""


MIXED = 0.01
"""From which part of the largest change on another channel or place counts as changed."""


LEAST = 0.5
"""Of the largest scale of a channel, with its sign, that of the others where they count as equal:
networks divide channels by standard deviations of their own, which are close to each other."""


class _Unanswered(UsageError):
    """The layer does not get the image, or the network fails before."""


def applied_filters(module: nn.Module, name: str, image: Sequence[int]) -> Tensor:
    """Return the (k, c, kh, kw) filters that a layer of a network applies to images (c, h, w).

    A convolution that gets the channels of the image, each by itself, is read by itself, any other
    layer through the network: also one behind reversed channels, or a change of color space.
    float32 on the CPU; the network is left as it was.

    Raises
    ------
    UsageError
        Where the layer is no linear function of patches of the image, the same everywhere.

    Examples
    --------
    >>> net = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(12, 8, 3))
    >>> applied_filters(net, "1", (3, 12, 12)).shape
    torch.Size([8, 3, 6, 6])
    """
    layer = module.get_submodule(name)
    if not isinstance(layer, nn.Conv2d):
        return response_through(module, name, image)
    if layer.in_channels == image[0] and not mixes_channels(module, name, image):
        return read_filters(layer, name)
    try:
        return response_through(module, name, image)
    except _Unanswered:  # made for other images, which is said when its channels are compared
        return read_filters(layer, name)


def mixes_channels(module: nn.Module, name: str, image: Sequence[int]) -> bool:
    """Return whether a network reverses or mixes the channels of each pixel before a layer.

    One pixel is changed in one channel after the other. Where other channels of one place, and
    no other place, answer to it before the layer, they are mixed; so they are where a channel
    changes its sign beside another, or is scaled by less than half as much. What changes images
    in another way, such as their size, is not looked for, and a network that fails mixes nothing.

    Examples
    --------
    >>> class Reversed(nn.Sequential):
    ...     def forward(self, images):
    ...         return super().forward(images.flip(1))
    >>> mixes_channels(Reversed(nn.Conv2d(3, 8, 3)), "0", (3, 8, 8))
    True
    """
    c, h, w = image
    generator = torch.Generator().manual_seed(3)
    images = torch.rand(1, c, h, w, generator=generator, device="cpu").repeat(c + 1, 1, 1, 1)
    for channel in range(c):
        images[channel + 1, channel, h // 2, w // 2] += 0.5
    layer = module.get_submodule(name)
    with own_settings(), left_as_it_was(module), run_eagerly(module):
        try:
            network = as_it_is(module)
            got = [input_at(layer, network, one, 0)[0].double().cpu() for one in images.split(1)]
            change = torch.cat(got[1:]) - got[0]
        except Exception:  # a network's own code may raise anything
            return False
    if change.ndim != 4 or change.shape[1] != c:
        return False
    size = change.abs().amax((0, 1))
    place = (size > MIXED * size.max()).nonzero()
    if len(place) != 1:
        return False
    matrix, most = change[:, :, place[0, 0], place[0, 1]], float(size.max())
    own = matrix.diag()
    return bool(
        (matrix - own.diag()).abs().max() > MIXED * most
        or (own / own[own.abs().argmax()]).min() < LEAST
    )


def filters_of_weights(
    module: nn.Module, name: str, weights: Tensor, image: Sequence[int] | None = None
) -> Tensor:
    """Return the filters that a layer would apply with other weights, such as initial ones.

    Weights of another shape than the layer's are returned as they are, and so are those of a layer
    that applies its weights as they are.

    Parameters
    ----------
    weights : as the layer holds or computes them, so that filters of a group have its channels only
    image : (c, h, w) to read through the network; without it the layer is read by itself

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2))
    >>> filters_of_weights(net, "0", torch.randn(8, 2, 3, 3)).shape
    torch.Size([8, 4, 3, 3])
    """
    layer = module.get_submodule(name)
    if getattr(layer, "weight", weights[:0]).shape != weights.shape:
        return weights
    plain = isinstance(layer, nn.Conv2d) and applies_its_weight(layer)
    if plain and (
        image is None or (layer.in_channels == image[0] and not mixes_channels(module, name, image))
    ):
        return weights
    with own_settings(), left_as_it_was(module):
        if isinstance(own := layer._parameters.get("weight"), Tensor):
            own.detach().copy_(weights)
        elif isinstance(layer, nn.Conv2d):  # norms and masks are in the weights already
            vars(layer)["forward"] = _with_weights(layer, weights).forward
        else:
            return weights
        if image is None:
            return read_filters(find_first_conv(module, name).module, name)
        return applied_filters(module, name, image)


def _with_weights(layer: nn.Conv2d, weights: Tensor) -> nn.Conv2d:
    """Return a convolution of the same geometry that holds its weights as they are."""
    geometry: dict[str, Any] = {name: getattr(layer, name) for name in GEOMETRY}
    plain = nn.Conv2d(**geometry, bias=False, device=weights.device, dtype=weights.dtype)
    plain.weight.detach().copy_(weights)
    return plain


def step_through(layer: nn.Module, filters: Tensor) -> tuple[int, int]:
    """Return the step in rows and columns from one pixel that filters see to the next.

    It is that of a dilated convolution, or of rows and columns that are seen at equal distances.
    """
    if isinstance(layer, nn.Conv2d):
        return step_of(layer, filters)
    rows, columns = (_step(filters.any(1).any(0).any(axis).nonzero().flatten()) for axis in (1, 0))
    return rows, columns


def _step(seen: Tensor) -> int:
    steps = seen.diff()
    regular = len(steps) > 0 and int(seen[0]) == 0 and bool((steps == steps[0]).all())
    return int(steps[0]) if regular else 1


def response_through(module: nn.Module, name: str, image: Sequence[int]) -> Tensor:
    """Return the (k, c, kh, kw) filters of a layer, from its answers to impulses in the image.

    Where the layer answers patch after patch, these are the filters of a patch; where it has one
    answer to the image, filters as large as the image.
    """
    c, h, w = image
    layer = module.get_submodule(name)
    what = f"'{name}' ({type(layer).__name__}), with what stands before it,"
    others = [other for other in layers_with_weights(module) if other != name]

    def probed(network: Network) -> Tensor:
        return _response(layer, network, (c, h, w), what).float().contiguous()

    with own_settings(), left_as_it_was(module), run_eagerly(module):
        found = first_that_runs(probed, (in_double(module, others), as_it_is(module)))
    if isinstance(found, Tensor):
        return found
    raise _Unanswered(
        f"'{name}' ({type(layer).__name__}) gets no {h}x{w}x{c} images ({found}), so that "
        "its filters cannot be read; use images of the size and channels that the network is for, "
        "or name another layer with layer="
    )


def _response(layer: nn.Module, network: Network, image: Shape, what: str) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    two = torch.randn(2, *image, generator=generator, dtype=torch.float64)
    run = _until_answered(layer, network, two, what)
    refused = None
    for axis in _filter_axes(layer, run(two[:1]), what):
        try:
            return response_of(_places_of(run, axis, two), image, what)
        except UsageError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _until_answered(
    layer: nn.Module, network: Network, two: Tensor, what: str
) -> Callable[[Tensor], Tensor]:
    """Return images -> the answer of the layer's first call that depends on the image."""

    def answer_of(images: Tensor, call: int) -> Tensor:
        answer = answer_at(layer, network, images, call)
        if isinstance(answer, Tensor) and answer.ndim > 1:
            return answer
        raise UsageError(
            f"{what} answers {type(answer).__name__}, expected a tensor of what each filter "
            "answers; name another layer with layer="
        )

    call = 0
    while torch.equal(answer_of(two[:1], call), answer_of(two[1:], call)):
        call += 1
    return lambda images: answer_of(images, call)


def _filter_axes(layer: nn.Module, answer: Tensor, what: str) -> Sequence[int]:
    """Return the axes that may count filters in the answer to one image, the likely one first."""
    if isinstance(layer, nn.Linear) or answer.ndim == 2:
        return (-1,)
    if isinstance(layer, nn.modules.conv._ConvNd):
        return (1,)
    return (-1, 1) if answer.ndim == 3 else (1, -1)


def _places_of(run: Callable[[Tensor], Tensor], axis: int, two: Tensor) -> Call:
    """Return images -> (n, k, places) answers.

    Images are shown together where the answers then are those to each alone, along the first
    axis, which they are not where patches of all images are laid out as one list.
    """

    def one_by_one(images: Tensor) -> Tensor:
        answers = [run(images[i : i + 1]).movedim(axis, 0) for i in range(len(images))]
        return torch.stack([answer.flatten(1) for answer in answers])

    def together(images: Tensor) -> Tensor:
        answer = run(images).movedim(axis, 1)
        return answer.flatten(2) if answer.ndim > 2 else answer[:, :, None]

    try:
        found, expected = together(two), one_by_one(two)
    except Exception:  # of a network that takes one image
        return one_by_one
    if found.shape != expected.shape or (found - expected).abs().max() > _rounding(expected):
        return one_by_one
    return together


def _rounding(answers: Tensor) -> float:
    """Return by how much answers may differ that are computed in another order."""
    return TOLERANCE.get(answers.dtype, 0.03) * float(answers.abs().amax())
