"""Banks of fixed filters by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import ShapeError, UsageError, unknown_name
from repsim_energy.numerics.frames.curvelets import curvelets
from repsim_energy.numerics.frames.gabor import gabor
from repsim_energy.numerics.frames.of_patches import pca, whitening
from repsim_energy.numerics.frames.wavelets import daubechies, haar
from repsim_energy.numerics.frames.waves import cosine_basis, dct, fourier
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from repsim_energy.interfaces import PatchBasis

__all__ = ["FRAMES", "OF_IMAGES", "frame_bank"]

SPATIAL: Mapping[str, Callable[..., NDArray[np.float64]]] = {
    "dct": dct,
    "fourier": fourier,
    "haar": haar,
    **{f"db{order}": daubechies(order) for order in range(2, 9)},
    "curvelet": curvelets,
    "gabor": gabor,
}
"""Frames of one channel: ``(height, width, **options)`` -> (n, h, w) filters."""

OF_IMAGES: Mapping[str, Callable[..., Tensor]] = {"pca": pca, "whitening": whitening}
"""Frames that are computed from a patch basis: ``(basis, **options)`` -> (n, d) filters."""

FRAMES = (*SPATIAL, "random", *OF_IMAGES)
"""Names of all frames."""

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "color": tuple(SPATIAL),
    "orientations": ("gabor",),
    "filters": FRAMES,
    "seed": ("random",),
    "eps": ("whitening",),
}
"""Option -> the frames that have it."""

MAX_NUMBERS = 2**28
"""Largest (c * h * w) squared, which is the size of an orthonormal basis."""


@own_settings()
def frame_bank(
    name: str,
    channels: int,
    patch: tuple[int, int],
    *,
    basis: PatchBasis | None = None,
    **options: Any,
) -> Tensor:
    r"""Return the filters of a frame for patches of any size.

    With d = c h w entries in a patch and p = h w pixels:

    ============  ==========================================================  ===================
    name          filters                                                     number
    ============  ==========================================================  ===================
    dct           cosines (DCT-II), orthonormal                               d
    fourier       cosines and sines of the discrete Fourier transform,        d
                  orthonormal
    haar          Haar wavelets, orthonormal                                  d
    db2 ... db8   periodic Daubechies wavelets, orthonormal if both sides     d, times 2 for each
                  are even or 1, else a Parseval frame                        odd side above 1
    curvelet      curvelets centered in the patch                             c (1 + 12) up to 7x7
    gabor         Gabor functions centered in the patch                       c (1 + 12 octaves)
    random        independent normal numbers                                  d
    pca           principal components of image patches, orthonormal          rank of the patches
    whitening     :math:`\pm u_i / \sqrt{\lambda_i^2 + \epsilon}`             twice the rank
    ============  ==========================================================  ===================

    The functions of each frame give formulae, order, norms and sources. The first six act on one
    channel. On c channels, filter (i, j) is the outer product of color j and filter i,

    .. math:: w_{(i,j)} = a_j \otimes f_i,

    in the order (0, 0), (0, 1), ..., (1, 0), .... The colors :math:`a_j` are an orthonormal
    basis, so that an orthonormal basis or Parseval frame of one channel gives one of c channels.
    By default they are cosines over the channels (DCT-II). For red, green and blue, these are
    gray (1, 1, 1), red-blue (1, 0, -1) and magenta-green (1, -2, 1), normalized, which are close
    to the principal components of the colors of photographs.

    The energy profile of an orthonormal basis or a Parseval frame is constant, on any basis of
    patches: :math:`\sum_k (w_k^\top u_i)^2 = \|u_i\|^2 = 1`. Its correlation with other profiles
    is not defined. That of its first filters alone is.

    Source of the colors: Ohta, Kanade and Sakai (1980), "Color information for region
    segmentation", Computer Graphics and Image Processing 13:222-241.

    Parameters
    ----------
    name : of the frame
    channels : c, number of channels
    patch : (h, w) in pixels
    basis : principal components of patches of this shape, for ``pca`` and ``whitening``
    **options : ``filters`` (the first of them alone; of ``random`` any number), ``color``
        (``opponent``, or ``channels`` for each channel alone), ``orientations`` of ``gabor``,
        ``seed`` of ``random``, ``eps`` of ``whitening``

    Returns
    -------
    (n, c, h, w) float64

    Raises
    ------
    UsageError
        For a name or an option that the frame does not have, no basis where one is needed, and a
        missing package.
    ShapeError
        For a patch without pixels, one that is too large, and a basis of other patches.

    Examples
    --------
    >>> bank = frame_bank("dct", 3, (3, 3))
    >>> bank.shape
    torch.Size([27, 3, 3, 3])
    >>> bool(torch.allclose(bank.flatten(1) @ bank.flatten(1).T, torch.eye(27).double()))
    True
    """
    _check(name, channels, patch, options)
    if name == "random":
        return _random((channels, *patch), **options)
    filters = options.pop("filters", None)
    bank = _whole_bank(name, channels, patch, basis, options)
    if filters is not None and not 1 <= filters <= len(bank):
        raise UsageError(
            f"got filters={filters} of frame '{name}', expected a number from 1 to {len(bank)}, "
            f"which are all for patches of {channels} channels and {patch[0]}x{patch[1]} pixels"
        )
    return bank[:filters]


def _whole_bank(
    name: str,
    channels: int,
    patch: tuple[int, int],
    basis: PatchBasis | None,
    options: dict[str, Any],
) -> Tensor:
    h, w = patch
    if name in OF_IMAGES:
        if basis is None:
            raise UsageError(
                f"frame '{name}' is computed from image patches, got none; give their basis"
            )
        if basis.patch != (channels, h, w):
            raise ShapeError(
                f"got the basis of patches {basis.patch}, expected {(channels, h, w)}; use one "
                "patch for both"
            )
        return OF_IMAGES[name](basis, **options).reshape(-1, channels, h, w)
    colors = _colors(channels, options.pop("color", "opponent"))
    filters = SPATIAL[name](h, w, **options)
    bank = np.einsum("jc,nhw->njchw", colors, filters).reshape(-1, channels, h, w)
    return torch.from_numpy(np.ascontiguousarray(bank))


def _check(name: str, channels: int, patch: tuple[int, int], options: Mapping[str, Any]) -> None:
    if name not in FRAMES:
        raise unknown_name("frame", name, FRAMES)
    if min(*patch, channels) < 1:
        raise ShapeError(
            f"got patches of {channels} channels and {patch[0]}x{patch[1]} pixels, expected at "
            "least one of each; use a larger patch="
        )
    if (channels * patch[0] * patch[1]) ** 2 > MAX_NUMBERS:
        raise ShapeError(
            f"got patches of {channels}x{patch[0]}x{patch[1]} numbers, expected at most "
            f"{int(MAX_NUMBERS**0.5)}; use a smaller patch="
        )
    known = [option for option, frames in OPTIONS.items() if name in frames]
    for option in options:
        if option not in known:
            raise unknown_name(f"option of frame '{name}'", option, known)


def _colors(channels: int, color: str) -> NDArray[np.float64]:
    """Return the (c, c) orthonormal colors, one in each row."""
    if color not in ("opponent", "channels"):
        raise UsageError(f"got color={color}, expected opponent or channels")
    return cosine_basis(channels) if color == "opponent" else np.eye(channels)


def _random(shape: tuple[int, int, int], *, filters: int | None = None, seed: int = 0) -> Tensor:
    r"""Return independent normal filters, whose expected squared norm is 1.

    .. math:: w_{kchw} \sim N(0, 1/d)
    """
    c, h, w = shape
    d = c * h * w
    n = d if filters is None else filters
    if n < 1:
        raise UsageError(f"got filters={n}, expected a number of filters from 1")
    if seed < 0:
        raise UsageError(f"got seed={seed}, expected a number from 0")
    generator = torch.Generator().manual_seed(seed)
    draws = torch.randn(n, c, h, w, generator=generator, dtype=torch.float64, device="cpu")
    return draws.div_(math.sqrt(d))
