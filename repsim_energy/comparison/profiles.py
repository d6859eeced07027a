"""Variables of a comparison of filters: patch bases, energy profiles and their fits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.measured import NETWORK_DIMS, Variables
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.errors import InitializationWarning, UsageError, first_few, warn
from repsim_energy.interfaces import PatchBasis
from repsim_energy.numerics.profiles.energy import profile_similarity
from repsim_energy.numerics.profiles.fit import fit_profiles
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from repsim_energy.comparison.own_theory import OwnTheory

__all__ = [
    "STAGES",
    "basis_variables",
    "choose_stage",
    "measure_profiles",
    "profile_variables",
    "snapshot_variables",
    "warn_equal_starts",
    "warn_near_initialization",
]

STAGES = ("init", "trained", "change")

MAX_INIT_CORRELATION = 0.95
"""Correlation with the initial profile above which a warning says that it has hardly changed."""

MAX_NAMED = 3
"""Maximum number of networks that a warning names."""

Profiles = Mapping[Key, Mapping[str, NDArray[np.float64]]]
"""Network -> stage -> its energy profile; stages whose filters are not known are left out."""


def choose_stage(stage: str, plan: Plan) -> str:
    """Return the stage to compare.

    ``auto`` is ``change`` if the initial filters of all networks are known, else ``trained``.

    Raises
    ------
    UsageError
        For an unknown stage, and for one that needs initial filters that are not known.
    """
    if stage not in ("auto", *STAGES):
        raise UsageError(f"unknown stage '{stage}'; known: auto, {', '.join(STAGES)}")
    without = [model for model, taken in plan.trained.items() if taken.initial is None]
    unfolded = [k for k in plan.trained if k in plan.folds and "init" not in plan.folds[k].scales]
    if stage == "auto":
        return "trained" if without or unfolded else "change"
    if without and stage != "trained":
        raise UsageError(
            f"stage '{stage}' needs the initial weights of '{plan.models[without[0][1]].label}', "
            "which are not known; use stage=trained, or give them with checkpoint:...:init="
        )
    if unfolded and stage != "trained":
        raise UsageError(
            f"stage '{stage}' needs the batch norm of '{plan.models[unfolded[0][1]].label}' before "
            "training, to be folded in, which is not known; use stage=trained, or give both "
            "files without arch="
        )
    return stage


def basis_variables(bases: list[PatchBasis]) -> Variables:
    """Return the components and eigenvalues of each data set."""
    patch = bases[0].patch
    size = math.prod(patch)
    components = [_padded(b.components.numpy().T, size).T.reshape(-1, *patch) for b in bases]
    eigenvalues = [_padded(b.eigenvalues.numpy(), size) for b in bases]
    return {
        "eigenvalue": Variable(
            ("dataset", "component"),
            np.stack(eigenvalues),
            "variance of the patches along the component",
            "pixel value squared",
        ),
        "components": Variable(
            ("dataset", "component", "c", "kh", "kw"),
            np.stack(components),
            "principal component of the patches, a unit vector",
        ),
    }


def _padded(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return (..., r) values as (..., size), NaN for the components that a basis leaves out."""
    padded = np.full((*values.shape[:-1], size), np.nan)
    padded[..., : values.shape[-1]] = values
    return padded


def measure_profiles(networks: Mapping[Key, Network], kernels: Kernels) -> Profiles:
    """Return the energy profile of every network at every stage whose filters are known."""
    profiles = {}
    for key, network in networks.items():
        stages = ((stage, network.at(stage)) for stage in STAGES)
        profiles[key] = {
            stage: kernels.profile(key, kernels.prepare(filters))
            for stage, filters in stages
            if filters is not None
        }
    return profiles


def profile_variables(
    plan: Plan,
    profiles: Profiles,
    bases: list[PatchBasis],
    stage: str,
    theories: Mapping[Key, OwnTheory],
) -> Variables:
    """Return every network's energy profiles and their fits.

    Parameters
    ----------
    theories : network -> its theory, for those whose filters are smaller than the patches
    stage : whose profile is correlated with that of the initialization
    """
    components = math.prod(bases[0].patch)
    energy = np.full((*plan.shape, len(STAGES), components), np.nan)
    to_init = np.full(plan.shape, np.nan)
    for key, by_stage in profiles.items():
        for name, profile in by_stage.items():
            energy[(*key, STAGES.index(name))] = _padded(profile, components)
        if "init" in by_stage:
            to_init[key] = profile_similarity(
                energy[(*key, STAGES.index(stage))], energy[(*key, STAGES.index("init"))]
            )
    return {
        "energy": Variable(
            (*NETWORK_DIMS, "stage", "component"), energy, "energy profile", "weight units"
        ),
        **_fit_variables(energy, bases, theories),
        "init_similarity": Variable(
            NETWORK_DIMS, to_init, "correlation with the network's own initial profile"
        ),
    }


def snapshot_variables(
    plan: Plan, networks: Mapping[Key, Network], kernels: Kernels, stage: str
) -> Variables:
    """Return every network's energy profiles during training, of the change or of the filters."""
    components = math.prod(kernels.bases[0].patch)
    count = max((len(n.snapshots) for n in networks.values()), default=0)
    energy = np.full((*plan.shape, count, components), np.nan)
    steps = np.full((*plan.shape, count), -1, dtype=np.int64)
    for key, network in networks.items():
        for number, (step, filters) in enumerate(network.snapshots.items()):
            origin = network.filters["init"] if stage == "change" else 0
            profile = kernels.profile(key, kernels.prepare(filters - origin))
            energy[(*key, number)] = _padded(profile, components)
            steps[(*key, number)] = step
    return {
        "snapshot_energy": Variable(
            (*NETWORK_DIMS, "snapshot", "component"),
            energy,
            "energy profile along training, at the stage compared",
            "weight units",
        ),
        "snapshot_step": Variable(
            (*NETWORK_DIMS, "snapshot"),
            steps,
            "gradient step of the snapshot, -1 where there is none",
        ),
    }


def _fit_variables(
    energy: NDArray[np.float64], bases: list[PatchBasis], theories: Mapping[Key, OwnTheory]
) -> Variables:
    """Return the best theoretical profile of every profile that varies."""
    meanings = {
        "correlation": "correlation with the best theoretical profile",
        "steps": "gradient steps of the best theoretical profile",
        "at_bound": "1 where the best step is the first or last one searched",
    }
    found = np.full((len(meanings), *energy.shape[:-1]), np.nan)
    curves = np.full_like(energy, np.nan)
    for key, theory in theories.items():
        for stage, fit in theory.fits.items():
            at = (*key, STAGES.index(stage))
            curve = theory.curve(stage)
            scale = np.nanmax(energy[at]) / curve.max()
            found[(slice(None), *at)] = [getattr(fit, field) for field in meanings]
            curves[at] = _padded(scale * curve, energy.shape[-1])
    for d, basis in enumerate(bases):
        profiles = energy[d][..., : len(basis.eigenvalues)]
        varies = np.isfinite(profiles).all(-1)
        for _, m, s in (key for key in theories if key.dataset == d):
            varies[m, s] = False
        varies[varies] = np.ptp(profiles[varies], axis=-1) > 0
        if varies.any():
            fits = fit_profiles(profiles[varies], basis.eigenvalues.numpy())
            found[:, d, varies] = [[getattr(fit, field) for fit in fits] for field in meanings]
            largest = profiles[varies].max(-1, keepdims=True)
            best = largest * np.stack([fit.profile for fit in fits])
            curves[d][varies] = _padded(best, energy.shape[-1])
    dims = (*NETWORK_DIMS, "stage")
    numbers = {
        f"fit_{field}": Variable(dims, values, meanings[field])
        for field, values in zip(meanings, found, strict=True)
    }
    meaning = "best theoretical profile, scaled to the largest value of the measured one"
    fitted = Variable((*dims, "component"), curves, meaning, "weight units")
    return {**numbers, "fit_profile": fitted}


def warn_near_initialization(
    plan: Plan, networks: Iterable[Key], to_init: NDArray[np.float64], stage: str
) -> None:
    """Warn of networks whose compared profile is nearly that of their initialization.

    Parameters
    ----------
    to_init : (dataset, model, seed) correlation of the compared profile with the initial one
    stage : that is compared
    """
    near = (
        [key for key in networks if to_init[key] > MAX_INIT_CORRELATION] if stage != "init" else []
    )
    if not near:
        return
    names = first_few([f"'{plan.label(key)}'" for key in near], MAX_NAMED)
    lowest = min(to_init[key] for key in near)
    why = {
        "trained": "their first layers have hardly changed, and their similarities say little of "
        "what was learned; train longer, or compare the stage change where it is known",
        "change": "their first layers have grown or shrunk as a whole, and learned little else",
    }[stage]
    warn(
        f"the stage '{stage}' of {names} has the profile of its own initialization (r with "
        f"init {lowest:.3f}{' or more' if near[1:] else ''}): {why}",
        InitializationWarning,
    )


def warn_equal_starts(plan: Plan, networks: Mapping[Key, Network]) -> None:
    """Warn of models whose initial filters are the same for several seeds.

    The spread over such seeds underestimates how much a training depends on its initialization.
    """
    alike = set()
    seen: dict[tuple[int, int], Network] = {}
    for (d, m, _), network in networks.items():
        first = seen.setdefault((d, m), network)
        if first is not network and torch.equal(first.filters["init"], network.filters["init"]):
            alike.add(plan.models[m].label)
    for label in sorted(alike):
        warn(
            f"'{label}' begins with the same filters at several seeds, so that these differ in "
            "little more than the order of images; draw the weights in the function that builds "
            "it, without seeding generators there"
        )
