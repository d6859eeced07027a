"""Run a network and leave it, and the random numbers, as they were."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.numerics.generators import seeded

__all__ = ["left_as_it_was"]

CONTAINERS = (dict, OrderedDict, list, set)
"""Types of attributes whose content is put back: those of hooks, buffers, parameters among them."""


@contextlib.contextmanager
def left_as_it_was(module: nn.Module) -> Iterator[None]:
    """Run a network in evaluation mode inside, and put everything back that this changes.

    Put back are, of every submodule, the mode, all attributes, hooks, parameters and buffers (which
    objects they are and the numbers in them), and the random states of torch, NumPy and Python.
    """
    kept = [_Kept(part) for part in module.modules()]
    try:
        with seeded(0):
            for part in module.modules():
                part.training = False
            yield
    finally:
        for one in kept:
            one.put_back()


class _Kept:
    """The attributes of one module, and the content of those that can change in place."""

    def __init__(self, module: nn.Module) -> None:
        self._own = vars(module)
        self._attributes = dict(self._own)
        found = self._attributes.values()
        self._containers = [(v, v.copy()) for v in found if type(v) in CONTAINERS]
        inside = [v for c, _ in self._containers if isinstance(c, dict) for v in c.values()]
        tensors = [v for v in (*found, *inside) if isinstance(v, Tensor) and not v.is_meta]
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in tensors]

    def put_back(self) -> None:
        for name in self._own.keys() - self._attributes.keys():
            del self._own[name]
        self._own.update(self._attributes)
        for container, content in self._containers:
            _fill(container, content)
        for tensor, numbers in self._tensors:
            _restore(tensor, numbers)


def _fill(container: Any, content: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(content)
    else:
        container.update(content)


def _restore(tensor: Tensor, numbers: Tensor) -> None:
    """Write numbers back where they have changed; those that have not keep their version."""
    now = tensor.detach()
    if now.shape != numbers.shape or now.dtype != numbers.dtype or now.device != numbers.device:
        tensor.data = numbers
    elif not _same(now, numbers):
        with torch.no_grad():
            now.copy_(numbers)


def _same(one: Tensor, other: Tensor) -> bool:
    if torch.equal(one, other):
        return True
    equal = (one == other) | ((one != one) & (other != other))  # NaN is what it was
    return bool(equal.all())
