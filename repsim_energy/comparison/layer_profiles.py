"""Energy profiles of the filters of layers, each on the patches of its own input."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from repsim_energy.errors import UndefinedSimilarityWarning
from repsim_energy.interfaces import PatchBasis
from repsim_energy.models.filters.any_layer import layer_filters
from repsim_energy.numerics.profiles.energy import unchecked_profile
from repsim_energy.numerics.profiles.fit import ProfileFit, fit_profile
from repsim_energy.numerics.profiles.whitening import whitening_exponent

__all__ = ["LayerProfile", "layer_profiles", "profile_of"]

LEADING_SHARE = 0.99
"""Share of the variance of the leading components."""


@dataclass(frozen=True, eq=False)
class LayerProfile:
    """Energy profile of a layer, with its best theoretical profile.

    Parameters
    ----------
    energy : (r,) in weight units
    basis : r principal components of the patches that the layer sees
    fit : the best theoretical profile for the eigenvalues of this basis
    whitening : exponent w of the power law energy ~ (standard deviation of patches)^-w
    whitened : number of components that the best theoretical profile has whitened: those with
        at least 1 for step size x variance x steps, which are learned to 63% or more
    leading : number of leading components with 99% of the variance
    leading_whitening : the exponent of these components alone
    """

    energy: NDArray[np.float64]
    basis: PatchBasis
    fit: ProfileFit
    whitening: float
    whitened: int
    leading: int
    leading_whitening: float


def layer_profiles(
    network: nn.Module,
    named: Mapping[str, str],
    bases: Mapping[str, PatchBasis],
    initial: nn.Module | None = None,
) -> dict[str, LayerProfile]:
    """Return the profile of each layer.

    Parameters
    ----------
    named : label of a layer -> its name in the network
    bases : label -> basis of the patches that the layer sees in this network
    initial : the network before its training, whose filters are subtracted: the profile is then
        that of the change
    """
    found = {}
    for label, name in named.items():
        filters = layer_filters(network.get_submodule(name), name)
        if initial is not None:
            filters = filters - layer_filters(initial.get_submodule(name), name)
        found[label] = profile_of(filters, bases[label])
    return found


def profile_of(filters: Tensor, basis: PatchBasis) -> LayerProfile:
    """Return the energy profile of filters on a basis, with its best theoretical profile."""
    energy, variance = unchecked_profile(filters, basis), basis.eigenvalues.numpy()
    total = np.cumsum(variance)
    leading = 1 + int((total < LEADING_SHARE * total[-1]).sum())
    with warnings.catch_warnings():  # NaN for the few components of some layers of many
        warnings.simplefilter("ignore", UndefinedSimilarityWarning)
        exponents = [
            whitening_exponent(energy, variance, variance_share=share)
            for share in (1.0, LEADING_SHARE)
        ]
    fit = fit_profile(energy, variance)
    whitened = int((fit.step_size * variance * fit.steps >= 1).sum())
    return LayerProfile(energy, basis, fit, exponents[0], whitened, leading, exponents[1])
