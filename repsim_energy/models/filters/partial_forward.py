"""Run the forward pass of a network with hooks, up to one of its layers."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Network", "layer_inputs", "layer_output", "run_eagerly"]

Network = Callable[[Tensor], object]
"""A network as a function of images (n, c, h, w)."""


class _Stop(BaseException):
    """Ends a forward pass. It is a BaseException, which ``except Exception`` does not catch."""

    def __init__(self, value: Any) -> None:
        self.value = value


def layer_output(layer: nn.Module, network: Network, images: Tensor, call: int) -> Any:
    """Return the output of a layer, and stop the forward pass there.

    Parameters
    ----------
    layer : a submodule of the network
    call : which call of the layer in the forward pass, counted from 0

    Raises
    ------
    RuntimeError
        If the layer is called less often.
    """

    def output(_: nn.Module, __: Any, value: Any) -> Any:
        return value

    return _stop_at(layer, network, images, call, output, before=False)


def layer_inputs(layer: nn.Module, network: Network, images: Tensor, call: int) -> list[Tensor]:
    """Return the tensors that a layer receives, and stop the forward pass before it.

    Parameters and errors are those of :func:`layer_output`.
    """

    def inputs(_: nn.Module, args: Any, kwargs: Any) -> Any:
        return [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]

    tensors: list[Tensor] = _stop_at(layer, network, images, call, inputs, before=True)
    return tensors


def _stop_at(
    layer: nn.Module,
    network: Network,
    images: Tensor,
    call: int,
    value: Callable[..., Any],
    *,
    before: bool,
) -> Any:
    """Return the value of the arguments of a hook, before or after a layer."""
    calls = 0

    def stop(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > call:
            raise _Stop(value(*arguments))

    if before:
        hook = layer.register_forward_pre_hook(stop, with_kwargs=True, prepend=True)
    else:
        hook = layer.register_forward_hook(stop)
    try:
        network(images)
    except _Stop as stopped:
        return stopped.value
    finally:
        hook.remove()
    problem = "is not called" if calls == 0 else "does not depend on the images"
    raise RuntimeError(f"the layer {problem}")


@contextlib.contextmanager
def run_eagerly(module: nn.Module) -> Iterator[None]:
    """Run a network without torch.compile inside, because compiled code skips hooks."""
    if any("_orig_mod" in submodule._modules for submodule in module.modules()):
        with torch.compiler.set_stance("force_eager"):
            yield
    else:
        yield
