r"""Fold a batch norm into the filters of the layer before it.

In evaluation mode a batch norm gives :math:`\gamma_k (y_k - \mu_k) / \sqrt{\sigma_k^2 + \epsilon} +
\beta_k` for the answers :math:`y_k` of filter k: together they are one layer with the filters
:math:`w_k \gamma_k / \sqrt{\sigma_k^2 + \epsilon}` and another bias, which has no part in an energy
profile. So does every affine map of each channel by itself, whatever computes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError
from repsim_energy.models.filters.impulse_response import as_it_is, in_double
from repsim_energy.models.filters.module_state import left_as_it_was
from repsim_energy.numerics.settings import own_settings

__all__ = ["Folding", "Norm", "scale_filters"]

Shape = tuple[int, int, int]

PLAIN = (nn.BatchNorm2d, nn.SyncBatchNorm)
"""Batch norms whose factors are known from their numbers."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""How far, of the largest answer, a channel may be from a straight line; coarser types get 0.03."""


@dataclass(frozen=True)
class Folding:
    """The factors that fold what follows a layer into its filters.

    Parameters
    ----------
    description : where they come from, in words without commas
    scales : stage -> (k,) factors, as far as they are known
    """

    description: str
    scales: Mapping[str, Tensor] = field(default_factory=dict)


def scale_filters(filters: Tensor, scale: Tensor | None) -> Tensor:
    """Return (..., k, c, kh, kw) filters times their (..., k) factors, where there are some."""
    if scale is None:
        return filters
    return (filters.double() * scale.double()[..., None, None, None]).to(filters.dtype)


@dataclass(frozen=True, eq=False)
class Norm:
    """The batch norm, or other affine map of each channel, that follows a layer.

    Parameters
    ----------
    name : in its network
    module : the batch norm
    maps : (k, h, w) of what the layer answers to an image
    """

    name: str
    module: nn.Module
    maps: Shape

    @property
    def description(self) -> str:
        """What it is, in words."""
        return f"{self.name} ({type(self.module).__name__})"

    def scale(self) -> Tensor:
        """Return the (k,) float64 factors in evaluation mode.

        Raises
        ------
        UsageError
            Where it is, or has become, no affine map of each channel by itself.
        """
        norm = self.module
        if isinstance(norm, PLAIN) and _is_plain(norm):
            return _of_batch_norm(norm)
        with own_settings(), left_as_it_was(norm):
            probed = _probed(norm, self.maps)
        if probed is None:
            raise UsageError(
                f"'{self.name}' ({type(norm).__name__}), which gets what the layer answers, is no "
                "batch norm nor another affine map of each channel by itself, so that it cannot "
                "be folded into the filters; leave fold= out"
            )
        return probed

    def scale_or_nan(self) -> Tensor:
        """Return the (k,) factors, NaN where it has ceased to be an affine map of each channel."""
        try:
            return self.scale()
        except UsageError:
            return torch.full(self.maps[:1], torch.nan, dtype=torch.float64, device="cpu")


def _of_batch_norm(norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> Tensor:
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.detach().cpu().double() + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.detach().cpu().double()
    return scale


def _is_plain(norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> bool:
    """Return whether what a batch norm answers is that of its class, with its own statistics."""
    changed = norm._forward_hooks or norm._forward_pre_hooks or "forward" in vars(norm)
    inside = any(True for _ in norm.children())
    return type(norm) in PLAIN and norm.running_var is not None and not (changed or inside)


class _Inside(Exception):
    """Leaves a module where the first one inside of it is called with maps."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps


def _probed(norm: nn.Module, maps: Shape) -> Tensor | None:
    """Return the (k,) factors of an affine map of each channel; ``None`` for anything else.

    A module that scales channels and then calls another one, such as an activation of its own,
    is taken up to there.
    """
    for way, inside in product((in_double, as_it_is), (False, True)):
        call = partial(_answer, norm, way(norm), inside)
        with contextlib.suppress(Exception):  # a module's own code may raise anything
            scale = _factors(call, maps)
            if scale is not None:
                return scale
    return None


def _answer(norm: nn.Module, call: Callable[[Tensor], object], inside: bool, x: Tensor) -> Tensor:
    """Return what a module answers, or what it hands to the first module inside of it."""

    def leave(_: nn.Module, given: tuple[Any, ...]) -> None:
        if given and isinstance(given[0], Tensor) and given[0].shape == x.shape:
            raise _Inside(given[0])

    parts = norm.children() if inside else ()
    hooks = [part.register_forward_pre_hook(leave) for part in parts]
    try:
        answer = call(x.clone())  # which may be overwritten
    except _Inside as found:
        answer = found.maps
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(answer, Tensor) or answer.shape != x.shape or answer.is_complex():
        raise TypeError("answers no maps of the same shape")
    return answer


def _factors(call: Callable[[Tensor], Tensor], maps: Shape) -> Tensor | None:
    """Return the slope of each channel, checked by superposition at several sizes and signs."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, *maps, generator=generator, dtype=torch.float64, device="cpu")
    first = call(noise)
    tolerance = TOLERANCE.get(first.dtype, 0.03)
    zero = call(torch.zeros_like(noise)).to("cpu", torch.float64)
    offset = zero.mean((0, 2, 3), keepdim=True)
    rise = first.to("cpu", torch.float64) - offset
    scale = (rise * noise).sum((0, 2, 3)) / noise.square().sum((0, 2, 3))
    for x in (torch.zeros_like(noise), noise, -noise, 100 * noise, 0.01 * noise, noise.flip(0, 2)):
        answer = call(x).to("cpu", torch.float64)
        expected = offset + scale.view(-1, 1, 1) * x
        most = tolerance * float(expected.abs().max().clamp_min(answer.abs().max()))
        if not float((answer - expected).abs().max()) <= most:
            return None
    return scale
