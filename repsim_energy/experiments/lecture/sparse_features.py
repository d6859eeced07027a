"""Features of images: the largest responses of a filter bank, averaged over regions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from repsim_energy.models.frames import POOLED
from repsim_energy.numerics.patches.batches import pixel_unit
from repsim_energy.numerics.settings import own_settings
from repsim_energy.numerics.thresholds import keep_largest

__all__ = ["sparse_features"]

STRIDE = 2
"""Rows and columns between the patches."""

BATCH = 250
"""Images whose responses are in memory at once."""


@own_settings()
def sparse_features(
    images: Tensor, filters: Tensor, mean: Tensor, share: float, *, soft: bool = False
) -> Tensor:
    r"""Return the averages of the largest responses over 4x4 regions, of each sign.

    .. math:: h = \sigma(W (p - \bar p)), \qquad
        f = \left(\overline{\max(h, 0)},\; \overline{\max(-h, 0)}\right)

    p are the patches of an image, at every second row and column, and :math:`\bar p` the mean patch
    of the training images. :math:`\sigma` keeps a share of the responses of an image, over all
    filters and positions, by :func:`~repsim_energy.keep_largest`. One factor on all filters is a
    factor on all features. Their norms relative to each other matter: they decide which responses
    are the largest.

    Parameters
    ----------
    images : (n, c, h, w) uint8 or float
    filters : (k, c, kh, kw)
    mean : (c kh kw,), of the unit of the images, where 1 is 255 for uint8
    share : fraction of the responses that is kept, in (0, 1]; at least one response
    soft : whether the threshold is soft

    Returns
    -------
    (n, 2 * 16 * k) float32
    """
    weight = filters.detach().float().cpu()
    bias = -(weight.flatten(1) @ mean.float())
    parts = []
    for batch in images.split(BATCH):
        pixels = batch.float() * pixel_unit(batch)
        responses = F.conv2d(pixels, weight, bias, stride=STRIDE)
        count = max(1, round(share * responses[0].numel()))
        largest = keep_largest(responses, count, soft=soft)
        signs = torch.cat([largest.clamp_min(0), (-largest).clamp_min(0)], 1)
        parts.append(F.adaptive_avg_pool2d(signs, POOLED).flatten(1))
    return torch.cat(parts)
