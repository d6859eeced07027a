"""Principal components of patches, from their covariance."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from repsim_energy.errors import DataError, ShapeError, warn
from repsim_energy.interfaces import PatchBasis, PatchTransform
from repsim_energy.numerics.settings import own_settings
from repsim_energy.numerics.threads import one_thread

__all__ = ["RESOLUTION", "basis_from_moments", "transform_basis"]

RESOLUTION = 1e-12
"""A variance below this fraction of the patches' mean square is rounding of float64 sums."""

TIE = 1e-6
"""Relative difference below which two entries of a component count as equally large."""


@own_settings()
def basis_from_moments(
    covariance: Tensor,
    mean: Tensor,
    patch: tuple[int, int, int],
    centered: bool,
    count: int,
    resolution: float = RESOLUTION,
) -> PatchBasis:
    r"""Return the principal components of patches.

    .. math:: C u_i = \lambda_i^2 u_i

    The sign of a component is arbitrary. Here the first of its largest entries is positive. Entries
    count as equally large where only rounding distinguishes them, as in the components of mirrored
    images, which are symmetric.

    Where patches have no variance, such as along the color differences of gray images stored as
    RGB, every direction is an eigenvector and rounding selects one. Components are therefore left
    out if their variance is at most ``resolution`` times
    :math:`\operatorname{tr} C + \|\mu\|^2`.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", Definition 2.1; arXiv:2206.02454.

    Parameters
    ----------
    covariance : (d, d) float64, symmetric
    mean : (d,) the mean patch
    patch : (c, kh, kw) with d = c * kh * kw
    centered : True if ``covariance`` is about the mean
    count : the number of patches that it was computed from
    resolution : rounding of the covariance, relative to the patches' mean square

    Raises
    ------
    DataError
        For no more patches than components, or patches without any variance.

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
    with one_thread():  # basis_id is a hash of the bits
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
    warn(
        f"{d - rank} of {d} components of the patches have no variance and are left out (as of "
        f"gray pictures stored as RGB, or a constant channel){hint}"
    )


@own_settings()
def transform_basis(basis: PatchBasis, transform: PatchTransform) -> PatchBasis:
    r"""Return the basis of transformed patches Tp, with the components in their original order.

    .. math:: \lambda_i'^2 = u_i^\top T C T^\top u_i

    The components are principal components of the transformed patches if they are eigenvectors of
    T, as of a T that scales one component by :math:`\alpha`: then
    :math:`\lambda_t'^2 = \alpha^2 \lambda_t^2`, and the other eigenvalues do not change.

    Source: Chowers and Weiss (2023), "What do CNNs Learn in the First Layer and Why? A Linear
    Systems Perspective", section 5 and Appendix D.2; arXiv:2206.02454.
    """
    if transform.patch != basis.patch:
        raise ShapeError(
            f"got a transform of patches {transform.patch} and a basis of patches {basis.patch}, "
            "expected one patch; use that of the first layer for both"
        )
    mixing = basis.components @ transform.matrix @ basis.components.T
    return replace(
        basis,
        eigenvalues=mixing.square() @ basis.eigenvalues,
        mean=transform.matrix @ basis.mean,
    )
