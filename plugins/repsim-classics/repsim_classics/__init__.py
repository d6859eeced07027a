"""Procrustes, CCA, SVCCA, PWCCA, RSA, mutual nearest neighbors and RBF-CKA as metrics."""

from __future__ import annotations

from repsim_energy import hookimpl

__all__ = ["repsim_metrics"]


@hookimpl
def repsim_metrics() -> dict[str, str]:
    """Return the metrics by name; each is imported when it is used."""
    return {
        "cca": "repsim_classics.cca:CCA",
        "mutual_knn": "repsim_classics.neighbors:MutualKNN",
        "procrustes": "repsim_classics.procrustes:Procrustes",
        "pwcca": "repsim_classics.cca:PWCCA",
        "rbf_cka": "repsim_classics.rbf_cka:RBFCKA",
        "rsa": "repsim_classics.rsa:RSA",
        "svcca": "repsim_classics.cca:SVCCA",
    }
