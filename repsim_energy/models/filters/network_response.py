"""Read the impulse response of a layer through the operations before it in the network.

Operations before a layer (``nn.Flatten``, patches reshaped to rows, space-to-depth) decide which
pixels it sees. The network is run on impulses up to the layer, whose outputs are the filters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError
from repsim_energy.models.filters.first_layer import layers_with_weights
from repsim_energy.models.filters.impulse_response import (
    TOLERANCE,
    Call,
    as_float64,
    as_is,
    first_that_runs,
    response_of,
)
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.models.filters.partial_forward import Network, layer_output, run_eagerly
from repsim_energy.numerics.settings import own_settings

__all__ = ["FailedForwardPass", "response_through"]

Shape = tuple[int, int, int]


class FailedForwardPass(UsageError):
    """A network fails on images, or its layer does not depend on them."""


def response_through(module: nn.Module, name: str, image: Sequence[int]) -> Tensor:
    """Return the (k, c, kh, kw) filters of a layer as its impulse response to the image.

    A layer with one output position, such as the first of an MLP, has filters as large as the
    image.

    Raises
    ------
    FailedForwardPass
        If the network fails on images of this size.
    UsageError
        If the layer is not linear in the image, or applies different filters at different
        positions.
    """
    c, h, w = image
    layer = module.get_submodule(name)
    what = f"'{name}' ({type(layer).__name__}), with the operations before it,"
    others = [other for other in layers_with_weights(module) if other != name]

    def probe(network: Network) -> Tensor:
        return _response(layer, network, (c, h, w), what).float().contiguous()

    with own_settings(), preserve_state(module), run_eagerly(module):
        result = first_that_runs(probe, (as_float64(module, others), as_is(module)))
    if isinstance(result, Tensor):
        return result
    raise FailedForwardPass(
        f"'{name}' ({type(layer).__name__}) receives no {h}x{w}x{c} images ({result}), expected a "
        "layer that does; use images of the size and channels that the network "
        "is made for, or name another layer with layer="
    )


def _response(layer: nn.Module, network: Network, image: Shape, what: str) -> Tensor:
    """Return the filters of a layer, for the first of its output axes that can be the filters."""
    generator = torch.Generator().manual_seed(0)
    two = torch.randn(2, *image, generator=generator, dtype=torch.float64)
    run = _up_to_layer(layer, network, two, what)
    refusal = None
    for axis in _filter_axes(layer, run(two[:1])):
        try:
            return response_of(_by_position(run, axis, two), image, what)
        except UsageError as error:
            refusal = refusal or error
    assert refusal is not None
    raise refusal


def _up_to_layer(
    layer: nn.Module, network: Network, two: Tensor, what: str
) -> Callable[[Tensor], Tensor]:
    """Return images -> the output of the layer in its first call that depends on the image.

    Parameters
    ----------
    two : two images
    """

    def output(images: Tensor, call: int) -> Tensor:
        value = layer_output(layer, network, images, call)
        if isinstance(value, Tensor) and value.ndim > 1:
            return value
        raise UsageError(
            f"{what} returns {type(value).__name__}, expected a tensor with the output of each "
            "filter; name another layer with layer="
        )

    call = 0
    while torch.equal(output(two[:1], call), output(two[1:], call)):
        call += 1
    return lambda images: output(images, call)


def _filter_axes(layer: nn.Module, output: Tensor) -> Sequence[int]:
    """Return the axes of the output for one image that may be the filters, the likely one first."""
    if isinstance(layer, nn.Linear) or output.ndim == 2:
        return (-1,)
    if isinstance(layer, nn.modules.conv._ConvNd):
        return (1,)
    return (-1, 1) if output.ndim == 3 else (1, -1)


def _by_position(run: Callable[[Tensor], Tensor], axis: int, two: Tensor) -> Call:
    """Return images -> (n, k, positions) outputs.

    Images are run as one batch if their outputs are then those of each image alone. They are not
    if the network concatenates the patches of all images along the first axis.

    Parameters
    ----------
    axis : of the filters in the output of ``run``
    two : two images
    """

    def one_by_one(images: Tensor) -> Tensor:
        outputs = [run(images[i : i + 1]).movedim(axis, 0) for i in range(len(images))]
        return torch.stack([output.flatten(1) for output in outputs])

    def as_batch(images: Tensor) -> Tensor:
        output = run(images).movedim(axis, 1)
        return output.flatten(2) if output.ndim > 2 else output[:, :, None]

    try:
        batch, expected = as_batch(two), one_by_one(two)
    except Exception:  # the network accepts one image only
        return one_by_one
    if batch.shape != expected.shape or (batch - expected).abs().max() > _rounding(expected):
        return one_by_one
    return as_batch


def _rounding(outputs: Tensor) -> float:
    """Return the maximum difference of outputs that are computed in another order."""
    return TOLERANCE.get(outputs.dtype, 0.03) * float(outputs.abs().amax())
