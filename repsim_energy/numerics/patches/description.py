"""Frequency, orientation, color and symmetry of the components of patches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.fft import dctn

from repsim_energy.errors import ShapeError
from repsim_energy.numerics.arrays import array_of
from repsim_energy.numerics.settings import own_settings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    Values = NDArray[np.float64]

__all__ = ["describe_components", "stripes"]

MIN_COHERENCE = 1e-6
"""Coherence below which the orientation is rounding, and NaN."""


MIN_GRADIENT = 1e-12
"""Gradient, relative to the component, below which it is rounding."""


@own_settings()
def describe_components(components: ArrayLike) -> dict[str, NDArray[np.float64]]:
    r"""Return spatial frequency, orientation, share of color and symmetry of components.

    Each number is computed from the component :math:`u` alone, and does not depend on its sign or
    scale. Below, sums are over all channels c and pixels (y, x).

    **frequency**, in cycles per pixel: the mean over the cosine series :math:`\hat u` of the patch
    (DCT-II), which continues the patch by its mirror image:

    .. math:: \frac{\sum_{ckl} f_{kl}\, \hat u_{ckl}^2}{\sum_{ckl} \hat u_{ckl}^2},\qquad
        f_{kl} = \sqrt{(k / 2h)^2 + (l / 2w)^2}

    **orientation**, in degrees: the direction of the stripes, counterclockwise as the patch is
    drawn: 0 for horizontal stripes, 90 for vertical ones. They are perpendicular to the gradient
    :math:`(g_x, g_y)`, averaged as a tensor over the squares of 2x2 pixels:

    .. math:: J = \sum \begin{pmatrix} g_x^2 & g_x g_y \\ g_x g_y & g_y^2 \end{pmatrix},\qquad
        \theta = 90 + \tfrac12 \operatorname{atan2}(2 J_{xy},\, J_{xx} - J_{yy})
        \pmod{180}

    with y upward. It is exact for linear ramps, and for gratings along the axes and diagonals; for
    gratings of other directions it is within 4 degrees up to a frequency of 1/4.

    **coherence**: the part of the gradient that has this orientation, between 0 (none) and 1
    (parallel stripes):

    .. math:: \frac{\sqrt{(J_{xx} - J_{yy})^2 + 4 J_{xy}^2}}{J_{xx} + J_{yy}}

    **chromatic_share**: the share of the energy that is orthogonal to gray, between 0 (all channels
    are equal) and 1 (they add up to zero at each pixel):

    .. math:: 1 - \frac{\sum_{yx} (\sum_c u_{cyx})^2}{C \sum_{cyx} u_{cyx}^2}

    **symmetry**: the correlation with the component rotated by 180 degrees, between 1 (even) and -1
    (odd):

    .. math:: \frac{\sum u_{c,y,x}\, u_{c,h-1-y,w-1-x}}{\sum u_{cyx}^2}

    Source: Bigun, Granlund and Wiklund (1991), "Multidimensional orientation estimation with
    applications to texture analysis and optical flow"; doi:10.1109/34.85668, for orientation and
    coherence.

    Parameters
    ----------
    components : (..., c, kh, kw), such as those of a result, or those of a basis with
        ``basis.components.reshape(-1, *basis.patch)``

    Returns
    -------
    dict
        Name -> (...,) float64. All are NaN for components that are zero or not finite (those
        without variance in a result). Orientation and coherence are NaN without a gradient; the
        orientation also if the coherence is below 1e-6. The chromatic share is 0 for one channel,
        and NaN for other numbers of channels than 1 and 3.

    Raises
    ------
    ShapeError
        For an array of fewer than three dimensions, or without pixels.
    DataError
        For complex numbers, and what is no array of numbers.

    Examples
    --------
    >>> edge = np.array([[-1.0, 0.0, 1.0]] * 3)
    >>> found = describe_components([[edge, edge, edge], [edge.T, 0 * edge, -edge.T]])
    >>> found["orientation"], found["chromatic_share"].round(3)
    (array([90.,  0.]), array([0., 1.]))
    """
    u = array_of(components)
    if u.ndim < 3 or 0 in u.shape[-3:]:
        raise ShapeError(
            f"got components of shape {u.shape}, expected (..., c, kh, kw); reshape those of a "
            "basis with basis.components.reshape(-1, *basis.patch)"
        )
    largest = np.abs(u).max((-3, -2, -1))
    defined = np.isfinite(largest) & (largest > 0)
    scale = np.where(defined, largest, 1.0)[..., None, None, None]
    u = np.where(defined[..., None, None, None], u / scale, np.nan)
    energy = np.square(u).sum((-3, -2, -1))
    orientation, coherence = stripes(u, energy)
    return {
        "frequency": _frequency(u, defined),
        "orientation": orientation,
        "coherence": coherence,
        "chromatic_share": _chromatic_share(u, energy),
        "symmetry": (u * u[..., ::-1, ::-1]).sum((-3, -2, -1)) / energy,
    }


def _frequency(u: Values, defined: NDArray[np.bool_]) -> Values:
    """Return the mean spatial frequency of (..., c, kh, kw) components."""
    height, width = u.shape[-2:]
    known = np.where(defined[..., None, None, None], u, 0.0)
    power = np.square(dctn(known, axes=(-2, -1), norm="ortho")).sum(-3)
    rows, columns = np.arange(height) / (2 * height), np.arange(width) / (2 * width)
    radius = np.hypot(rows[:, None], columns)
    total = np.where(defined, power.sum((-2, -1)), np.nan)
    mean: Values = (radius * power).sum((-2, -1)) / total
    return mean


def stripes(u: Values, energy: Values) -> tuple[Values, Values]:
    """Return orientation in degrees and coherence of (..., c, kh, kw) components."""
    gx, gy = _slope(u), -_slope(u.swapaxes(-2, -1)).swapaxes(-2, -1)  # y is upward
    xx, yy, xy = (
        np.zeros(energy.shape) if 0 in a.shape or 0 in b.shape else (a * b).sum((-3, -2, -1))
        for a, b in ((gx, gx), (gy, gy), (gx, gy))
    )
    total, strength = xx + yy, np.hypot(xx - yy, 2 * xy)
    total = np.where(total > MIN_GRADIENT**2 * energy, total, np.nan)
    coherence = np.minimum(strength / total, 1.0)
    angle = (90 + np.degrees(np.arctan2(2 * xy, xx - yy)) / 2) % 180
    angle = np.where(angle > 180 - 1e-9, 0.0, angle)  # rounding of 0
    return np.where(coherence >= MIN_COHERENCE, angle, np.nan), coherence


def _slope(u: Values) -> Values:
    """Return the differences along the columns, averaged over adjacent rows if there are two."""
    step = np.diff(u, axis=-1)
    return step if u.shape[-2] == 1 else (step[..., 1:, :] + step[..., :-1, :]) / 2


def _chromatic_share(u: Values, energy: Values) -> Values:
    channels = u.shape[-3]
    if channels not in (1, 3):
        return np.full(energy.shape, np.nan)
    gray = np.square(u.sum(-3)).sum((-2, -1)) / channels
    share: Values = np.clip(1 - gray / energy, 0.0, 1.0)
    return share
