"""The built-in metrics, registered through the same hook as everybody else's."""

from __future__ import annotations

from repsim_energy.hookspecs import hookimpl


@hookimpl
def repsim_metrics() -> dict[str, str]:
    """Return the built-in metrics, none of them imported yet."""
    here = "repsim_energy.metrics"
    return {
        "energy": f"{here}.energy:EnergyProfileCorrelation",
        "energy_profile_correlation": f"{here}.energy:EnergyProfileCorrelation",
        "cka": f"{here}.cka:LinearCKA",
    }
