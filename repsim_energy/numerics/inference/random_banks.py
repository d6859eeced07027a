"""Random filter banks: white, smooth, and within the theory of the linear CNN."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from repsim_energy.interfaces import PatchBasis

__all__ = ["neighbor_correlations", "smooth_filters", "smoothed", "theory_filters"]


def neighbor_correlations(filters: Tensor) -> tuple[float, float]:
    r"""Return the correlation of weights that are vertical and horizontal neighbors.

    .. math:: \rho = \frac{\sum w_{y,x} w_{y,x+1}}
        {\sqrt{\sum w_{y,x}^2\,\sum w_{y,x+1}^2}}

    The sums are over filters, channels and places. No mean is subtracted: the model is a bank with
    mean 0. The correlation is 0 along a side of one weight, and for filters that are zero.

    Parameters
    ----------
    filters : (k, c, kh, kw)

    Returns
    -------
    (vertical, horizontal)
    """
    w = filters.detach().double()
    vertical = _correlation(w[..., :-1, :], w[..., 1:, :])
    return vertical, _correlation(w[..., :-1], w[..., 1:])


def _correlation(a: Tensor, b: Tensor) -> float:
    norm = float(a.norm() * b.norm())
    return max(-1.0, min(1.0, float((a * b).sum()) / norm)) if norm > 0 else 0.0


def smooth_filters(
    shape: tuple[int, ...], correlations: tuple[float, float], generator: torch.Generator
) -> Tensor:
    r"""Return Gaussian filters of unit variance whose neighboring weights correlate.

    .. math:: \operatorname{corr}(w_{c,y,x}, w_{c',y',x'}) =
        \delta_{cc'}\,\rho_v^{|y - y'|}\,\rho_h^{|x - x'|}

    This is the separable process in which each weight depends on its neighbors alone, and filters
    and channels are independent. With :math:`\rho = 0` all weights are.

    Parameters
    ----------
    shape : (..., kh, kw)
    correlations : :math:`\rho_v` and :math:`\rho_h`, from -1 to 1

    Returns
    -------
    float64 tensor of this shape
    """
    return smoothed(torch.randn(shape, generator=generator, dtype=torch.float64), correlations)


def smoothed(white: Tensor, correlations: tuple[float, float]) -> Tensor:
    """Return the filters that :func:`smooth_filters` makes of white ones (..., kh, kw)."""
    w = white
    for dim, rho in zip((-2, -1), correlations, strict=True):
        rows = list(w.unbind(dim))
        for at in range(1, len(rows)):
            rows[at] = rho * rows[at - 1] + math.sqrt(1 - rho * rho) * rows[at]
        w = torch.stack(rows, dim)
    return w


def theory_filters(
    number: int,
    basis: PatchBasis,
    curve: NDArray[np.float64],
    labelings: int,
    generator: torch.Generator,
) -> Tensor:
    r"""Return filters of a linear CNN that has learned independent random labels.

    .. math:: w_k = \sum_{l=1}^L v_{kl} \sum_i \hat e_i\, z_{li}\, u_i,\qquad
        v_{kl}, z_{li} \sim N(0, 1)

    One labeling y that is independent of the images moves the mean filter by
    :math:`\hat e_i(t)\,z_i` along the component :math:`u_i`: the cross moment
    :math:`b = E[\bar p y]` of n images has the covariance :math:`A/n`, so that :math:`u_i^\top b`
    is :math:`\lambda_i z_i`, and gradient descent multiplies it by
    :math:`(1 - (1 - \eta\lambda_i^2)^t)/(\eta\lambda_i^2)`. With a labeling for each class, a
    filter mixes those of L classes by the weights v that read it out. Profiles vary about ê the
    less, the more labelings there are.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Theorem 4.2; arXiv:2206.02454.

    Parameters
    ----------
    number : K, of filters
    basis : r principal components u
    curve : (r,) theoretical profile ê
    labelings : L, the number of classes

    Returns
    -------
    (k, c, kh, kw) float64
    """
    z = torch.randn(labelings, len(curve), generator=generator, dtype=torch.float64)
    v = torch.randn(number, labelings, generator=generator, dtype=torch.float64)
    learned = z * torch.from_numpy(np.ascontiguousarray(curve)).double()
    return (v @ learned @ basis.components).view(number, *basis.patch)
