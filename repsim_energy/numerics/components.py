"""From the covariance of patches to their principal components."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError
from repsim_energy.interfaces import PatchBasis, PatchTransform
from repsim_energy.numerics.settings import own_settings
from repsim_energy.numerics.threads import one_thread

__all__ = ["basis_from_moments", "transform_basis"]

TIE = 1e-6
"""Entries of a component are equal in size where they differ by less than this part of it."""


@own_settings()
def basis_from_moments(
    covariance: Tensor, mean: Tensor, patch: tuple[int, int, int], centered: bool, count: int
) -> PatchBasis:
    r"""Return the eigenvectors of a patch covariance, :math:`C u_i = \lambda_i^2 u_i`.

    Source: Chowers & Weiss (2023), Definition 2.1. The sign of a component is free; here the first
    of its entries of largest magnitude is positive. Entries count as equal where rounding alone
    tells them apart, as in the components of mirrored images, which are symmetric.

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
    with one_thread():  # a basis is known by its bits
        eigenvalues, vectors = torch.linalg.eigh(covariance.cpu())
    eigenvalues = eigenvalues.flip(0).clamp_min(0.0)
    components = vectors.flip(1).T.contiguous()
    # A constant set leaves rounding noise of the size of the squared mean, no structure.
    if eigenvalues[0] <= 1e-12 * float(mean.square().max()):
        raise DataError(
            "images are constant, their patches have no variance and no principal components; "
            "expected images that differ"
        )
    size = components.abs()
    largest = (size > (1 - TIE) * size.amax(1, keepdim=True)).int().argmax(1, keepdim=True)
    components = components * components.gather(1, largest).sign()
    return PatchBasis(components, eigenvalues, mean.cpu(), patch, centered, count)


@own_settings()
def transform_basis(basis: PatchBasis, transform: PatchTransform) -> PatchBasis:
    r"""Return the basis of patches Tp, with the components in their original order.

    .. math:: \lambda_i'^2 = u_i^\top T C T^\top u_i

    The components stay principal where T shares them, as the scaling of one component does:
    then :math:`\lambda_t'^2 = \alpha^2 \lambda_t^2`, and the others stay as they are.

    Source: Chowers & Weiss (2023), section 5 and Appendix D.2.
    """
    if transform.patch != basis.patch:
        raise ShapeError(
            f"the transform is of patches {transform.patch} but the basis of {basis.patch}; "
            "give both the patch of the first layer"
        )
    mixing = basis.components @ transform.matrix @ basis.components.T
    return replace(
        basis,
        eigenvalues=mixing.square() @ basis.eigenvalues,
        mean=transform.matrix @ basis.mean,
    )
