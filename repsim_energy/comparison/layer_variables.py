"""Variables of a comparison of the filters of deeper layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.layer_profiles import profile_of
from repsim_energy.comparison.measured import NETWORK_DIMS, Variables
from repsim_energy.interfaces import FilterBank
from repsim_energy.results import Variable

__all__ = ["layer_variables", "pairs_of"]

Index = tuple[int, ...]

NUMBERS = {
    "layer_fit_correlation": "correlation of the layer's profile with the best theoretical one",
    "layer_fit_steps": "gradient steps of the best theoretical profile",
    "whitening_exponent": "exponent w of energy ~ (standard deviation of patches)^-w",
    "whitened_components": "number of components that the best theoretical profile has whitened",
    "leading_whitening_exponent": "the same of the components with 99% of the variance",
    "components_with_variance": "number of components of the patches that have variance",
}
"""Variable of each layer -> its meaning."""


def pairs_of(
    compare: Callable[[Index, Index], tuple[float, float, float, float]],
    banks: Mapping[Index, FilterBank],
    shape: Index,
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.float64]]:
    """Return similarity and null interval of all pairs, and a further number of each.

    Parameters
    ----------
    compare : returns the four numbers of a pair
    shape : sizes of the dimensions of the indices
    """
    out = np.full((4, *shape, *shape), np.nan)
    for a, b in combinations_with_replacement(banks, 2):
        values = compare(a, b)
        for number, value in enumerate(values):
            out[(number, *a, *b)] = out[(number, *b, *a)] = value
    return dict(zip(("similarity", "null_low", "null_high"), out, strict=False)), out[3]


def layer_variables(banks: Mapping[Index, FilterBank], shape: Index) -> Variables:
    """Return profile, eigenvalues, fit and whitening exponent of every layer."""
    size = max(len(bank.basis.eigenvalues) for bank in banks.values())
    energy, eigenvalue = np.full((2, *shape, size), np.nan)
    numbers = np.full((len(NUMBERS), *shape), np.nan)
    for at, bank in banks.items():
        layer = profile_of(bank.filters, bank.basis)
        energy[at][: len(layer.energy)] = layer.energy
        eigenvalue[at][: len(layer.energy)] = layer.basis.eigenvalues.numpy()
        values = (
            layer.fit.correlation,
            layer.fit.steps,
            layer.whitening,
            layer.whitened,
            layer.leading_whitening,
            len(layer.energy),
        )
        for number, value in enumerate(values):
            numbers[(number, *at)] = value
    dims = (*NETWORK_DIMS, "layer")
    of_components = (*dims, "layer_component")
    return {
        "layer_energy": Variable(
            of_components, energy, "energy profile of the layer on its own basis", "weight units"
        ),
        "layer_eigenvalue": Variable(
            of_components, eigenvalue, "variance of the patches that the layer sees"
        ),
        **{
            name: Variable(dims, values, meaning)
            for (name, meaning), values in zip(NUMBERS.items(), numbers, strict=True)
        },
    }
