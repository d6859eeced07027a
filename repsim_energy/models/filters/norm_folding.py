r"""Fold a batch norm into the filters of the layer before it.

In evaluation mode the output of a batch norm is :math:`\gamma_k (y_k - \mu_k) / \sqrt{\sigma_k^2 +
\epsilon} + \beta_k` for the outputs :math:`y_k` of filter k. Together they are one layer with the
filters :math:`w_k \gamma_k / \sqrt{\sigma_k^2 + \epsilon}` and another bias, which does not change
an energy profile. The same holds for any other affine map of each channel.
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
from repsim_energy.models.filters.impulse_response import as_float64, as_is
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.numerics.settings import own_settings

__all__ = ["Folding", "Norm", "scale_filters"]

Shape = tuple[int, int, int]

BATCH_NORMS = (nn.BatchNorm2d, nn.SyncBatchNorm)
"""Batch norms whose factors follow from their parameters and buffers."""

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-4}
"""Maximum deviation from an affine map relative to the largest output; 0.03 for shorter types."""


@dataclass(frozen=True)
class Folding:
    """The factors that fold a batch norm into the filters of a layer.

    Parameters
    ----------
    description : the batch norm or the tensors that they are computed from, without commas
    scales : stage -> (k,) factors; stages whose factors are not known are left out
    """

    description: str
    scales: Mapping[str, Tensor] = field(default_factory=dict)


def scale_filters(filters: Tensor, scale: Tensor | None) -> Tensor:
    """Return (..., k, c, kh, kw) filters times (..., k) factors, or unchanged without factors."""
    if scale is None:
        return filters
    return (filters.double() * scale.double()[..., None, None, None]).to(filters.dtype)


@dataclass(frozen=True, eq=False)
class Norm:
    """The batch norm, or other affine map of each channel, that follows a layer.

    Parameters
    ----------
    name : of the batch norm in its network
    module : the batch norm
    shape : (k, h, w) of its input, which is the output of the layer for one image
    """

    name: str
    module: nn.Module
    shape: Shape

    @property
    def description(self) -> str:
        """The name and the type, for tables."""
        return f"{self.name} ({type(self.module).__name__})"

    def scale(self) -> Tensor:
        """Return the (k,) float64 factors in evaluation mode.

        Raises
        ------
        UsageError
            If the module is no affine map of each channel.
        """
        norm = self.module
        if isinstance(norm, BATCH_NORMS) and _is_unmodified(norm):
            return _batch_norm_scale(norm)
        with own_settings(), preserve_state(norm):
            scale = _measured_scale(norm, self.shape)
        if scale is None:
            raise UsageError(
                f"'{self.name}' ({type(norm).__name__}), which follows the layer, is no batch norm "
                "or other affine map of each channel, expected one to be folded into the filters; "
                "leave fold= out"
            )
        return scale

    def scale_or_nan(self) -> Tensor:
        """Return the (k,) factors, NaN if the module is no longer an affine map of each channel."""
        try:
            return self.scale()
        except UsageError:
            return torch.full(self.shape[:1], torch.nan, dtype=torch.float64, device="cpu")


def _batch_norm_scale(norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> Tensor:
    """Return gamma / sqrt(running_var + eps)."""
    assert norm.running_var is not None
    scale = torch.rsqrt(norm.running_var.detach().cpu().double() + norm.eps)
    if norm.affine:
        scale = scale * norm.weight.detach().cpu().double()
    return scale


def _is_unmodified(norm: nn.BatchNorm2d | nn.SyncBatchNorm) -> bool:
    """Return whether a batch norm has running statistics, and no hooks or forward of its own."""
    changed = norm._forward_hooks or norm._forward_pre_hooks or "forward" in vars(norm)
    has_children = any(True for _ in norm.children())
    return (
        type(norm) in BATCH_NORMS and norm.running_var is not None and not (changed or has_children)
    )


class _Stop(Exception):
    """Ends the forward pass of a module where it calls the first of its children."""

    def __init__(self, maps: Tensor) -> None:
        super().__init__()
        self.maps = maps


def _measured_scale(norm: nn.Module, shape: Shape) -> Tensor | None:
    """Return the (k,) factors of an affine map of each channel, ``None`` for other modules.

    A module that scales channels and then calls one of its children, such as an activation, is
    measured up to that call.
    """
    for way, stop_at_child in product((as_float64, as_is), (False, True)):
        call = partial(_output, norm, way(norm), stop_at_child)
        with contextlib.suppress(Exception):  # a module's own code may raise anything
            scale = _slopes(call, shape)
            if scale is not None:
                return scale
    return None


def _output(
    norm: nn.Module, call: Callable[[Tensor], object], stop_at_child: bool, x: Tensor
) -> Tensor:
    """Return the output of a module, or the input of the first child that it calls."""

    def stop(_: nn.Module, args: tuple[Any, ...]) -> None:
        if args and isinstance(args[0], Tensor) and args[0].shape == x.shape:
            raise _Stop(args[0])

    children = norm.children() if stop_at_child else ()
    hooks = [child.register_forward_pre_hook(stop) for child in children]
    try:
        output = call(x.clone())  # the module may overwrite its input
    except _Stop as stopped:
        output = stopped.maps
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(output, Tensor) or output.shape != x.shape or output.is_complex():
        raise TypeError("returns no tensor of the same shape")
    return output


def _slopes(call: Callable[[Tensor], Tensor], shape: Shape) -> Tensor | None:
    """Return the slope of each channel, or ``None`` if other inputs show that it is not affine."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(2, *shape, generator=generator, dtype=torch.float64, device="cpu")
    first = call(noise)
    tolerance = TOLERANCE.get(first.dtype, 0.03)
    zero = call(torch.zeros_like(noise)).to("cpu", torch.float64)
    offset = zero.mean((0, 2, 3), keepdim=True)
    rise = first.to("cpu", torch.float64) - offset
    scale = (rise * noise).sum((0, 2, 3)) / noise.square().sum((0, 2, 3))
    for x in (torch.zeros_like(noise), noise, -noise, 100 * noise, 0.01 * noise, noise.flip(0, 2)):
        output = call(x).to("cpu", torch.float64)
        expected = offset + scale.view(-1, 1, 1) * x
        most = tolerance * float(expected.abs().max().clamp_min(output.abs().max()))
        if not float((output - expected).abs().max()) <= most:
            return None
    return scale
