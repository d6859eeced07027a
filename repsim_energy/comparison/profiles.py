"""The variables of a result that stand on filters: profiles, fits and their course."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.errors import InitializationWarning, RepsimWarning, UsageError, first_few
from repsim_energy.interfaces import PatchBasis
from repsim_energy.numerics.profiles.energy import energy_profile, profile_similarity
from repsim_energy.numerics.profiles.fit import fit_profiles

__all__ = [
    "STAGES",
    "basis_variables",
    "choose_stage",
    "profile_variables",
    "run_variables",
    "say_what_begins_alike",
    "say_what_is_initialization",
]

STAGES = ("init", "trained", "change")
SUBJECT = ("dataset", "model", "seed")

NEAR = 0.95
"""Correlation with the initial profile above which a network has hardly left it."""

MOST_NAMED = 3
"""Networks that a warning names."""

Variables = dict[str, tuple[tuple[str, ...], Any]]


def choose_stage(stage: str, plan: Plan) -> str:
    """Return the stage to compare: ``auto`` is ``change`` where every initialization is known."""
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
        "eigenvalue": (("dataset", "component"), np.stack(eigenvalues)),
        "components": (("dataset", "component", "c", "kh", "kw"), np.stack(components)),
    }


def _padded(values: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Return (..., r) values with NaN for the components that a basis leaves out, (..., size)."""
    padded = np.full((*values.shape[:-1], size), np.nan)
    padded[..., : values.shape[-1]] = values
    return padded


def profile_variables(
    plan: Plan, networks: Mapping[Key, Network], bases: list[PatchBasis], stage: str
) -> Variables:
    """Return every network's profiles, their fit by theory and their course in training."""
    components = math.prod(bases[0].patch)
    most = max((len(n.snapshots) for n in networks.values()), default=0)
    shape = plan.shape
    energy = np.full((*shape, len(STAGES), components), np.nan)
    to_init = np.full(shape, np.nan)
    course = np.full((*shape, most, components), np.nan)
    course_step = np.full((*shape, most), -1, dtype=np.int64)
    for key, network in networks.items():
        basis = bases[key[0]]
        for index, name in enumerate(STAGES):
            filters = network.at(name)
            if filters is None:
                continue
            energy[(*key, index)] = _padded(energy_profile(filters, basis), components)
        if "init" in network.filters:
            to_init[key] = profile_similarity(
                energy[(*key, STAGES.index(stage))], energy[(*key, 0)]
            )
        for number, (step, filters) in enumerate(network.snapshots.items()):
            origin = network.filters["init"] if stage == "change" else 0
            profile = energy_profile(filters - origin, basis)
            course[(*key, number)] = _padded(profile, components)
            course_step[(*key, number)] = step
    return {
        "energy": ((*SUBJECT, "stage", "component"), energy),
        **_fits(energy, bases),
        "init_similarity": (SUBJECT, to_init),
        "snapshot_energy": ((*SUBJECT, "snapshot", "component"), course),
        "snapshot_step": ((*SUBJECT, "snapshot"), course_step),
    }


def say_what_is_initialization(
    plan: Plan, networks: Iterable[Key], to_init: NDArray[np.float64], stage: str
) -> None:
    """Warn of networks whose compared profile is that of their initialization.

    Parameters
    ----------
    to_init : (dataset, model, seed) correlation of the compared profile with the initial one
    """
    near = [key for key in networks if to_init[key] > NEAR] if stage != "init" else []
    if not near:
        return
    names = first_few([f"'{plan.label(key)}'" for key in near], MOST_NAMED)
    lowest = min(to_init[key] for key in near)
    why = {
        "trained": "their first layers have hardly left it, and their similarities say little of "
        "what was learned; train longer, or compare the stage change where it is known",
        "change": "their first layers have grown or shrunk as a whole, and learned little else",
    }[stage]
    warnings.warn(
        f"the stage '{stage}' of {names} has the profile of its own initialization (r with "
        f"init {lowest:.3f}{' or more' if near[1:] else ''}): {why}",
        InitializationWarning,
        stacklevel=5,
    )


def say_what_begins_alike(plan: Plan, networks: Mapping[Key, Network]) -> None:
    """Warn of models that begin with the same filters at several seeds.

    Their seeds say little of how much a training depends on its start.
    """
    alike = set()
    seen: dict[tuple[int, int], Network] = {}
    for (d, m, _), network in networks.items():
        first = seen.setdefault((d, m), network)
        if first is not network and torch.equal(first.filters["init"], network.filters["init"]):
            alike.add(plan.models[m].label)
    for label in sorted(alike):
        warnings.warn(
            f"'{label}' begins with the same filters at several seeds, so that these differ in "
            "little more than the order of images; draw the weights in the function that builds "
            "it, without seeding generators there",
            RepsimWarning,
            stacklevel=5,
        )


def _fits(energy: NDArray[np.float64], bases: list[PatchBasis]) -> Variables:
    """Return the fit by theory of all profiles that vary."""
    fields = ("correlation", "steps", "at_bound")
    found = np.full((len(fields), *energy.shape[:-1]), np.nan)
    for d, basis in enumerate(bases):
        profiles = energy[d][..., : len(basis.eigenvalues)]
        varies = np.isfinite(profiles).all(-1)
        varies[varies] = np.ptp(profiles[varies], axis=-1) > 0
        if varies.any():
            fits = fit_profiles(profiles[varies], basis.eigenvalues.numpy())
            found[:, d, varies] = [[getattr(fit, field) for fit in fits] for field in fields]
    return {
        f"fit_{field}": ((*SUBJECT, "stage"), values)
        for field, values in zip(fields, found, strict=True)
    }


def run_variables(plan: Plan, networks: Mapping[Key, Network]) -> Variables:
    """Return what is known of each training."""
    accuracy = np.full((2, *plan.shape), np.nan)
    steps = np.full(plan.shape, -1, dtype=np.int64)
    run_id = np.full(plan.shape, "", dtype="U16")
    for key, network in networks.items():
        if (run := network.run) is not None:
            accuracy[(slice(None), *key)] = run.history.train_accuracy, run.test_accuracy
            steps[key] = run.history.steps
            run_id[key] = run.run_id
    given = np.zeros(plan.shape[:2], dtype=np.int8)
    for place in plan.trained:
        given[place] = 1
    named: dict[str, Any] = dict(zip(("train_accuracy", "test_accuracy"), accuracy, strict=True))
    named |= {"steps": steps, "run_id": run_id}
    return {
        **{name: (SUBJECT, values) for name, values in named.items()},
        "given": (SUBJECT[:2], given),
    }
