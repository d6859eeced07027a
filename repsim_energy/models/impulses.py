r"""Read the filters of a linear layer from what it answers to impulses.

A layer that is linear and treats all places of an image alike answers

.. math:: y_k(p) = \sum_{c,a,b} w_k(c,a,b)\, x(c, r_p + a, s_p + b) + b_k

at its place p, which sees the patch that starts at row :math:`r_p` and column :math:`s_p`. An image
that is zero but for a one at :math:`(c, r_p + a, s_p + b)` is answered with :math:`w_k(c,a,b)`, up
to the answer to zeros: the filters are the impulse response, whatever computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from repsim_energy.errors import UsageError, reason_of
from repsim_energy.models.untouched import left_as_it_was
from repsim_energy.numerics.settings import own_settings

__all__ = ["as_it_is", "impulse_response", "in_double"]

Call = Callable[[Tensor], object]
"""Images (n, c, h, w) float64 on the CPU -> what the layer answers, maps if all is well."""

Windows = tuple[tuple[Tensor, Tensor], tuple[int, int], int]
"""The first (places,) rows and columns of the patches that places see, -1 where that is no whole
patch; the rows and columns of a patch; a place that sees a whole one."""

AT_ONCE = 2**24
"""Numbers in the images that a layer is shown at once."""

TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4}
"""How far, of the largest answer, superposition may be off; coarser types get 0.03."""

MOST = 2**15
"""Largest number of inputs of a filter that is probed: more have no patch basis either."""


def impulse_response(
    layer: nn.Module, channels: int, size: tuple[int, int], name: str = "layer"
) -> Tensor:
    """Return the (k, c, kh, kw) filters that a layer applies, from its answers to impulses.

    The layer is computed in float64 on the CPU where it can be, and left as it was.

    Parameters
    ----------
    layer : anything that answers images (n, c, h, w) with (n, k, h', w')
    channels : of the images
    size : rows and columns of the images it is shown: so many that a place of the answer sees a
        whole patch
    name : what to call the layer in errors

    Raises
    ------
    UsageError
        Where the layer is not linear, treats places differently or cannot be computed.

    Examples
    --------
    >>> layer = nn.Conv2d(1, 2, 3, dilation=2)
    >>> found = impulse_response(layer, 1, (8, 8))
    >>> tuple(found.shape), bool(torch.equal(found[:, :, ::2, ::2].float(), layer.weight))
    ((2, 1, 5, 5), True)
    """
    problems = []
    with own_settings(), left_as_it_was(layer):
        for how in (in_double, as_it_is):
            try:
                return _Probe(how(layer), channels, size, _declared(layer), name).filters()
            except UsageError:
                raise
            except Exception as error:  # a layer's own code may raise anything
                problems.append(reason_of(error))
    raise UsageError(
        f"'{name}' ({type(layer).__name__}) does not answer images of {channels} channels "
        f"({problems[-1]}), so its filters cannot be read; name another one with layer="
    )


def in_double(layer: nn.Module) -> Call:
    """Compute a layer with float64 copies of its numbers on the CPU."""
    named = [*layer.named_parameters(), *layer.named_buffers()]
    state = {
        name: t.detach().to("cpu", torch.float64 if t.is_floating_point() else t.dtype, copy=True)
        for name, t in named
    }
    return lambda images: functional_call(layer, state, (images,))


def as_it_is(layer: nn.Module) -> Call:
    """Compute a layer in its own type and place."""
    numbers = [t for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point()]
    own = numbers[0] if numbers else torch.zeros(0, dtype=torch.float32)
    return lambda images: layer(images.to(own.device, own.dtype))


def _declared(layer: nn.Module) -> _Window | None:
    """Return what a convolution says of the patches it sees; subclasses may do otherwise."""
    if not isinstance(layer, nn.Conv2d):
        return None
    extent = [d * (k - 1) + 1 for d, k in zip(layer.dilation, layer.kernel_size, strict=True)]
    padding = layer.padding
    if isinstance(padding, str):
        padding = tuple((e - 1) // 2 if padding == "same" else 0 for e in extent)
    return _Window(_pair(extent), _pair(padding), _pair(layer.stride))


def _pair(numbers: Sequence[int]) -> tuple[int, int]:
    rows, columns = numbers
    return rows, columns


@dataclass(frozen=True)
class _Window:
    """Where a convolution sees its patches: rows and columns of each number."""

    extent: tuple[int, int]
    padding: tuple[int, int]
    stride: tuple[int, int]


class _Probe:
    """A layer that is shown impulses."""

    def __init__(
        self,
        call: Call,
        channels: int,
        size: tuple[int, int],
        declared: _Window | None,
        name: str,
    ) -> None:
        self._call, self._name, self._declared = call, name, declared
        self._shape = (channels, *size)
        self._generator = torch.Generator().manual_seed(0)
        self._zeros = torch.zeros(1, *self._shape, dtype=torch.float64)
        self._at_once = max(1, AT_ONCE // self._zeros.numel())
        self._grid, self._kernels = (1, 1), 0
        self._exact = torch.float64
        self._offset = torch.zeros(())
        self._offset = self._answers(self._zeros)

    def filters(self) -> Tensor:
        """Return (k, c, kh, kw) float64 filters, checked by superposition."""
        seen = (self._seen(0), self._seen(1))
        (top, left), (rows, columns), place = self._windows(seen)
        places = [
            start[place] + line[place, start[place] : start[place] + size].nonzero().flatten()
            for start, line, size in zip((top, left), seen, (rows, columns), strict=True)
        ]
        bank = self._impulses(places, (int(top[place]), int(left[place])), (rows, columns), place)
        self._check(bank, top, left)
        return bank

    def _impulses(
        self, lines: Sequence[Tensor], start: tuple[int, int], size: tuple[int, int], place: int
    ) -> Tensor:
        """Return what a place answers to impulses where the given rows and columns cross."""
        where = torch.cartesian_prod(torch.arange(self._shape[0]), *lines).view(-1, 3)
        if len(where) > MOST:
            raise UsageError(
                f"'{self._name}' sees {len(where)} numbers of an image at once, expected patches "
                f"of at most {MOST}; use smaller images or name another one with layer="
            )
        parts = [torch.zeros(0, self._kernels, dtype=torch.float64)]
        for some in where.split(self._at_once):
            images = self._zeros.repeat(len(some), 1, 1, 1)
            images[(torch.arange(len(some)), *some.T)] = 1
            parts.append(self._answers(images)[:, :, place])
        bank = torch.zeros(self._kernels, self._shape[0], *size, dtype=torch.float64)
        channels, rows, columns = where.T
        bank[:, channels, rows - start[0], columns - start[1]] = torch.cat(parts).T
        return bank

    def _answers(self, images: Tensor) -> Tensor:
        """Return (n, k, places) float64 answers less the answer to zeros."""
        answer = self._call(images)
        if not isinstance(answer, Tensor) or answer.ndim != 4 or len(answer) != len(images):
            got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            raise UsageError(
                f"'{self._name}' answers {len(images)} images with {got}, expected maps "
                "(n, k, h, w); name another one with layer="
            )
        if not answer.is_floating_point() or answer.is_quantized:
            raise UsageError(
                f"'{self._name}' answers numbers of {answer.dtype}, expected real ones; compare "
                "real filters (k, c, kh, kw), such as real and imaginary parts as two banks"
            )
        if not bool(answer.isfinite().all()):
            raise UsageError(f"'{self._name}' answers NaN or infinite numbers; mend its weights")
        self._kernels, self._grid = answer.shape[1], (answer.shape[2], answer.shape[3])
        self._exact = answer.dtype
        return answer.flatten(2).to("cpu", torch.float64) - self._offset

    def _windows(self, seen: tuple[Tensor, Tensor]) -> Windows:
        """Return the patch that each place sees, of (places, lines) that it answers to."""
        first = [lines.int().argmax(1) for lines in seen]
        count = [lines.shape[1] - lines.flip(1).int().argmax(1) for lines in seen]
        last = [torch.where(lines.any(1), n - 1, -1) for lines, n in zip(seen, count, strict=True)]
        if (told := self._as_declared(first, last)) is not None:
            return told
        if not bool(seen[0].any()):
            raise self._refusal("answers nothing to an image")
        sizes = [b - a + 1 for a, b in zip(first, last, strict=True)]
        rows, columns = (int(size.max()) for size in sizes)
        whole = (sizes[0] == rows) & (sizes[1] == columns)
        if not bool(whole.any()):
            raise self._refusal("answers to different patches in different places")
        top, left = (torch.where(whole, start, -1) for start in first)
        return (top, left), (rows, columns), int(whole.nonzero()[0])

    def _seen(self, axis: int) -> Tensor:
        """Return (places, lines): whether a place answers to a row (0) or a column (1).

        Each is shown alone, as a line of random numbers across the image.
        """
        found = []
        for lines in torch.arange(self._shape[1 + axis]).split(self._at_once):
            images = self._zeros.repeat(len(lines), 1, 1, 1)
            shape = (len(lines), self._shape[0], self._shape[2 - axis])
            values = torch.randn(shape, generator=self._generator, dtype=torch.float64)
            view = images if axis == 0 else images.transpose(2, 3)
            view[torch.arange(len(lines)), :, lines] = values
            found.append(self._answers(images).abs().amax(1))
        strength = torch.cat(found).T
        dust = 1e-10 if self._exact == torch.float64 else 32 * torch.finfo(self._exact).eps
        return strength > dust * strength.max()

    def _as_declared(self, first: Sequence[Tensor], last: Sequence[Tensor]) -> Windows | None:
        """Return the patches that a convolution declares, where it answers to nothing else."""
        if self._declared is None:
            return None
        starts = self._declared_starts()
        whole, fits = torch.ones_like(last[0], dtype=torch.bool), last[0] < 0
        for axis, start in enumerate(starts):
            end = start + self._declared.extent[axis] - 1
            whole &= (start >= 0) & (end < self._shape[1 + axis])
        within = [
            (first[axis] >= start) & (last[axis] < start + self._declared.extent[axis])
            for axis, start in enumerate(starts)
        ]
        fits |= within[0] & within[1]
        if not whole.any() or not bool(fits[whole].all()):
            return None
        rows, columns = (torch.where(whole, start, -1) for start in starts)
        return (rows, columns), self._declared.extent, int(whole.nonzero()[0])

    def _declared_starts(self) -> list[Tensor]:
        assert self._declared is not None
        places = torch.meshgrid(*(torch.arange(n) for n in self._grid), indexing="ij")
        numbers = zip(places, self._declared.stride, self._declared.padding, strict=True)
        return [place.flatten() * stride - padding for place, stride, padding in numbers]

    def _check(self, bank: Tensor, top: Tensor, left: Tensor) -> None:
        """Compare answers to random images with what the filters give, in all whole patches."""
        rows, columns = bank.shape[2:]
        tolerance = TOLERANCE.get(self._exact, 0.03)
        shape = (2, *self._shape)
        noise = torch.randn(shape, generator=self._generator, dtype=torch.float64)
        whole = (top >= 0).nonzero().flatten()
        for images in (noise, noise * 100, -noise):
            answers = self._answers(images)
            windows = images.unfold(2, rows, 1).unfold(3, columns, 1)[:, :, top[whole], left[whole]]
            expected = torch.einsum("ncpab,kcab->nkp", windows, bank)
            off = float((answers[:, :, whole] - expected).abs().max())
            if off > tolerance * float(expected.abs().max().clamp_min(answers.abs().max())):
                raise self._refusal("is not linear, or treats places of the image differently")

    def _refusal(self, what: str) -> UsageError:
        return UsageError(
            f"'{self._name}' {what}, expected a layer that applies the same filters everywhere; "
            "name another one with layer="
        )
