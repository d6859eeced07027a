"""Average gradient outer product of the patches that a convolution receives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import DataError, ShapeError, UsageError, reason_of
from repsim_energy.models.filters.layers import applies_its_weight, find_first_conv, read_filters
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.models.filters.partial_forward import run_eagerly
from repsim_energy.numerics.arrays import takes_arrays
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["gradient_covariance"]

Outputs = Callable[[Any], Tensor]


@takes_arrays
@own_settings(grad=True)
def gradient_covariance(
    module: nn.Module,
    images: Tensor,
    *,
    layer: str | None = None,
    outputs: Outputs | None = None,
    batch: int = 64,
) -> NDArray[np.float64]:
    r"""Return the average gradient outer product of a network over the patches of its first layer.

    .. math:: G = \frac1N \sum_{x, j, o} \frac{\partial f_o(x)}{\partial p_j}
        \frac{\partial f_o(x)}{\partial p_j}^\top = W^\top B W, \qquad
        B = \frac1N \sum_{x, j, o} \delta_{xjo}\, \delta_{xjo}^\top

    f_o is an output of the network, p_j the patch at place j of an image x, W the filters of the
    convolution, and :math:`\delta_{xjo}` the gradient of f_o(x) with respect to the responses of
    the filters at place j. B needs a backward pass for each output, and no derivatives by patches.

    The network is in evaluation mode meanwhile, and its whole state is restored.

    Source: Radhakrishnan, Beaglehole, Pandit and Belkin (2024), "Mechanism for feature learning in
    neural networks and backpropagation-free machine learning models", Science 383;
    doi:10.1126/science.adi5639. The form WᵀBW follows from the chain rule.

    Parameters
    ----------
    module : a network with a convolution, on any device and of any precision
    images : (n, c, h, w) floating point, normalized as the network expects them
    layer : the name of a convolution; by default the first one that the network registers
    outputs : from what the network returns to the (n, ...) numbers f; by default all that it
        returns. ``lambda logits: logits[:, 3:4]`` chooses one class
    batch : maximum number of images at once

    Returns
    -------
    (d, d) float64, symmetric, without negative eigenvalues, with d = c * kh * kw, flattened
    channel-first, in units of outputs squared per input squared

    Raises
    ------
    UsageError
        For a network without such a layer, one that calls it more than once, and one whose outputs
        have no gradient with respect to it.
    ShapeError
        For images or outputs that have not one entry per image.
    DataError
        For images that are bytes, and for gradients that are not finite.

    Examples
    --------
    >>> torch.manual_seed(0) and None
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 2))
    >>> gradient_covariance(net, torch.randn(5, 1, 6, 6)).shape
    (9, 9)
    """
    if images.ndim != 4 or len(images) == 0:
        raise ShapeError(f"images have shape {tuple(images.shape)}, expected (n, c, h, w), n > 0")
    if not images.is_floating_point():
        raise DataError(
            f"images are {images.dtype}, expected floating point; normalize them as the network "
            "expects"
        )
    if batch < 1:
        raise UsageError(f"batch is {batch}, expected at least 1 image")
    name, conv = find_first_conv(module, layer)
    weights = conv.weight.detach() if applies_its_weight(conv) else read_filters(conv, name)
    flat = weights.to(device="cpu", dtype=torch.float64).flatten(1)
    products = torch.zeros(len(flat), len(flat), dtype=torch.float64)
    with preserve_state(module), run_eagerly(module):
        for part in images.split(batch):
            products += _products_of_gradients(module, conv, name, part, outputs)
    gradients = flat.T @ (products / len(images)) @ flat
    if not gradients.isfinite().all():
        raise DataError(
            "the gradients of the network are NaN or infinite, expected finite numbers; look at "
            "its weights and images"
        )
    covariance: NDArray[np.float64] = ((gradients + gradients.T) / 2).numpy()
    return covariance


def _products_of_gradients(
    module: nn.Module, conv: nn.Conv2d, name: str, images: Tensor, outputs: Outputs | None
) -> Tensor:
    """Return the sum of the outer products of gradients over images, places and outputs, (k, k)."""
    responses, values = _forward(module, conv, images, outputs)
    if len(responses) != 1:
        raise UsageError(
            f"{type(module).__name__} calls its layer '{name}' {len(responses)} times per image, "
            "expected once; name another layer"
        )
    rows = _numbers_of_images(values, len(images), type(module).__name__)
    filters = responses[0].shape[1]
    products = torch.zeros(filters, filters, dtype=torch.float64)
    for output in rows.T:
        (gradient,) = torch.autograd.grad(
            output.sum(), responses[0], retain_graph=True, allow_unused=True
        )
        if gradient is not None:
            # Some devices have no float64.
            at_places = gradient.transpose(0, 1).flatten(1).cpu().to(torch.float64)
            products += at_places @ at_places.T
    return products


def _forward(
    module: nn.Module, conv: nn.Conv2d, images: Tensor, outputs: Outputs | None
) -> tuple[list[Tensor], Any]:
    """Return the responses of each call of a convolution, and the outputs that depend on them."""
    responses: list[Tensor] = []

    def begin_graph(_: nn.Module, __: Any, response: Tensor) -> Tensor:
        responses.append(response.detach().requires_grad_())
        return responses[-1].clone()  # layers that follow may work in place

    hook = conv.register_forward_hook(begin_graph)
    weight = conv.weight
    try:
        values = module(images.to(device=weight.device, dtype=weight.dtype))
        return responses, values if outputs is None else outputs(values)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        c, h, w = images.shape[1:]
        raise UsageError(
            f"{type(module).__name__} fails on {h}x{w}x{c} images ({reason_of(error)}), expected "
            "images and outputs= that fit the network"
        ) from error
    finally:
        hook.remove()


def _numbers_of_images(values: Any, count: int, kind: str) -> Tensor:
    """Return the outputs as (n, m), and refuse outputs without gradients."""
    if not isinstance(values, Tensor):
        raise UsageError(
            f"{kind} returns {type(values).__name__}, expected a tensor; choose one with outputs="
        )
    if values.ndim < 1 or len(values) != count:
        raise ShapeError(
            f"outputs have shape {tuple(values.shape)}, expected ({count}, ...), a row per image"
        )
    if not values.requires_grad:
        raise UsageError(
            f"the outputs of {kind} have no gradient with respect to the convolution, expected "
            "outputs that depend on it without torch.no_grad() or detach()"
        )
    return values.flatten(1) if values.ndim > 1 else values[:, None]
