"""Leave a network at one of its layers, with what the layer gets or answers there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

__all__ = ["Network", "answer_at", "input_at"]

Network = Callable[[Tensor], object]


class _Left(BaseException):
    """Leaves a network; no ``except Exception`` of its code stops that."""

    def __init__(self, value: Any) -> None:
        self.value = value


def answer_at(layer: nn.Module, network: Network, images: Tensor, call: int) -> Any:
    """Return what a layer of a network answers at its call of this number, counted from 0.

    Raises
    ------
    RuntimeError
        Where it is not called that often.
    """

    def after(_: nn.Module, __: Any, answer: Any) -> Any:
        return answer

    return _value_at(layer, network, images, call, after, before=False)


def input_at(layer: nn.Module, network: Network, images: Tensor, call: int) -> list[Tensor]:
    """Return the tensors that a layer of a network gets at its call of this number."""

    def before(_: nn.Module, args: Any, options: Any) -> Any:
        return [value for value in (*args, *options.values()) if isinstance(value, Tensor)]

    found: list[Tensor] = _value_at(layer, network, images, call, before, before=True)
    return found


def _value_at(
    layer: nn.Module,
    network: Network,
    images: Tensor,
    call: int,
    value: Callable[..., Any],
    *,
    before: bool,
) -> Any:
    calls = 0

    def leave(*got: Any) -> None:
        nonlocal calls
        calls += 1
        if calls > call:
            raise _Left(value(*got))

    if before:
        hook = layer.register_forward_pre_hook(leave, with_kwargs=True, prepend=True)
    else:
        hook = layer.register_forward_hook(leave)
    try:
        network(images)
    except _Left as left:
        return left.value
    finally:
        hook.remove()
    raise RuntimeError("is not called with them" if calls == 0 else "does not depend on them")
