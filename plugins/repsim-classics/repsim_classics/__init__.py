"""The measures that people cite beside CKA, as metrics of repsim-energy."""

from __future__ import annotations

from repsim_energy import hookimpl

__all__ = ["repsim_metrics"]


@hookimpl
def repsim_metrics() -> dict[str, str]:
    """Name the metrics; each is imported when it is used."""
    return {
        "cca": "repsim_classics.cca:CCA",
        "mutual_knn": "repsim_classics.neighbors:MutualKNN",
        "procrustes": "repsim_classics.procrustes:Procrustes",
        "pwcca": "repsim_classics.cca:PWCCA",
        "rbf_cka": "repsim_classics.rbf_cka:RBFCKA",
        "rsa": "repsim_classics.rsa:RSA",
        "svcca": "repsim_classics.cca:SVCCA",
    }
