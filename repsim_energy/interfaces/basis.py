"""Principal components of image patches."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from repsim_energy.interfaces.hashing import tensor_digest
from repsim_energy.interfaces.short_repr import short_repr

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PatchBasis"]


@dataclass(frozen=True, eq=False)
class PatchBasis:
    """Principal components of image patches.

    Parameters
    ----------
    components : (r, d) float64, one unit eigenvector per row, by descending eigenvalue. r = d
        unless the patches have no variance along some directions, which are left out
    eigenvalues : (r,) float64, variance of the patches along each component
    mean : (d,) float64, mean patch
    patch : (c, kh, kw) with d = c * kh * kw, flattened channel-first
    centered : whether the mean was subtracted before the eigenvectors were computed
    count : number of patches
    products : precision of the matrix products, if it is known: ``int8``, ``float32`` or
        ``float64``; does not enter ``basis_id``

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> images = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    >>> rs.patch_moments(images, (3, 3)).basis().components.shape
    torch.Size([27, 27])
    """

    components: Tensor
    eigenvalues: Tensor
    mean: Tensor
    patch: tuple[int, int, int]
    centered: bool
    count: int
    products: frozenset[str] = frozenset()

    __repr__ = short_repr

    @property
    def without_variance(self) -> int:
        """Number of components that are left out because the patches do not vary along them."""
        return self.components.shape[1] - len(self.components)

    @cached_property
    def basis_id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of all that defines the basis.

        Profiles are comparable only if their bases have the same id.
        """
        text = [str(self.patch), str(self.centered), str(self.count)]
        text += [tensor_digest(t) for t in (self.components, self.eigenvalues, self.mean)]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]
