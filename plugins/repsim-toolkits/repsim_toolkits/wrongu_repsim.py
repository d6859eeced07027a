"""Energy profile as a metric space of wrongu/repsim (github.com/wrongu/repsim)."""

# mypy: disallow-subclassing-any=false
# The toolkit's class is loaded at run time, so type checkers do not know it.

from __future__ import annotations

import math
from typing import Any

import repsim_energy as rs
import torch
from torch import Tensor

from repsim_toolkits.loading import load
from repsim_toolkits.matrices import energy_profile_of

__all__ = ["EnergyProfileAngle"]

_Space: Any = load(
    "repsim",
    "RepresentationMetricSpace",
    "compare",
    toolkit="repsim of github.com/wrongu/repsim",
    remedy="in an environment of its own, pip install git+https://github.com/wrongu/repsim",
).RepresentationMetricSpace


class EnergyProfileAngle(_Space):
    r"""Sphere of centered energy profiles of unit length, with lengths :math:`\arccos r`.

    A point is :math:`(e - \bar e) / \|e - \bar e\|`, (m,) float64. All points lie in the
    hyperplane of mean 0, so the sphere has m - 2 dimensions.

    Parameters
    ----------
    m : the number of components, such as 27 for 3x3 filters on color images
    """

    def __init__(self, m: int) -> None:
        super().__init__(dim=m - 2, shape=(m,))

    def neural_data_to_point(self, x: Tensor) -> Tensor:
        """Return the point of an (m, k) matrix, components by filters; NaN for a flat profile."""
        if len(x) != self.m:
            raise rs.ShapeError(
                f"the matrix has {len(x)} components but the space {self.m}; "
                f"take {type(self).__name__}(m={len(x)})"
            )
        profile = energy_profile_of(x)
        if math.isnan(rs.profile_similarity(profile, profile)):  # flat, with a warning
            return torch.full(self.shape, math.nan, dtype=torch.float64)
        return self._project_impl(torch.from_numpy(profile))

    def string_id(self) -> str:
        """Return a name such as ``EnergyProfileAngle.27``."""
        return f"{type(self).__name__}.{self.m}"

    @property
    def is_spherical(self) -> bool:
        """Whether lengths are arcs of a sphere: True."""
        return True

    def _project_impl(self, pt: Tensor) -> Tensor:
        centered = pt - pt.mean()
        unit: Tensor = centered / torch.linalg.vector_norm(centered)
        return unit

    def _contains_impl(self, pt: Tensor, atol: float = 1e-6) -> bool:
        unit = abs(torch.linalg.vector_norm(pt).item() - 1) <= atol
        return unit and abs(pt.mean().item()) <= atol

    def _length_impl(self, pt_a: Tensor, pt_b: Tensor) -> Tensor:
        """Return the angle as an arc tangent, which is exact and differentiable near 0 and pi."""
        apart = torch.linalg.vector_norm(pt_a - pt_b)
        across = torch.linalg.vector_norm(pt_a + pt_b)
        return 2 * torch.atan2(apart, across)
