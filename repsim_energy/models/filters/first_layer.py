"""Find the layer that gets the image, by sending one through the network."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError, reason_of, unknown_name
from repsim_energy.models.filters.layers import find_first_conv
from repsim_energy.models.filters.module_state import left_as_it_was
from repsim_energy.models.filters.partial_forward import input_at
from repsim_energy.numerics.settings import own_settings

__all__ = ["FirstLayer", "first_layer", "layers_with_weights", "named_layer", "run_eagerly"]

Calls = dict[str, list[bytes]]
"""Name of a layer -> a hash of what it got, call after call; layers in the order of their calls."""

Shape = tuple[int, int, int]

WEIGHTED = (nn.modules.conv._ConvNd, nn.Linear)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


class FirstLayer(NamedTuple):
    """The layer that gets the image.

    Parameters
    ----------
    name : in its network
    layer : a convolution, or whatever else gets the image
    problem : why the network could not be run, so that this is the first convolution registered
    several : all layers that get the image with their types, where this is the first registered of
        several
    """

    name: str
    layer: nn.Module
    problem: str = ""
    several: str = ""


def first_layer(module: nn.Module, image: Shape) -> FirstLayer:
    """Return the layer that gets the image, and what makes that a guess.

    Two images are sent through the network, and one of them again while noise is added to the
    answers of all layers with weights. A layer gets the image where its input depends on the image
    and not on those answers. The network is left as it was.

    Parameters
    ----------
    image : (c, h, w) of the images that the network is for

    Raises
    ------
    UsageError
        Where there is none, or it is a tensor of the network's own that no layer holds.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3))
    >>> first_layer(net, (3, 16, 16))[0]
    '0'
    """
    names, problem = _that_get_the_image(module, image)
    if not names:
        problem = problem or "none of its layers is called with the image"
        if not any(isinstance(part, nn.Conv2d) for part in module.modules()):
            c, h, w = image
            raise UsageError(
                f"{type(module).__name__} has no layer that gets {h}x{w}x{c} images ({problem}) "
                "and no Conv2d layer, expected either; use images that the network is for"
            )
        registered, layer = find_first_conv(module)
        return FirstLayer(registered, layer, problem)
    known = layers_with_weights(module)
    listed = ", ".join(f"'{name}' ({_told(known[name])})" for name in names)
    first = next(name for name in known if name in names)
    if own := _own_matrix_before(module, first, image):
        raise UsageError(
            f"{type(module).__name__} multiplies the image with its own tensor '{own}' before a "
            f"layer gets it (the first is '{first}'), expected a layer that holds it; make a "
            "module of its own of it, such as nn.Linear, or name a layer to compare with layer="
        )
    return FirstLayer(first, known[first], several=listed if len(names) > 1 else "")


def named_layer(module: nn.Module, name: str | None) -> tuple[str, nn.Module]:
    """Return the layer of a name, or the first convolution that a network registers.

    Raises
    ------
    UsageError
        For a name that the network does not have, with those of its layers.
    """
    if name is None:
        return find_first_conv(module)
    parts = dict(module.named_modules())
    if name not in parts:
        raise unknown_name(f"layer of {type(module).__name__}", name, layers_with_weights(module))
    return name, parts[name]


def layers_with_weights(module: nn.Module) -> dict[str, nn.Module]:
    """Return the layers that mix numbers of their input, by their names; no part of another one.

    These are convolutions, linear layers, and other innermost modules that hold a matrix. What
    only scales or shifts (norms, own normalization of the input) passes an image on.
    """
    found: dict[str, nn.Module] = {}
    _collect(module, "", found, set())
    return found


def _collect(module: nn.Module, name: str, found: dict[str, nn.Module], seen: set[int]) -> bool:
    """Add the layers inside a module; return whether there are any."""
    if id(module) in seen:
        return True
    seen.add(id(module))
    inside = False
    if not isinstance(module, WEIGHTED):
        for key, child in module.named_children():
            if not isinstance(child, nn.utils.parametrize.ParametrizationList):
                inside |= _collect(child, f"{name}.{key}" if name else key, found, seen)
    if not inside and (isinstance(module, WEIGHTED) or _holds_a_matrix(module)):
        found[name] = module
        inside = True
    return inside


def _holds_a_matrix(module: nn.Module) -> bool:
    own = (*module.parameters(recurse=False), *module.buffers(recurse=False))
    return not isinstance(module, NORMS) and any(_is_matrix(tensor) for tensor in own)


def _is_matrix(tensor: Tensor) -> bool:
    numbers = tensor.is_floating_point() or tensor.is_complex()
    return numbers and sum(n > 1 for n in tensor.shape) > 1


def _own_matrix_before(module: nn.Module, name: str, image: Shape) -> str | None:
    """Return a matrix of no layer that changes how the input of a layer depends on the image."""
    layers = layers_with_weights(module)
    inside = {id(t) for layer in layers.values() for t in (*layer.parameters(), *layer.buffers())}
    norms = [part for part in module.modules() if isinstance(part, NORMS)]
    inside |= {id(t) for norm in norms for t in norm.parameters()}
    tensors = (*module.named_parameters(), *module.named_buffers())
    own = {n: t for n, t in tensors if _is_matrix(t) and id(t) not in inside}
    if not own:
        return None
    generator = torch.Generator().manual_seed(2)
    images = [torch.randn(1, *image, generator=generator, device="cpu") for _ in range(2)]
    with own_settings(), left_as_it_was(module), run_eagerly(module):
        before = _difference(module, layers[name], images)

        def changes(tensors: Iterable[Tensor]) -> bool:
            kept = [(tensor.detach(), tensor.detach().clone()) for tensor in tensors]
            for tensor, _ in kept:
                noise = torch.randn(tensor.shape, generator=generator, dtype=torch.float32)
                tensor.add_(noise.to(tensor.device, tensor.dtype))
            after = _difference(module, layers[name], images)
            for tensor, numbers in kept:
                tensor.copy_(numbers)
            return not _alike(before, after)

        if before is None or not changes(own.values()):
            return None
        return next((key for key, tensor in own.items() if changes([tensor])), next(iter(own)))


def _alike(one: Tensor | None, other: Tensor | None) -> bool:
    """Return whether two differences are the same but for rounding."""
    if one is None or other is None or one.shape != other.shape:
        return one is other
    return bool((one - other).abs().max() <= 0.1 * one.abs().max())


def _difference(module: nn.Module, layer: nn.Module, images: list[Tensor]) -> Tensor | None:
    """Return how a layer's input differs between two images, at its first call where it does."""
    call = 0
    while True:
        try:
            pair = [input_at(layer, partial(_send, module), one, call) for one in images]
        except Exception:  # it is not called again, or the network fails
            return None
        for one, other in zip(*pair, strict=False):
            if one.shape == other.shape and not torch.equal(one, other):
                difference: Tensor = (one - other).float().cpu()
                return difference
        call += 1


def _send(module: nn.Module, images: Tensor) -> None:
    own = next((p for p in module.parameters() if p.is_floating_point()), images)
    torch.manual_seed(0)
    module(images.to(own.device, own.dtype))


def _told(layer: nn.Module) -> str:
    """Return type and size of a layer."""
    if isinstance(layer, nn.Conv2d):
        size = "x".join(str(n) for n in layer.kernel_size)
        return f"{type(layer).__name__}, {layer.out_channels} filters {size}x{layer.in_channels}"
    return type(layer).__name__


def _that_get_the_image(module: nn.Module, image: Shape) -> tuple[list[str], str]:
    """Return the names of the layers whose input comes of the image alone, and what failed."""
    layers = layers_with_weights(module)
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(1, *image, generator=generator, device="cpu") for _ in range(2))
    if any(p.is_meta or nn.parameter.is_lazy(p) for p in module.parameters()):
        return [], "its weights have no numbers yet"
    with own_settings(), left_as_it_was(module), run_eagerly(module):
        calls, problem = _calls(module, layers, one)
        again, _ = _calls(module, layers, one, noise=True)
        others, _ = _calls(module, layers, other)
    names = [
        name
        for name, inputs in calls.items()
        if any(
            a == b and a != c
            for a, b, c in zip(inputs, again.get(name, []), others.get(name, []), strict=False)
        )
    ]
    return names, problem


def _calls(
    module: nn.Module, layers: dict[str, nn.Module], images: Tensor, *, noise: bool = False
) -> tuple[Calls, str]:
    """Send images through a network, noise added to what its layers answer on request.

    Returns
    -------
    the calls of its layers, and why they are not all: the network's own code may raise anything
    """
    found: Calls = {}
    generator = torch.Generator().manual_seed(1)

    def before(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def note(_: nn.Module, args: Any, options: Any) -> None:
            found.setdefault(name, []).append(_hash((*args, *options.values())))

        return note

    def after(_: nn.Module, __: Any, answer: Any) -> Any:
        return _noise(answer, generator)

    hooks = [
        layer.register_forward_pre_hook(before(name), with_kwargs=True, prepend=True)
        for name, layer in layers.items()
    ]
    if noise:
        hooks += [layer.register_forward_hook(after) for layer in layers.values()]
    try:
        _send(module, images)
    except Exception as error:
        return found, reason_of(error)
    finally:
        for hook in hooks:
            hook.remove()
    return found, ""


def _noise(answer: Any, generator: torch.Generator) -> Any:
    """Return an answer with noise added to each of its tensors."""
    if isinstance(answer, Tensor) and (answer.is_floating_point() or answer.is_complex()):
        numbers = torch.randn(answer.shape, generator=generator, dtype=torch.float32, device="cpu")
        return answer + numbers.to(answer.device, answer.dtype) + 1
    if type(answer) in (tuple, list):
        return type(answer)(_noise(part, generator) for part in answer)
    return answer


def _hash(values: tuple[Any, ...]) -> bytes:
    """Return a hash of the numbers of all tensors."""
    digest = hashlib.sha256()
    for value in values:
        if isinstance(value, Tensor):
            digest.update(f"{value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().contiguous().cpu().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
    return digest.digest()


@contextlib.contextmanager
def run_eagerly(module: nn.Module) -> Iterator[None]:
    """Run what torch.compile has wrapped as it was written, since hooks do not reach into it."""
    if any("_orig_mod" in part._modules for part in module.modules()):
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield
