"""Energy profile as a metric of netrep (github.com/ahwillia/netrep)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from repsim_toolkits.matrices import energy_profile_angle, energy_profile_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["EnergyProfileAngle"]


class EnergyProfileAngle:
    """Angle between centered energy profiles, with the methods of a netrep metric.

    netrep calls methods and checks no types, so nothing of netrep is imported here. There is
    nothing to fit, because components need no alignment. Instances have no state and can be sent to
    worker processes.
    """

    def fit(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> EnergyProfileAngle:  # noqa: ARG002
        """Return the metric unchanged: there is nothing to align."""
        return self

    def score(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        """Return arccos r in [0, pi] of two (components, filters) matrices."""
        return energy_profile_angle(x, y)

    def fit_score(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
        """Return the same as ``score``."""
        return self.score(x, y)

    def partial_fit(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the profile, which netrep caches with ``enable_caching=True``."""
        return energy_profile_of(x)

    def finalize_fit(
        self, cache_x: NDArray[np.float64], cache_y: NDArray[np.float64]
    ) -> EnergyProfileAngle:
        """Return the metric unchanged: there is nothing to align."""
        return self
