"""From the covariance of patches to their principal components."""

from __future__ import annotations

import warnings
from dataclasses import replace

import torch
from torch import Tensor

from repsim_energy.errors import DataError, RepsimWarning, ShapeError
from repsim_energy.interfaces import PatchBasis, PatchTransform
from repsim_energy.numerics.settings import own_settings
from repsim_energy.numerics.threads import one_thread

__all__ = ["RESOLUTION", "basis_from_moments", "transform_basis"]

RESOLUTION = 1e-12
"""A variance below this part of the patches' mean square is rounding of float64 sums."""

TIE = 1e-6
"""Entries of a component are equal in size where they differ by less than this part of it."""


@own_settings()
def basis_from_moments(
    covariance: Tensor,
    mean: Tensor,
    patch: tuple[int, int, int],
    centered: bool,
    count: int,
    resolution: float = RESOLUTION,
) -> PatchBasis:
    r"""Return the eigenvectors of a patch covariance, :math:`C u_i = \lambda_i^2 u_i`.

    Source: Chowers & Weiss (2023), Definition 2.1. The sign of a component is free; here the first
    of its entries of largest magnitude is positive. Entries count as equal where rounding alone
    tells them apart, as in the components of mirrored images, which are symmetric.

    Where patches have no variance, as along the color differences of gray pictures in three equal
    channels, any direction is an eigenvector, and rounding alone chooses one. Components whose
    variance is not above ``resolution`` times :math:`\operatorname{tr} C + \|\mu\|^2` are
    therefore left out.

    Parameters
    ----------
    covariance : (d, d) float64, symmetric
    mean : (d,) the mean patch
    patch : (c, kh, kw) with d = c * kh * kw
    centered : whether ``covariance`` is about the mean
    count : the number of patches behind it
    resolution : of the covariance: its rounding, relative to the patches' mean square

    Raises
    ------
    DataError
        With no more patches than components, or patches without any variance.

    Warns
    -----
    RepsimWarning
        Where components without variance are left out.
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
    mean = mean.cpu()
    offset = mean.square().sum() if centered else 0.0
    noise = resolution * (eigenvalues.sum() + offset)
    rank = int((eigenvalues > noise).sum())
    if rank == 0:
        raise DataError(
            "images are constant, their patches have no variance and no principal components; "
            "expected images that differ"
        )
    if rank < d:
        _warn_of_missing(rank, d, resolution)
        components, eigenvalues = components[:rank], eigenvalues[:rank]
    size = components.abs()
    largest = (size > (1 - TIE) * size.amax(1, keepdim=True)).int().argmax(1, keepdim=True)
    components = components * components.gather(1, largest).sign()
    return PatchBasis(components, eigenvalues, mean, patch, centered, count)


def _warn_of_missing(rank: int, d: int, resolution: float) -> None:
    lost = ", or lost in the rounding of float32: give uint8 or float64 images"
    hint = "" if resolution <= RESOLUTION else lost
    warnings.warn(
        f"{d - rank} of {d} components of the patches have no variance and are left out (as of "
        f"gray pictures stored as RGB, or a constant channel){hint}",
        RepsimWarning,
        stacklevel=2,
    )


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
