"""Curvelets on patches of any size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.errors import not_installed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Values = NDArray[np.float64]

__all__ = ["curvelets"]

MIN_SIDE = 32
"""Shortest side of the grid in pixels, on which curvelets are computed before they are wrapped."""

MIN_NORM = 1e-9
"""Norm below which a curvelet has no frequency of the patch."""


def curvelets(height: int, width: int) -> Values:
    r"""Return curvelets, centered in the patch: one for each scale, wedge and phase.

    The curvelet :math:`\psi_s` of the uniform discrete curvelet transform is computed on a grid
    that is M times as large as the patch, and wrapped around the patch, which samples its
    spectrum at the frequencies of the patch:

    .. math:: f_s(y, x) = \sum_{a, b} \psi_s(y + a h,\, x + b w),\qquad
        \hat f_s(k, m) = \hat\psi_s(M k, M m)

    Its real and imaginary part are two filters, even and odd. The coarsest scale is one low-pass
    filter. Each finer scale has 6 wedges, then 12, 24, ... (parabolic scaling is kept on
    average: wedges double with every scale). Filters without a frequency of the patch are left
    out, as on a patch of one row.

    All shifts of all filters are a Parseval frame of images that continue periodically:

    .. math:: \sum_s |\hat f_s(k, m)|^2 = 1 \text{ for each } (k, m)

    A convolution supplies the shifts, so they are not part of the bank. The bank alone need not
    span the patches.

    Source: Nguyen and Chauris (2010), "Uniform Discrete Curvelet Transform";
    doi:10.1109/TSP.2010.2047666. For curvelets: Candes and Donoho (2004), "New tight frames of
    curvelets and optimal representations of objects with piecewise C2 singularities";
    doi:10.1002/cpa.10116. Computed by the package curvelets.

    Parameters
    ----------
    height, width : of the patch; any size from 1x1

    Returns
    -------
    (n, h, w), from coarse to fine, by wedge, real before imaginary part. With S scales, which is
    2 up to 7 pixels on the longer side and one more for each doubling, n = 1 + 12 (2^(S-1) - 1),
    less where filters are left out
    """
    transform = _transform(height, width)
    shape = transform.shape
    empty = transform.forward(np.zeros(shape))
    filters = []
    for scale, directions in enumerate(empty):
        for wedges in directions:
            for band in wedges:
                for unit in (1.0, 1j) if scale else (1.0,):
                    band.flat[0] = unit
                    atom = np.real(transform.backward(empty)) / np.sqrt(np.prod(shape) / band.size)
                    band.flat[0] = 0.0
                    filters.append(_wrapped(atom, height, width))
    return np.stack([one for one in filters if np.linalg.norm(one) > MIN_NORM])


def _transform(height: int, width: int) -> Any:
    """Return the curvelet transform on a grid that is a multiple of the patch."""
    try:
        from curvelets.numpy import UDCT
    except ImportError as error:
        need = "frame 'curvelet' needs the package curvelets"
        raise not_installed(need, "lecture") from error
    scales = max(2, int(np.log2(max(height, width))))
    shape = tuple(_side(side) for side in (height, width))
    return UDCT(shape=shape, num_scales=scales, wedges_per_direction=3)


def _side(side: int) -> int:
    """Return the multiple of a side that is divisible by 16, as the decimation needs."""
    factors = (1, 2, 4, 8, 16, 32)
    return next(m * side for m in factors if m * side % 16 == 0 and m * side >= MIN_SIDE)


def _wrapped(atom: Values, height: int, width: int) -> Values:
    """Return an atom at the origin of its grid, wrapped around the patch and centered in it."""
    rows, columns = atom.shape
    wrapped = atom.reshape(rows // height, height, columns // width, width).sum((0, 2))
    return np.roll(wrapped, (height // 2, width // 2), (0, 1))
