"""Find the first layer of a network, the one that receives the image, by forward passes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError, reason_of, unknown_name
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.models.filters.partial_forward import layer_inputs, run_eagerly
from repsim_energy.numerics.settings import own_settings

__all__ = ["FirstLayer", "first_layer", "layers_with_weights", "named_layer"]

Calls = dict[str, list[bytes]]
"""Name of a layer -> a hash of its input in each call; layers in the order of their calls."""
Shape = tuple[int, int, int]

WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class FirstLayer(NamedTuple):
    """The layer that receives the image.

    Parameters
    ----------
    name : of the layer in its network
    layer : a convolution or any other module
    problem : why the network cannot be run, in which case this is the first convolution that it
        registers; empty if it can
    several : all layers that receive the image, with their types, if this is one of several
    """

    name: str
    layer: nn.Module
    problem: str = ""
    several: str = ""


def first_layer(module: nn.Module, image: Shape) -> FirstLayer:
    """Return the layer that receives the image.

    A layer receives the image if its input changes with the image but not with the outputs of
    other layers with weights. Three forward passes show that: one with an image, one with another
    image, and one with the first image and noise added to the outputs of all layers with weights.
    The state of the network is restored.

    Parameters
    ----------
    image : (c, h, w) of the images

    Raises
    ------
    UsageError
        If there is no such layer, or the network multiplies the image with a tensor that belongs
        to none of its layers.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    >>> first_layer(net, (3, 16, 16))[0]
    '0'
    """
    names, called, problem = _layers_that_receive_image(module, image)
    if not names:
        problem = problem or "none of its layers is called with the image"
        if not any(isinstance(submodule, nn.Conv2d) for submodule in module.modules()):
            c, h, w = image
            raise UsageError(
                f"{type(module).__name__} has no layer that receives {h}x{w}x{c} images "
                f"({problem}) and no Conv2d layer, expected either; use images that the network "
                "is made for"
            )
        registered, layer = find_first_conv(module)
        return FirstLayer(registered, layer, problem)
    layers = layers_with_weights(module)
    listed = ", ".join(f"'{name}' ({_describe(layers[name])})" for name in names)
    first = next(name for name in layers if name in names)
    if tensor := _tensor_before(module, first, image, called):
        raise UsageError(
            f"{type(module).__name__} multiplies the image with its own tensor '{tensor}' before "
            f"the first layer '{first}', expected a layer that holds it and is called; make a "
            "module of the tensor, such as nn.Linear, or name a layer to compare with layer="
        )
    return FirstLayer(first, layers[first], several=listed if len(names) > 1 else "")


def named_layer(module: nn.Module, name: str | None) -> tuple[str, nn.Module]:
    """Return the layer of a name, by default the first convolution that the network registers.

    Raises
    ------
    UsageError
        If the network has no layer of that name; the error lists its layers.
    """
    if name is None:
        return find_first_conv(module)
    submodules = dict(module.named_modules())
    if name not in submodules:
        raise unknown_name(f"layer of {type(module).__name__}", name, layers_with_weights(module))
    return name, submodules[name]


def layers_with_weights(module: nn.Module) -> dict[str, nn.Module]:
    """Return the innermost submodules with a weight matrix, by name.

    These are convolutions, linear layers and other modules that hold a matrix. Norms, and modules
    that only scale or shift their input, are left out.
    """
    layers: dict[str, nn.Module] = {}
    _collect(module, "", layers, set())
    return layers


def _collect(module: nn.Module, name: str, layers: dict[str, nn.Module], seen: set[int]) -> bool:
    """Add the layers of a module to ``layers``, and return whether it has any."""
    if id(module) in seen:
        return True
    seen.add(id(module))
    has_layers = False
    if not isinstance(module, WEIGHTED):
        for key, child in module.named_children():
            if not isinstance(child, nn.utils.parametrize.ParametrizationList):
                has_layers |= _collect(child, f"{name}.{key}" if name else key, layers, seen)
    if not has_layers and (isinstance(module, WEIGHTED) or _has_matrix(module)):
        layers[name] = module
        has_layers = True
    return has_layers


def _has_matrix(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return not isinstance(module, NORMS) and any(_is_matrix(tensor) for tensor in own)


def _is_matrix(tensor: Tensor) -> bool:
    large = sum(n > 1 for n in tensor.shape) > 1
    return large and (tensor.is_floating_point() or tensor.is_complex())


def _tensor_before(module: nn.Module, name: str, image: Shape, called: Iterable[str]) -> str | None:
    """Return a matrix outside of called layers that the input of a layer depends on, or ``None``.

    Functions such as ``F.linear`` use weights without calling their layer. The difference of the
    layer's inputs for two images is compared before and after noise is added to the matrix.
    """
    layers = layers_with_weights(module)
    norms = (submodule for submodule in module.modules() if isinstance(submodule, NORMS))
    used = nn.ModuleList([*(layers[one] for one in called), *norms])
    inside = {id(t) for t in (*used.parameters(), *used.buffers())}
    tensors = (*module.named_parameters(), *module.named_buffers())
    own = {n: t for n, t in tensors if _is_matrix(t) and id(t) not in inside}
    if not own:
        return None
    generator = torch.Generator().manual_seed(2)
    images = [torch.randn(1, *image, generator=generator, device="cpu") for _ in range(2)]
    with own_settings(), preserve_state(module), run_eagerly(module):
        before = _difference(module, layers[name], images)

        def matter(tensors: Iterable[Tensor]) -> bool:
            saved = [(tensor.detach(), tensor.detach().clone()) for tensor in tensors]
            for tensor, _ in saved:
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
                tensor.add_(noise.to(tensor.device, tensor.dtype))
            after = _difference(module, layers[name], images)
            for tensor, values in saved:
                tensor.copy_(values)
            return not _are_close(before, after)

        if before is None or not matter(own.values()):
            return None
        return next((key for key, tensor in own.items() if matter([tensor])), next(iter(own)))


def _are_close(one: Tensor | None, other: Tensor | None) -> bool:
    """Return whether two differences are equal up to rounding."""
    if one is None or other is None or one.shape != other.shape:
        return one is other
    return bool((one - other).abs().max() <= 0.1 * one.abs().max())


def _difference(module: nn.Module, layer: nn.Module, images: list[Tensor]) -> Tensor | None:
    """Return the difference of a layer's inputs for two images, in the first call with any."""
    call = 0
    while True:
        try:
            pair = [layer_inputs(layer, partial(_forward, module), one, call) for one in images]
        except Exception:  # the layer is not called again, or the network fails
            return None
        for one, other in zip(*pair, strict=False):
            if one.shape == other.shape and not torch.equal(one, other):
                difference: Tensor = (one - other).float().cpu()
                return difference
        call += 1


def _forward(module: nn.Module, images: Tensor) -> None:
    """Run a network in its own dtype on its own device, with a fixed seed."""
    own = next((p for p in module.parameters() if p.is_floating_point()), images)
    torch.manual_seed(0)
    module(images.to(own.device, own.dtype))


def _describe(layer: nn.Module) -> str:
    """Return the type of a layer, with the size of its filters."""
    if isinstance(layer, nn.Conv2d):
        size = "x".join(str(n) for n in layer.kernel_size)
        return f"{type(layer).__name__}, {layer.out_channels} filters {size}x{layer.in_channels}"
    return type(layer).__name__


def _layers_that_receive_image(module: nn.Module, image: Shape) -> tuple[list[str], list[str], str]:
    """Return the layers that receive the image, all that are called, and why the network failed."""
    layers = layers_with_weights(module)
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1, *image, generator=generator, device="cpu") for _ in range(2))
    if any(p.is_meta or nn.parameter.is_lazy(p) for p in module.parameters()):
        return [], [], "its weights have no values yet"
    with own_settings(), preserve_state(module), run_eagerly(module):
        calls, problem = _record_inputs(module, layers, one)
        noisy, _ = _record_inputs(module, layers, one, noise=True)
        others, _ = _record_inputs(module, layers, other)
    names = [
        name
        for name, inputs in calls.items()
        if any(
            a == b and a != c
            for a, b, c in zip(inputs, noisy.get(name, []), others.get(name, []), strict=False)
        )
    ]
    return names, list(calls), problem


def _record_inputs(
    module: nn.Module, layers: dict[str, nn.Module], images: Tensor, *, noise: bool = False
) -> tuple[Calls, str]:
    """Run a network and record the inputs of its layers.

    Parameters
    ----------
    noise : whether noise is added to the outputs of the layers

    Returns
    -------
    the inputs until the end or a failure, and the failure
    """
    calls: Calls = {}
    generator = torch.Generator().manual_seed(1)

    def before(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def record(_: nn.Module, args: Any, kwargs: Any) -> None:
            calls.setdefault(name, []).append(_hash((*args, *kwargs.values())))

        return record

    def after(_: nn.Module, __: Any, output: Any) -> Any:
        return _add_noise(output, generator)

    hooks = [
        layer.register_forward_pre_hook(before(name), with_kwargs=True, prepend=True)
        for name, layer in layers.items()
    ]
    if noise:
        hooks += [layer.register_forward_hook(after) for layer in layers.values()]
    try:
        _forward(module, images)
    except Exception as error:  # the network's own code may raise anything
        return calls, reason_of(error)
    finally:
        for hook in hooks:
            hook.remove()
    return calls, ""


def _add_noise(output: Any, generator: torch.Generator) -> Any:
    """Return an output with noise added to each of its tensors."""
    if isinstance(output, Tensor) and (output.is_floating_point() or output.is_complex()):
        noise = torch.randn(output.shape, generator=generator, dtype=torch.float32, device="cpu")
        return output + noise.to(output.device, output.dtype) + 1
    if type(output) in (tuple, list):
        return type(output)(_add_noise(entry, generator) for entry in output)
    return output


def _hash(values: tuple[Any, ...]) -> bytes:
    """Return a hash of the bytes, shapes and dtypes of all tensors."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().contiguous().cpu().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.digest()
