"""Energy profile as a similarity of simtorch (github.com/ykumards/simtorch)."""

# mypy: disallow-subclassing-any=false
# The toolkit's class is loaded at run time, so type checkers do not know it.

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import repsim_energy as rs
from numpy.typing import NDArray

from repsim_toolkits.loading import load
from repsim_toolkits.matrices import component_matrix, energy_profile_correlation

__all__ = ["EnergyProfileCorrelation"]

_Similarity: Any = load(
    "simtorch.similarity.base_similarity",
    "BaseSimilarity",
    toolkit="simtorch 0.2",
    remedy="pip install simtorch",
).BaseSimilarity


class EnergyProfileCorrelation(_Similarity):
    """Energy profile similarity of the first convolutions of two networks.

    This adapter receives the networks themselves. It reads their weights through
    ``SimilarityModel.model`` and uses no activations. ``layers_to_include`` has no effect.

    Parameters
    ----------
    sim_model1, sim_model2 : ``simtorch.model.SimilarityModel``
    device : as in simtorch; the comparison itself runs on the CPU
    basis : the patch basis; by default that of the images that ``compute`` receives
    """

    def __init__(
        self,
        sim_model1: Any,
        sim_model2: Any,
        device: str = "cpu",
        basis: rs.PatchBasis | None = None,
    ) -> None:
        super().__init__(sim_model1, sim_model2, device)
        self.similarity_name = "energy_profile_correlation"
        self.basis = basis

    def compute(self, dataloader: Iterable[Any] | None = None) -> NDArray[np.float64]:
        """Return the (1, 1) similarity, and store it as ``sim_matrix`` for ``plot_similarity``.

        Parameters
        ----------
        dataloader : batches whose first entry is images (n, c, h, w), as the networks see them;
            needed only without a basis

        Raises
        ------
        repsim_energy.UsageError
            If there is neither a basis nor images, or a network has no convolution.
        repsim_energy.ShapeError
            If the two first convolutions see patches of different shapes.
        """
        networks = (self.sim_model1.model, self.sim_model2.model)
        basis = self.basis or self._basis_of(dataloader)
        x, y = (component_matrix(network, basis) for network in networks)
        self.sim_matrix = np.array([[energy_profile_correlation(x, y)]])
        return self.sim_matrix

    def _basis_of(self, dataloader: Iterable[Any] | None) -> rs.PatchBasis:
        if dataloader is None:
            raise rs.UsageError("got neither basis= nor images, expected one; pass a dataloader")
        layer = rs.find_first_conv(self.sim_model1.model).module
        rows, columns = rs.read_filters(layer).shape[2:]  # holes of a dilated layer included
        return rs.patch_moments(dataloader, (rows, columns)).basis()
