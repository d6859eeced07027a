"""Exponential moving average of the weights of a network in training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Average", "tensors_of"]

Tensors = Mapping[str, Tensor]


class Average:
    r"""Mean of a network over its steps, where the weight of a step falls with its age.

    .. math:: \bar{w}_t = \frac{1 - d}{1 - d^t} \sum_{s=1}^{t} d^{t-s} w_s

    The initial weights have no part in it. Buffers of real numbers, such as the running mean and
    variance of batch norms, are averaged as weights are. Integers stay those of the network.

    Parameters
    ----------
    tensors : returns the weights and buffers as they are now
    decay : d in [0, 1); with 0 there is no average, and every method leaves the network alone

    Examples
    --------
    >>> weight = torch.zeros(1)
    >>> average = Average(lambda: {"weight": weight}, decay=0.5)
    >>> for step in (1, 4):
    ...     weight[0] = step
    ...     average.add()
    >>> average.tensors()["weight"]  # (0.5 * 1 + 4) / 1.5
    tensor([3.])
    """

    def __init__(self, tensors: Callable[[], Tensors], decay: float) -> None:
        self._tensors, self._decay, self._count = tensors, decay, 0
        self._mean: dict[str, Tensor] = {}
        if decay:
            self._mean = {name: _wide(tensor).clone() for name, tensor in self._now().items()}

    def _now(self) -> dict[str, Tensor]:
        """Return the tensors of the network that have an average."""
        return {
            name: tensor.detach()
            for name, tensor in self._tensors().items()
            if tensor.is_floating_point() or tensor.is_complex()
        }

    def add(self) -> None:
        """Add the network as it is after a step."""
        if not self._decay:
            return
        self._count += 1
        share = (1 - self._decay) / (1 - self._decay**self._count)
        for name, tensor in self._now().items():
            self._mean[name].lerp_(_wide(tensor), share)

    def tensors(self) -> Tensors:
        """Return the average by names, nothing before the first step."""
        return self._mean if self._count else {}

    def put(self) -> None:
        """Give the network the weights of the average."""
        now = self._now() if self._count else {}
        for name, tensor in now.items():
            tensor.copy_(self._mean[name])

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Give the network the weights of the average for a while."""
        now = self._now() if self._count else {}
        own = {name: tensor.clone() for name, tensor in now.items()}
        self.put()
        try:
            yield
        finally:
            for name, tensor in now.items():
                tensor.copy_(own[name])

    def state(self) -> dict[str, Any]:
        """Return the average, for a file."""
        return {"count": self._count, "mean": self._mean}

    def restore(self, state: Mapping[str, Any] | None) -> None:
        """Continue from a state of :meth:`state`, ``None`` for a training that has no average."""
        if state is None:
            return
        self._count = state["count"]
        for name, mean in self._mean.items():
            mean.copy_(state["mean"][name])


def tensors_of(module: nn.Module) -> Tensors:
    """Return the parameters and buffers of a network, also buffers that its files leave out."""
    return {**dict(module.named_parameters()), **dict(module.named_buffers())}


def _wide(tensor: Tensor) -> Tensor:
    """Return numbers of at least single precision, in which small steps do not vanish."""
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))
