"""Filters at all places of larger patches, as the input of a metric."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import FilterBank, PatchBasis
from repsim_energy.numerics.memory import available_memory
from repsim_energy.numerics.profiles.filter_sizes import extent
from repsim_energy.numerics.profiles.placements import LUMA, place_filters

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PlacedBank"]


class PlacedBank(FilterBank):
    """Bank whose filters are placed when a metric asks for them: most need the profile alone.

    Parameters
    ----------
    originals : (n, c, kh, kw), or (n, 1, kh, kw) filters of the luma of color images
    basis : of the larger patches
    profile : (r,) of the filters at all places
    dilation : rows and columns from one pixel that filters see to the next
    """

    def __init__(
        self,
        originals: Tensor,
        basis: PatchBasis,
        profile: NDArray[np.float64],
        dilation: tuple[int, int],
    ) -> None:
        vars(self).update(originals=originals, basis=basis, profile=profile, dilation=dilation)

    @cached_property
    def filters(self) -> Tensor:
        """The filters at all places.

        Raises
        ------
        UsageError
            If they do not fit into memory.
        """
        filters, (channels, *patch) = self.originals, self.basis.patch
        assert filters is not None
        rows, columns = extent(filters, self.dilation)
        places = (patch[0] - rows + 1) * (patch[1] - columns + 1)
        needed = 16 * len(filters) * places * math.prod(self.basis.patch)
        if needed > (free := available_memory()):
            raise UsageError(
                f"{len(filters)} filters at {places} places take {needed / 2**30:.1f} GB of "
                f"memory, expected at most the {free / 2**30:.1f} GB that are free; use a smaller "
                "patch="
            )
        placed = place_filters(filters, (patch[0], patch[1]), dilation=self.dilation)
        if filters.shape[1] == 1 < channels:
            placed = placed * torch.tensor(LUMA, dtype=placed.dtype).view(3, 1, 1)
        return placed
