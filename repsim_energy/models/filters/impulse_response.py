r"""Read the filters of a linear layer from what it answers to impulses.

A layer that is linear and treats all places of an image alike answers

.. math:: y_k(p) = \sum_{c,a,b} w_k(c,a,b)\, x(c, r_p + a, s_p + b) + b_k

at its place p, which sees the patch that starts at row :math:`r_p` and column :math:`s_p`. An image
that is zero but for a one at :math:`(c, r_p + a, s_p + b)` is answered with :math:`w_k(c,a,b)`, up
to the answer to zeros: the filters are the impulse response, whatever computes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.func import functional_call

from repsim_energy.errors import UsageError, reason_of
from repsim_energy.models.filters.module_state import left_as_it_was
from repsim_energy.models.filters.receptive_fields import Declared, declared_by, windows_of
from repsim_energy.numerics.settings import own_settings

__all__ = [
    "TOLERANCE",
    "Call",
    "as_it_is",
    "first_that_runs",
    "impulse_response",
    "in_double",
    "response_of",
]

Way = TypeVar("Way")

Call = Callable[[Tensor], Tensor]
"""Images (n, c, h, w) float64 on the CPU -> answers (n, k, h', w'), or (n, k, places)."""

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

    def probed(how: Callable[[nn.Module], Callable[[Tensor], object]]) -> Tensor:
        call = _maps_of(how(layer), name)
        return _Probe(call, (channels, *size), declared_by(layer), f"'{name}'").filters()

    with own_settings(), left_as_it_was(layer):
        found = first_that_runs(probed, (in_double, as_it_is))
    if isinstance(found, Tensor):
        return found
    raise UsageError(
        f"'{name}' ({type(layer).__name__}) does not answer images of {channels} channels "
        f"({found}), so its filters cannot be read; name another one with layer="
    )


def first_that_runs(probe: Callable[[Way], Tensor], ways: Iterable[Way]) -> Tensor | str:
    """Return what is probed in the first way that runs, or why the last does not.

    Raises
    ------
    UsageError
        Where a way runs and what it shows is refused.
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
    """Return the (k, c, kh, kw) filters behind answers to images (c, h, w), from impulses.

    What has one place sees the whole image.

    Parameters
    ----------
    what : who answers, for errors

    Raises
    ------
    UsageError
        Where the answers are not linear in the image, or places are treated differently.
    """
    return _Probe(call, image, None, what).filters()


def _maps_of(call: Callable[[Tensor], object], name: str) -> Call:
    """Return the call of a layer, which refuses what is no map for each image."""

    def checked(images: Tensor) -> Tensor:
        answer = call(images)
        if isinstance(answer, Tensor) and answer.ndim == 4 and len(answer) == len(images):
            return answer
        got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise UsageError(
            f"'{name}' answers {len(images)} images with {got}, expected maps (n, k, h, w); name "
            "another one with layer="
        )

    return checked


def in_double(layer: nn.Module, without: Sequence[str] = ()) -> Callable[[Tensor], object]:
    """Compute a layer or network with float64 copies of its numbers on the CPU.

    Parameters
    ----------
    without : names of parts that are not computed and need no copies
    """
    apart = tuple(f"{name}." for name in without)
    state = {
        name: t.detach().to("cpu", torch.float64 if t.is_floating_point() else t.dtype, copy=True)
        for name, t in (*layer.named_parameters(), *layer.named_buffers())
        if not name.startswith(apart)
    }
    return lambda images: functional_call(layer, state, (images,))


def as_it_is(layer: nn.Module) -> Callable[[Tensor], object]:
    """Compute a layer in its own type and place."""
    numbers = [t for t in (*layer.parameters(), *layer.buffers()) if t.is_floating_point()]
    own = numbers[0] if numbers else torch.zeros(0, dtype=torch.float32)
    return lambda images: layer(images.to(own.device, own.dtype))


class _Probe:
    """A layer that is shown impulses."""

    def __init__(
        self,
        call: Call,
        image: tuple[int, int, int],
        declared: Declared | None,
        what: str,
    ) -> None:
        self._call, self._what, self._declared = call, what, declared
        self._shape = image
        self._generator = torch.Generator().manual_seed(0)
        self._zeros = torch.zeros(1, *self._shape, dtype=torch.float64)
        self._at_once = max(1, AT_ONCE // self._zeros.numel())
        self._grid, self._kernels = torch.Size(), 0
        self._exact = torch.float64
        self._offset = torch.zeros(())
        self._offset = self._answers(self._zeros)
        self._at_once = max(1, AT_ONCE // max(self._zeros.numel(), self._offset.numel()))

    def filters(self) -> Tensor:
        """Return (k, c, kh, kw) float64 filters, checked by superposition."""
        seen = (self._seen(0), self._seen(1))
        if not bool(seen[0].any()) and self._declared is None:
            raise self._refusal("answers nothing to an image")
        windows = windows_of(seen, self._declared, self._grid)
        if windows is None:
            c, h, w = self._shape
            raise self._refusal(
                f"answers to different patches in different places of {h}x{w}x{c} images"
            )
        top, left, size, place = windows
        places = [
            start[place] + line[place, start[place] : start[place] + length].nonzero().flatten()
            for start, line, length in zip((top, left), seen, size, strict=True)
        ]
        bank = self._impulses(places, (int(top[place]), int(left[place])), size, place)
        self._check(bank, top, left)
        return bank

    def _impulses(
        self, lines: Sequence[Tensor], start: tuple[int, int], size: tuple[int, int], place: int
    ) -> Tensor:
        """Return what a place answers to impulses where the given rows and columns cross."""
        where = torch.cartesian_prod(torch.arange(self._shape[0]), *lines).view(-1, 3)
        if len(where) > MOST:
            raise UsageError(
                f"{self._what} sees {len(where)} numbers of an image at once, expected patches "
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
        if not answer.is_floating_point() or answer.is_quantized:
            raise UsageError(
                f"{self._what} answers numbers of {answer.dtype}, expected real ones; compare "
                "real filters (k, c, kh, kw), such as real and imaginary parts as two banks"
            )
        if not bool(answer.isfinite().all()):
            raise UsageError(f"{self._what} answers NaN or infinite numbers; mend its weights")
        self._kernels, self._grid = answer.shape[1], answer.shape[2:]
        self._exact = answer.dtype
        return answer.flatten(2).to("cpu", torch.float64) - self._offset

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
            f"{self._what} {what}, expected a layer that applies the same filters everywhere; "
            "name another one with layer="
        )
