r"""Read the filters of a linear layer from its impulse response.

A linear layer that applies the same filters at all positions has the output

.. math:: y_k(p) = \sum_{c,a,b} w_k(c,a,b)\, x(c, r_p + a, s_p + b) + b_k

at the position p, whose receptive field starts at row :math:`r_p` and column :math:`s_p`. For an
impulse, an image that is one at :math:`(c, r_p + a, s_p + b)` and zero elsewhere, the output minus
that for an image of zeros is :math:`w_k(c,a,b)`. This holds however the layer is implemented.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from repsim_energy.errors import UsageError, reason_of
from repsim_energy.models.filters.module_state import preserve_state
from repsim_energy.models.filters.receptive_fields import (
    Geometry,
    conv_geometry,
    find_receptive_fields,
)
from repsim_energy.numerics.settings import own_settings

__all__ = [
    "TOLERANCE",
    "Call",
    "as_float64",
    "as_is",
    "first_that_runs",
    "impulse_response",
    "response_of",
]

Way = TypeVar("Way")

Call = Callable[[Tensor], Tensor]
"""Images (n, c, h, w) float64 on the CPU -> outputs (n, k, h', w') or (n, k, positions)."""

MAX_BATCH_NUMBERS = 2**24
"""Maximum number of pixels times channels in a batch of impulses."""

MAX_FILTER_INPUTS = 2**15
"""Maximum number of inputs of a filter. A larger patch basis would not fit into memory either."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
"""Maximum error of superposition relative to the largest output; 0.03 for shorter types."""


def impulse_response(
    layer: nn.Module, channels: int, size: tuple[int, int], name: str = "layer"
) -> Tensor:
    """Return the (k, c, kh, kw) filters that a layer applies, read from its impulse response.

    It is computed in float64 on the CPU if that works, else in its dtype. Its state is restored.

    Parameters
    ----------
    layer : a function of images (n, c, h, w) with outputs (n, k, h', w')
    channels : of the images
    size : rows and columns of the images; at least one output position has to see a whole patch
    name : of the layer, for errors

    Raises
    ------
    UsageError
        If the layer fails, is not linear, or applies different filters at different positions.

    Examples
    --------
    >>> layer = nn.Conv2d(1, 2, 3, dilation=2)
    >>> filters = impulse_response(layer, 1, (8, 8))
    >>> tuple(filters.shape), bool(torch.equal(filters[:, :, ::2, ::2].float(), layer.weight))
    ((2, 1, 5, 5), True)
    """

    def probe(way: Callable[[nn.Module], Callable[[Tensor], object]]) -> Tensor:
        call = _with_checked_output(way(layer), name)
        return _Probe(call, (channels, *size), conv_geometry(layer), f"'{name}'").filters()

    with own_settings(), preserve_state(layer):
        result = first_that_runs(probe, (as_float64, as_is))
    if isinstance(result, Tensor):
        return result
    raise UsageError(
        f"'{name}' ({type(layer).__name__}) fails on images of {channels} channels ({result}), "
        "expected a layer that can be run on them; name another one with layer="
    )


def first_that_runs(probe: Callable[[Way], Tensor], ways: Iterable[Way]) -> Tensor | str:
    """Return the filters read in the first way that does not fail, else the last failure.

    Raises
    ------
    UsageError
        If a way does not fail but shows a layer without filters.
    """
    problem = ""
    for way in ways:
        try:
            return probe(way)
        except UsageError:
            raise
        except Exception as error:  # a network's own code may raise anything
            problem = reason_of(error)
    return problem


def response_of(call: Call, image: tuple[int, int, int], what: str) -> Tensor:
    """Return the (k, c, kh, kw) filters of a function of images (c, h, w).

    The filter of a function with a single output position is as large as the image.

    Parameters
    ----------
    what : name of the function, for errors

    Raises
    ------
    UsageError
        If it is not linear, or applies different filters at different positions.
    """
    return _Probe(call, image, None, what).filters()


def _with_checked_output(call: Callable[[Tensor], object], name: str) -> Call:
    """Return a function that refuses outputs other than (n, k, h, w)."""

    def checked(images: Tensor) -> Tensor:
        output = call(images)
        if isinstance(output, Tensor) and output.ndim == 4 and len(output) == len(images):
            return output
        got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise UsageError(
            f"'{name}' returns {got} for {len(images)} images, expected (n, k, h, w); name "
            "another one with layer="
        )

    return checked


def as_float64(layer: nn.Module, without: Sequence[str] = ()) -> Callable[[Tensor], object]:
    """Return a layer or network as a function computed in float64 on the CPU.

    Its parameters and buffers are copied for that.

    Parameters
    ----------
    without : names of submodules that are not called and need no copies
    """
    prefixes = tuple(f"{name}." for name in without)
    state = {
        name: t.detach().to("cpu", torch.float64 if t.is_floating_point() else t.dtype, copy=True)
        for name, t in (*layer.named_parameters(), *layer.named_buffers())
        if not name.startswith(prefixes)
    }
    return lambda images: functional_call(layer, state, (images,))


def as_is(layer: nn.Module) -> Callable[[Tensor], object]:
    """Return a layer or network as a function computed in its own dtype on its own device."""
    tensors = [t for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point()]
    own = tensors[0] if tensors else torch.zeros(0, dtype=torch.float32)
    return lambda images: layer(images.to(own.device, own.dtype))


class _Probe:
    """A function of images whose impulse response is measured.

    Parameters
    ----------
    image : (c, h, w) of the images
    geometry : of a convolution, ``None`` if not known
    what : name of the function, for errors
    """

    def __init__(
        self, call: Call, image: tuple[int, int, int], geometry: Geometry | None, what: str
    ) -> None:
        self._call, self._what, self._geometry = call, what, geometry
        self._shape = image
        self._generator = torch.Generator().manual_seed(0)
        self._zeros = torch.zeros(1, *self._shape, dtype=torch.float64)
        self._batch = max(1, MAX_BATCH_NUMBERS // self._zeros.numel())
        self._grid, self._kernels = torch.Size(), 0
        self._dtype = torch.float64
        self._offset = torch.zeros(())
        self._offset = self._outputs(self._zeros)
        self._batch = max(1, MAX_BATCH_NUMBERS // max(self._zeros.numel(), self._offset.numel()))

    def filters(self) -> Tensor:
        """Return (k, c, kh, kw) float64 filters, checked by superposition."""
        seen = (self._seen(0), self._seen(1))
        if not bool(seen[0].any()) and self._geometry is None:
            raise self._refusal("has the same output for every image")
        fields = find_receptive_fields(seen, self._geometry, self._grid)
        if fields is None:
            c, h, w = self._shape
            raise self._refusal(f"has receptive fields of different sizes in {h}x{w}x{c} images")
        top, left, size, position = fields
        lines = [
            start[position]
            + line[position, start[position] : start[position] + length].nonzero().flatten()
            for start, line, length in zip((top, left), seen, size, strict=True)
        ]
        filters = self._impulse_response(
            lines, (int(top[position]), int(left[position])), size, position
        )
        self._check_superposition(filters, top, left)
        return filters

    def _impulse_response(
        self, lines: Sequence[Tensor], start: tuple[int, int], size: tuple[int, int], position: int
    ) -> Tensor:
        """Return the outputs at a position for an impulse at each pixel of its receptive field.

        Parameters
        ----------
        lines : the rows and the columns of the image that change the output
        start, size : first row and column of the receptive field, and how many there are
        """
        pixels = torch.cartesian_prod(torch.arange(self._shape[0]), *lines).view(-1, 3)
        if len(pixels) > MAX_FILTER_INPUTS:
            raise UsageError(
                f"{self._what} has a receptive field of {len(pixels)} numbers, expected at most "
                f"{MAX_FILTER_INPUTS}; use smaller images or name another one with layer="
            )
        outputs = [torch.zeros(0, self._kernels, dtype=torch.float64)]
        for some in pixels.split(self._batch):
            images = self._zeros.repeat(len(some), 1, 1, 1)
            images[(torch.arange(len(some)), *some.T)] = 1
            outputs.append(self._outputs(images)[:, :, position])
        filters = torch.zeros(self._kernels, self._shape[0], *size, dtype=torch.float64)
        channels, rows, columns = pixels.T
        filters[:, channels, rows - start[0], columns - start[1]] = torch.cat(outputs).T
        return filters

    def _outputs(self, images: Tensor) -> Tensor:
        """Return (n, k, positions) float64 outputs minus the output for zeros."""
        output = self._call(images)
        if not output.is_floating_point() or output.is_quantized:
            raise UsageError(
                f"{self._what} returns {output.dtype}, expected real floating-point numbers; "
                "compare real filters (k, c, kh, kw), such as real and imaginary parts as two banks"
            )
        if not bool(output.isfinite().all()):
            raise UsageError(
                f"{self._what} returns NaN or infinite numbers, expected finite ones; correct its "
                "weights"
            )
        self._kernels, self._grid = output.shape[1], output.shape[2:]
        self._dtype = output.dtype
        return output.flatten(2).to("cpu", torch.float64) - self._offset

    def _seen(self, axis: int) -> Tensor:
        """Return (positions, lines), whether each row (axis 0) or column (1) changes an output.

        Each image is zero except for one line of random numbers.
        """
        changes = []
        for lines in torch.arange(self._shape[1 + axis]).split(self._batch):
            images = self._zeros.repeat(len(lines), 1, 1, 1)
            shape = (len(lines), self._shape[0], self._shape[2 - axis])
            values = torch.randn(shape, generator=self._generator, dtype=torch.float64)
            view = images if axis == 0 else images.transpose(2, 3)
            view[torch.arange(len(lines)), :, lines] = values
            changes.append(self._outputs(images).abs().amax(1))
        change = torch.cat(changes).T
        rounding = 1e-10 if self._dtype == torch.float64 else 32 * torch.finfo(self._dtype).eps
        return change > rounding * change.max()

    def _check_superposition(self, filters: Tensor, top: Tensor, left: Tensor) -> None:
        """Compare the outputs for random images with those of the filters, off the border."""
        rows, columns = filters.shape[2:]
        tolerance = TOLERANCE.get(self._dtype, 0.03)
        shape = (2, *self._shape)
        noise = torch.randn(shape, generator=self._generator, dtype=torch.float64)
        inside = (top >= 0).nonzero().flatten()
        for images in (noise, noise * 100, -noise):
            outputs = self._outputs(images)
            patches = images.unfold(2, rows, 1).unfold(3, columns, 1)
            patches = patches[:, :, top[inside], left[inside]]
            expected = torch.einsum("ncpab,kcab->nkp", patches, filters)
            error = float((outputs[:, :, inside] - expected).abs().max())
            if error > tolerance * float(expected.abs().max().clamp_min(outputs.abs().max())):
                raise self._refusal(
                    "is not linear, or applies different filters at different positions"
                )

    def _refusal(self, problem: str) -> UsageError:
        return UsageError(
            f"{self._what} {problem}, expected one that applies the same filters everywhere; "
            "name another one with layer="
        )
