"""Gradient ascent on the activations of units, from starts to which they respond."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from repsim_energy.visualization.canvas import Canvas

__all__ = ["Search", "Starts", "find_starts"]

STEP_SIZE = 0.05
"""Largest step size of Adam, in units of the parameters of a canvas."""

NOISE_STARTS = 16
"""Random images from which the start of each unit is chosen."""

BATCH = 16
"""Images that the network gets at once."""

SAME = 4 * torch.finfo(torch.float32).eps
"""Relative difference of activations below which they are equal up to rounding."""

Activations = Callable[[Tensor], Tensor]
"""Return the (n, units) activations for (n, c, h, w) pixels."""


@dataclass(frozen=True, eq=False)
class Starts:
    """Parameters of random and of real images, and what units respond to them.

    Parameters
    ----------
    parameters : (starts, ...) parameters of a canvas
    noise : (units,) index of the random image that activates each unit most; of a unit that
        responds to none of them, such as behind a ReLU, that of the real image
    real : (units,) index of the real image that activates each unit most
    peak : (units,) largest activation for a start
    scale : (units,) standard deviation of the activations; 0 for a unit that responds to no image
    of_images : (units,) largest activation for a real image as it is
    """

    parameters: Tensor
    noise: Tensor
    real: Tensor
    peak: Tensor
    scale: Tensor
    of_images: Tensor


@torch.no_grad()
def find_starts(
    activations: Activations,
    canvas: Canvas,
    border: int,
    images: Tensor,
    generator: torch.Generator,
) -> Starts:
    """Return starts for all units of a layer.

    Parameters
    ----------
    border : pixels by which the canvas is larger than the images on every side
    images : (n, c, h, w) real images, pixels as float32
    """
    noise = canvas.start(NOISE_STARTS, generator).to(images.device)
    padded = torch.nn.functional.pad(images, (border,) * 4, mode="replicate")
    parameters = torch.cat([noise, canvas.parameters_of(padded)])
    shown = _crop(canvas.images(parameters), border, border, images.shape[2:])
    parts = torch.cat([shown, images]).split(BATCH)
    values = torch.cat([activations(part) for part in parts])
    of_starts, of_images = values[: len(shown)], values[len(shown) :]
    of_noise, of_real = of_starts[: len(noise)], of_starts[len(noise) :]
    real = len(noise) + of_real.argmax(0)
    scale = values.double().std(0).float()
    return Starts(
        parameters,
        noise=torch.where(_constant(of_noise), real, of_noise.argmax(0)),
        real=real,
        peak=of_starts.amax(0),
        scale=torch.where(_constant(values), 0, scale),
        of_images=of_images.amax(0),
    )


def _constant(values: Tensor) -> Tensor:
    """Return for each column whether its values are equal up to rounding."""
    least, most = values.aminmax(dim=0)
    return most - least <= SAME * values.abs().amax(0)


def _crop(images: Tensor, top: int, left: int, size: torch.Size) -> Tensor:
    return images[:, :, top : top + size[0], left : left + size[1]]


@dataclass(frozen=True, eq=False)
class Search:
    """Settings of the ascent.

    Parameters
    ----------
    canvas : of the images, larger than them by ``jitter`` pixels on every side
    steps : gradient steps
    jitter : largest shift of the image in pixels, drawn anew for each step
    total_variation : weight of the mean absolute difference of neighboring pixels
    seed : of starts and shifts
    """

    canvas: Canvas
    steps: int
    jitter: int
    total_variation: float
    seed: int

    def maximize(
        self,
        activations: Activations,
        starts: Starts,
        units: Tensor,
        advance: Callable[[float], None] = lambda _: None,
    ) -> tuple[Tensor, Tensor]:
        """Return for each of some units an image, (n, c, h, w), and its activation, (n,).

        Units whose activation ends below that of a start are maximized a second time, from the
        real image that activates them most, and the better image is returned. The ascent has left
        them where nothing activates them, and no gradient leads back.

        Parameters
        ----------
        units : (n,) their numbers
        advance : called with the number of units done, in fractions
        """
        images, reached = self._ascend(activations, starts, units, starts.noise, advance)
        again = (~(reached > starts.peak[units])).nonzero()[:, 0]
        if len(again):
            others, values = self._ascend(
                activations, starts, units[again], starts.real, lambda _: None
            )
            better = values > reached[again].nan_to_num(-math.inf)
            images[again[better]], reached[again[better]] = others[better], values[better]
        return images, reached

    def _ascend(
        self,
        activations: Activations,
        starts: Starts,
        units: Tensor,
        begin: Tensor,
        advance: Callable[[float], None],
    ) -> tuple[Tensor, Tensor]:
        """Return images and activations after an ascent from one start for each unit."""
        size = torch.Size(s - 2 * self.jitter for s in self.canvas.shape[1:])
        generator = torch.Generator().manual_seed(self.seed)
        parameters = starts.parameters[begin[units]].clone().requires_grad_()
        rows = torch.arange(len(units), device=units.device)
        optimizer = torch.optim.Adam([parameters], lr=STEP_SIZE)
        for step in range(self.steps):
            optimizer.param_groups[0]["lr"] = STEP_SIZE * _fraction(step, self.steps)
            images = _crop(self.canvas.images(parameters), *self._shift(generator), size)
            gain = activations(images)[rows, units] / starts.scale[units]
            loss = self.total_variation * self._variation(images) - gain
            (parameters.grad,) = torch.autograd.grad(loss.sum(), [parameters])
            optimizer.step()
            advance(len(units) / self.steps)
        with torch.no_grad():
            images = _crop(self.canvas.images(parameters), self.jitter, self.jitter, size)
            return images, activations(images)[rows, units]

    def _shift(self, generator: torch.Generator) -> tuple[int, int]:
        """Return the upper left corner of the part of the canvas that the network gets."""
        if not self.jitter:
            return 0, 0
        top, left = torch.randint(0, 2 * self.jitter + 1, (2,), generator=generator).tolist()
        return top, left

    def _variation(self, images: Tensor) -> Tensor:
        """Return the mean absolute difference of neighbors, relative to the range of pixels."""
        rows = images.diff(dim=2).abs().flatten(1).mean(1)
        columns = images.diff(dim=3).abs().flatten(1).mean(1)
        return (rows + columns) / (self.canvas.high - self.canvas.low)


def _fraction(step: int, steps: int) -> float:
    """Return the fraction of the step size, which falls to 0 along half a cosine."""
    return (1 + math.cos(math.pi * step / steps)) / 2
