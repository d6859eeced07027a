"""Save and restore the state of a network around forward passes."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.numerics.generators import seeded

__all__ = ["preserve_state"]

CONTAINERS = (dict, OrderedDict, list, set)
"""Types of attributes whose entries are restored, such as the dictionary of parameters."""


@contextlib.contextmanager
def preserve_state(module: nn.Module) -> Iterator[None]:
    """Set a network to evaluation mode inside, and restore its whole state afterwards.

    Of every submodule the mode, all attributes, hooks, parameters and buffers are restored, both
    the objects and their values. So are the random states of torch, NumPy and Python.
    """
    saved = [_SavedModule(submodule) for submodule in module.modules()]
    try:
        with seeded(0):
            for submodule in module.modules():
                submodule.training = False
            yield
    finally:
        for one in saved:
            one.restore()


class _SavedModule:
    """The attributes of one module, with copies of those that can change in place."""

    def __init__(self, module: nn.Module) -> None:
        self._vars = vars(module)
        self._attributes = dict(self._vars)
        values = self._attributes.values()
        self._containers = [(v, v.copy()) for v in values if type(v) in CONTAINERS]
        entries = [v for c, _ in self._containers if isinstance(c, dict) for v in c.values()]
        tensors = [v for v in (*values, *entries) if isinstance(v, Tensor) and not v.is_meta]
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in tensors]

    def restore(self) -> None:
        for name in self._vars.keys() - self._attributes.keys():
            del self._vars[name]
        self._vars.update(self._attributes)
        for container, entries in self._containers:
            _restore_container(container, entries)
        for tensor, values in self._tensors:
            _restore_tensor(tensor, values)


def _restore_container(container: Any, entries: Any) -> None:
    container.clear()
    if isinstance(container, list):
        container.extend(entries)
    else:
        container.update(entries)


def _restore_tensor(tensor: Tensor, values: Tensor) -> None:
    """Write the values back if they have changed, which raises the tensor's version counter."""
    now = tensor.detach()
    if now.shape != values.shape or now.dtype != values.dtype or now.device != values.device:
        tensor.data = values
    elif not _are_equal(now, values):
        with torch.no_grad():
            now.copy_(values)


def _are_equal(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors have equal values, NaN being equal to NaN."""
    if torch.equal(one, other):
        return True
    return bool(((one == other) | ((one != one) & (other != other))).all())
