"""Images as functions of free parameters: of their pixels, or of their spectrum and colors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from repsim_energy.errors import unknown_name
from repsim_energy.interfaces import ImageSet
from repsim_energy.training.inputs import as_pixels

__all__ = ["PARAMETRIZATIONS", "Canvas", "canvas_of"]

PARAMETRIZATIONS = ("pixels", "fourier", "natural")
"""Each pixel, the Fourier coefficients of each channel, or those of decorrelated colors."""

START_STD = 0.3
"""Standard deviation of the random parameters that a search starts from."""

MARGIN = 0.02
"""Distance of pixels from the ends of their range in a start that is an image."""

MIN_VARIANCE = 0.01
"""Smallest variance of a decorrelated color, relative to the largest."""

MIN_LENGTH = torch.finfo(torch.float32).tiny
"""Length below which an image counts as gray."""

MAX_IMAGES = 1000
"""Images from which the correlation of colors is estimated."""


@dataclass(frozen=True, eq=False)
class Canvas:
    """A differentiable and invertible map from parameters to images.

    Parameters
    ----------
    shape : channels, height and width of the images
    low, high : ends of the range of pixels
    spectrum : (h, w // 2 + 1) scale of each Fourier coefficient; ``None`` for pixels as parameters
    colors : (c, c) mixture of decorrelated colors into channels; ``None`` for channels
    norm : L2 norm of the difference to medium gray, which then replaces the range of pixels
    """

    shape: tuple[int, int, int]
    low: float
    high: float
    spectrum: Tensor | None = None
    colors: Tensor | None = None
    norm: float | None = None

    @property
    def middle(self) -> float:
        """Medium gray."""
        return (self.low + self.high) / 2

    def start(self, count: int, generator: torch.Generator) -> Tensor:
        """Return random parameters of images that are nearly gray, on the CPU."""
        c, h, w = self.shape
        size = (c, h, w) if self.spectrum is None else (c, h, w // 2 + 1, 2)
        noise = torch.randn(count, *size, generator=generator, dtype=torch.float32, device="cpu")
        return START_STD * noise

    def images(self, parameters: Tensor) -> Tensor:
        """Return the (n, c, h, w) pixels of parameters."""
        values: Tensor = parameters
        if self.spectrum is not None:
            coefficients = torch.view_as_complex(parameters) * self.spectrum.to(parameters.device)
            values = torch.fft.irfft2(coefficients, s=self.shape[1:], norm="ortho")
        if self.colors is not None:
            values = torch.einsum("ij,njhw->nihw", self.colors.to(values.device), values)
        if self.norm is None:
            return self.low + (self.high - self.low) * torch.sigmoid(values)
        length = values.square().sum((1, 2, 3), keepdim=True).sqrt()
        return self.middle + self.norm * values / length.clamp_min(MIN_LENGTH)

    def parameters_of(self, images: Tensor) -> Tensor:
        """Return parameters whose images are the given ones, apart from ends of range and norm."""
        if self.norm is None:
            share = (images - self.low) / (self.high - self.low)
            values = torch.logit(share.clamp(MARGIN, 1 - MARGIN))
        else:
            values = (images - self.middle) / (self.high - self.low)
        if self.colors is not None:
            values = torch.einsum(
                "ij,njhw->nihw", torch.linalg.inv(self.colors).to(images.device), values
            )
        if self.spectrum is None:
            return values
        coefficients: Tensor = torch.view_as_real(
            torch.fft.rfft2(values, norm="ortho") / self.spectrum.to(values.device)
        )
        return coefficients


def canvas_of(parametrization: str, images: ImageSet, border: int, norm: float | None) -> Canvas:
    """Return the canvas of a parametrization for the shape, range and colors of an image set.

    Parameters
    ----------
    border : pixels by which the canvas is larger than the images on every side

    Raises
    ------
    UnknownNameError
        For an unknown parametrization.
    """
    if parametrization not in PARAMETRIZATIONS:
        raise unknown_name("parametrization", str(parametrization), PARAMETRIZATIONS)
    c, h, w = images.images.shape[1:]
    shape = (int(c), int(h) + 2 * border, int(w) + 2 * border)
    return Canvas(
        shape,
        *_pixel_range(images),
        spectrum=None if parametrization == "pixels" else _spectrum(*shape[1:]),
        colors=_colors(images) if parametrization == "natural" and c > 1 else None,
        norm=norm,
    )


def _pixel_range(images: ImageSet) -> tuple[float, float]:
    """Return the range of the pixels: 0 to 1, or the extremes of images that exceed it."""
    if images.images.dtype == torch.uint8:
        return 0.0, 1.0
    least, most = (float(value) for value in torch.aminmax(images.images))
    return (0.0, 1.0) if least >= 0 and most <= 1 else (least, most)


def _spectrum(h: int, w: int) -> Tensor:
    """Return the amplitude 1 / frequency of each coefficient, for a mean variance of 1."""
    rows = torch.fft.fftfreq(h, dtype=torch.float64, device="cpu")[:, None]
    columns = torch.fft.rfftfreq(w, dtype=torch.float64, device="cpu")[None, :]
    frequency = (rows.square() + columns.square()).sqrt()
    amplitude = 1 / frequency.clamp_min(1 / max(h, w))
    scaled: Tensor = amplitude / amplitude.square().mean().sqrt()
    return scaled.float()


def _colors(images: ImageSet) -> Tensor:
    """Return the square root of the covariance of the channels, for a mean variance of 1."""
    pixels = as_pixels(images.images[:MAX_IMAGES]).cpu().double().transpose(0, 1).flatten(1)
    variance, colors = torch.linalg.eigh(torch.cov(pixels))
    variance = variance.clamp_min(MIN_VARIANCE * float(variance[-1]))
    root: Tensor = colors * (variance / variance.mean()).sqrt() @ colors.T
    return root.float()
