"""Built-in metrics, registered through the same hook as those of plugins."""

from __future__ import annotations

from repsim_energy.hookspecs import hookimpl


@hookimpl
def repsim_metrics() -> dict[str, str]:
    """Return name -> place of each built-in metric. A metric is imported when it is used."""
    here = "repsim_energy.metrics"
    return {
        "energy": f"{here}.energy:EnergyProfileCorrelation",
        "energy_profile_correlation": f"{here}.energy:EnergyProfileCorrelation",
        "cka": f"{here}.cka:LinearCKA",
        "covariance": f"{here}.covariance:CovarianceSimilarity",
    }
