"""Theory of filters that are smaller than the patches of a comparison: fits and null intervals.

The theory holds on the patches that a filter sees. The profile of a smaller filter is therefore
fitted on the components of its own patches, and the best curve is carried over to those of the
comparison.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key
from repsim_energy.comparison.profiles import STAGES
from repsim_energy.interfaces import PatchBasis
from repsim_energy.numerics.profiles.energy import energy_profile
from repsim_energy.numerics.profiles.filter_sizes import crop_bank
from repsim_energy.numerics.profiles.fit import ProfileFit, fit_profile
from repsim_energy.numerics.profiles.placements import basis_of_kernel, kernel_shares

__all__ = ["OwnTheory", "own_theories"]


@dataclass(frozen=True, eq=False)
class OwnTheory:
    """The theory of one network on the patches that its filters see.

    Parameters
    ----------
    fits : stage -> the fit of its profile on its own components
    shares : (r, s) energy of each of s own components on each of r components of the comparison
    basis : the own components
    count : number of filters
    """

    fits: Mapping[str, ProfileFit]
    shares: NDArray[np.float64]
    basis: PatchBasis
    count: int

    def curve(self, stage: str) -> NDArray[np.float64]:
        """Return the (r,) best theoretical profile on the components of the comparison."""
        return np.sqrt(self.shares @ self.fits[stage].profile ** 2)

    def spread(self, stage: str) -> NDArray[np.float64]:
        r"""Return the (r, s) derivatives of the log of the curve by the log of the own one.

        .. math:: B_{ij} = A_{ij} \hat e_j^2 / \sum_l A_{il} \hat e_l^2
        """
        weights = self.shares * self.fits[stage].profile ** 2
        spread: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
        return spread


def own_theories(networks: Mapping[Key, Network], kernels: Kernels) -> dict[Key, OwnTheory]:
    """Return the theory of each network whose filters are smaller than the patches, or gray."""

    @cache
    def basis_and_shares(
        dataset: int, size: tuple[int, int, int], dilation: tuple[int, int]
    ) -> tuple[PatchBasis, NDArray[np.float64]]:
        basis = kernels.bases[dataset]
        own = basis_of_kernel(basis, size, dilation)
        return own, kernel_shares(basis, own, dilation)

    theories = {}
    for key, network in networks.items():
        if not kernels.are_placed(key):
            continue
        stages = {stage: network.at(stage) for stage in STAGES}
        known = {stage: bank for stage, bank in stages.items() if bank is not None}
        banks = crop_bank({stage: kernels.prepare(bank) for stage, bank in known.items()})
        count, *size = next(iter(banks.values())).shape
        whole = tuple(size) == kernels.bases[key.dataset].patch
        if whole or not all(bool(bank.isfinite().all()) for bank in banks.values()):
            continue
        c, rows, columns = size
        own, shares = basis_and_shares(key.dataset, (c, rows, columns), kernels.dilation(key))
        profiles = {stage: energy_profile(bank, own) for stage, bank in banks.items()}
        fits = {
            stage: fit_profile(profile, own.eigenvalues.numpy())
            for stage, profile in profiles.items()
            if np.ptp(profile) > 0
        }
        theories[key] = OwnTheory(fits, shares, own, count)
    return theories
