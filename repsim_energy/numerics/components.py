"""From the covariance of patches to their principal components."""

from __future__ import annotations

import torch
from torch import Tensor

from repsim_energy.errors import DataError
from repsim_energy.interfaces import PatchBasis

__all__ = ["basis_from_moments"]


def basis_from_moments(
    covariance: Tensor, mean: Tensor, patch: tuple[int, int, int], centered: bool, count: int
) -> PatchBasis:
    r"""Return the eigenvectors of a patch covariance, :math:`C u_i = \lambda_i^2 u_i`.

    Source: Chowers & Weiss (2023), Definition 2.1. The sign of a component is free; here its
    entry of largest magnitude is positive, so that equal data give an equal basis.

    Parameters
    ----------
    covariance : (d, d) float64, symmetric
    mean : (d,) the mean patch
    patch : (c, kh, kw) with d = c * kh * kw
    centered : whether ``covariance`` is about the mean
    count : the number of patches behind it

    Raises
    ------
    DataError
        With no more patches than components, or patches without any variance.
    """
    d = len(covariance)
    if count <= d:
        raise DataError(
            f"got {count} patches for {d} components, expected more than {d}; use more images"
        )
    eigenvalues, vectors = torch.linalg.eigh(covariance.cpu())
    eigenvalues = eigenvalues.flip(0).clamp_min(0.0)
    components = vectors.flip(1).T.contiguous()
    # A constant set leaves rounding noise of the size of the squared mean, no structure.
    if eigenvalues[0] <= 1e-12 * max(1e-12, float(mean.square().max())):
        raise DataError(
            "images are constant, their patches have no variance and no principal components; "
            "expected images that differ"
        )
    largest = components.abs().argmax(dim=1, keepdim=True)
    components = components * components.gather(1, largest).sign()
    return PatchBasis(components, eigenvalues, mean.cpu(), patch, centered, count)
