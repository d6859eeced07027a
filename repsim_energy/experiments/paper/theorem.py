"""Theorem 4.2: the linear CNN by simulation, in closed form, and by the published formula."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from repsim_energy.experiments.figures import draw_curves, draw_profiles
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.setting import PATCH
from repsim_energy.numerics.patches.basis import basis_from_moments
from repsim_energy.numerics.patches.per_image import average_patches, average_shuffled_patches
from repsim_energy.numerics.profiles.energy import energy_profile, profile_similarity
from repsim_energy.numerics.profiles.fit import fit_profile
from repsim_energy.numerics.profiles.linear_cnn import simulate_linear_cnn, solve_linear_cnn
from repsim_energy.numerics.profiles.theory import theoretical_profile
from repsim_energy.results import Variable

if TYPE_CHECKING:
    from torch import Tensor

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.interfaces import ImageSet, PatchBasis

__all__ = ["run"]

Array = NDArray[np.float64]

STEPS = 300
PROGRESS = 0.5
"""Share of the largest component learned per step: the theorem's step size times its variance."""
SIGMAS = (0.0, 0.01, 0.1, 1.0, 10.0)
"""Standard deviations of the initial weights, relative to their change in training."""
WIDTHS = (1, 16, 64)


@dataclass(frozen=True, eq=False)
class LinearCNN:
    """Linear CNN on n images, given by (n, d) centered average patches and their basis."""

    patches: Array
    basis: PatchBasis

    def step_size(self, width: int) -> float:
        """Return the step size that makes the same progress at every width."""
        return PROGRESS / (2 * width * float(self.basis.eigenvalues[0]))

    def simulated(self, targets: Array, initial: Array) -> Array:
        """Return (k, d) filters, trained step by step."""
        return simulate_linear_cnn(
            initial, self.patches, targets, step_size=self.step_size(len(initial)), steps=STEPS
        )

    def in_closed_form(self, targets: Array, initial: Array) -> Array:
        """Return (k, d) filters by the closed-form solution on the same moments."""
        second = self.patches.T @ self.patches / len(targets)
        cross = self.patches.T @ targets / len(targets)
        step_size = self.step_size(len(initial))
        return solve_linear_cnn(initial, second, cross, step_size=step_size, steps=STEPS)

    def formula(self) -> Array:
        """Return the published profile on this network's own components."""
        return _formula(self.basis)

    def profiles(self, targets: Array, basis: PatchBasis | None = None) -> Array:
        """Return the (m, d) simulated profiles of (m, n) labelings, started from zero."""
        start = np.zeros((1, self.patches.shape[1]))
        banks = [torch.from_numpy(self.simulated(y, start)) for y in targets]
        return np.stack([energy_profile(bank, basis or self.basis) for bank in banks])


def _formula(basis: PatchBasis) -> Array:
    variance = basis.eigenvalues.numpy()
    return theoretical_profile(variance, step_size=PROGRESS / variance.max(), steps=STEPS)


def run(setting: Setting) -> Outcome:
    """Compare simulation, closed form and formula."""
    outcome = Outcome()
    images = setting.data("cifar10").train
    net = _linear_cnn(average_patches(images.images, PATCH))
    shuffled = _linear_cnn(average_shuffled_patches(images.images, PATCH))
    true, random = _labelings(images, setting.scale.draws)
    patches = setting.basis(images, PATCH)
    profiles = {
        "random labels": net.profiles(random),
        "true labels": net.profiles(true),
        "shuffled patches": shuffled.profiles(random, patches),
        "individual patches": net.profiles(random, patches),
    }
    _add_formula(outcome, profiles, net, patches)
    starts = _over_starts(outcome, net, np.concatenate([true[:2], random[:2]]))
    single = _over_images(outcome, net, random, patches.count // len(images))
    variables = _variables(net, profiles, single, starts)
    coords: dict[str, list[Any]] = {"case": list(profiles), "images": list(single)}
    coords |= {"sigma": list(SIGMAS), "width": list(WIDTHS)}
    outcome.keep("", setting.result(variables, coords, "cifar10"))
    _draw(outcome, profiles, net, patches, starts)
    return outcome


def _variables(
    net: LinearCNN, profiles: dict[str, Array], single: dict[int, list[float]], starts: Array
) -> dict[str, Variable]:
    """Return the variables of the result file, with their descriptions."""
    simulated = [_rms(p) for p in profiles.values()]
    return {
        "simulated_profile": Variable(
            ("case", "component"),
            simulated,
            "profile of a linear CNN trained step by step",
            "weight units",
        ),
        "theoretical_profile": Variable(
            ("component",),
            net.formula(),
            "profile of a linear CNN by the published formula",
            "arbitrary",
        ),
        "eigenvalue": Variable(
            ("component",),
            net.basis.eigenvalues.numpy(),
            "variance of the average patches along the component",
            "pixel value squared",
        ),
        "formula_correlation": Variable(
            ("images", "labeling"),
            list(single.values()),
            "correlation of simulated and theoretical profile",
        ),
        "start_correlation": Variable(
            ("sigma", "width"), starts, "correlation of profiles with and without initial weights"
        ),
    }


def _linear_cnn(averages: Tensor) -> LinearCNN:
    centered = averages - averages.mean(0)
    moments = centered.T @ centered / len(centered)
    patch = (averages.shape[1] // (PATCH[0] * PATCH[1]), *PATCH)
    basis = basis_from_moments(moments, torch.zeros(len(moments)), patch, True, len(centered))
    return LinearCNN(centered.numpy(), basis)


def _labelings(images: ImageSet, draws: int) -> tuple[Array, Array]:
    """Return centered labels: each class against all, and random permutations of the first."""
    classes = range(len(images.classes))
    true = np.stack([(images.labels == c).double().numpy() for c in classes])
    generator = np.random.default_rng(0)
    random = np.stack([generator.permutation(true[0]) for _ in range(draws)])
    return true - true.mean(1, keepdims=True), random - random.mean(1, keepdims=True)


def _add_formula(
    outcome: Outcome, profiles: dict[str, Array], net: LinearCNN, patches: PatchBasis
) -> None:
    """Add the fit of the formula with the theorem's assumptions met and not met."""
    random, true = profiles["random labels"], profiles["true labels"]
    draws, published = f"{len(random)} draws", "theorem/formula"
    pooled = f"root mean square over {draws}"
    fit = fit_profile(_rms(profiles["individual patches"]), patches.eigenvalues.numpy())

    def add(name: str, values: ArrayLike, note: str, *, key: str = "", over: str = draws) -> None:
        outcome.add(f"formula vs simulation: {name}", values, key=key, over=over, note=note)

    add("random labels", _similarity(random, net.formula()), pooled, key=published)
    add(
        "true labels",
        _similarity(true, net.formula()),
        "root mean square over the classes, one against all",
        key=published,
        over=f"{len(true)} classes",
    )
    add(
        "random labels, one alone",
        [profile_similarity(profile, net.formula()) for profile in random],
        "a label's correlation with a component is proportional to λ in the mean alone",
    )
    add(
        "patches shuffled among images",
        _similarity(profiles["shuffled patches"], _formula(patches)),
        f"here the theorem's assumption holds; {pooled}",
        key=published,
    )
    add(
        "individual patches of the images as they are",
        fit.correlation,
        f"what the assumption costs; best t = {fit.steps:.3g}; {pooled}",
    )


def _similarity(profiles: Array, curve: Array) -> float:
    return profile_similarity(_rms(profiles), curve)


def _rms(profiles: Array) -> Array:
    root: Array = np.sqrt(np.square(profiles).mean(0))
    return root


def _over_starts(outcome: Outcome, net: LinearCNN, labelings: Array) -> Array:
    """Return the (sigma, width) correlations with the profile of one filter started from zero.

    Adds them, and the largest difference between simulation and closed form, to the outcome.
    """
    unmoved = net.profiles(labelings)
    moved = float(_rms(unmoved.ravel()))
    correlations = np.empty((len(SIGMAS), len(WIDTHS)))
    difference = 0.0
    for (s, w), _ in np.ndenumerate(correlations):
        width = WIDTHS[w]
        drawn = np.random.default_rng(width).standard_normal((width, net.patches.shape[1]))
        start = SIGMAS[s] * moved / width * drawn
        banks = [net.simulated(targets, start) for targets in labelings]
        exact = [net.in_closed_form(targets, start) for targets in labelings]
        errors = [abs(a - b).max() / abs(b).max() for a, b in zip(banks, exact, strict=True)]
        difference = max(difference, *map(float, errors))
        profiles = [energy_profile(torch.from_numpy(bank), net.basis) for bank in banks]
        pairs = zip(profiles, unmoved, strict=True)
        correlations[s, w] = np.mean([profile_similarity(a, b) for a, b in pairs])
    outcome.add(
        "simulation vs closed form: largest relative difference",
        difference,
        key="theorem/closed_form",
        note="over initial weights, widths, true and random labels",
    )
    widths = ", ".join(str(width) for width in WIDTHS)
    for sigma, row in zip(SIGMAS, correlations, strict=True):
        outcome.add(
            f"initial weights {sigma:g} times the change: simulation vs from zero",
            row,
            over=f"{len(row)} widths",
            note=f"of {widths} filters",
        )
    return correlations


def _over_images(
    outcome: Outcome, net: LinearCNN, labelings: Array, places: int
) -> dict[int, list[float]]:
    """Return number of images -> correlation of each labeling's profile with the formula."""
    order = np.random.default_rng(0).permutation(len(net.patches))
    enough = 2 * net.patches.shape[1]
    correlations = {}
    for count in [len(order) // part for part in (8, 4, 2, 1) if len(order) // part >= enough]:
        subset = order[:count]
        part = _linear_cnn(torch.from_numpy(net.patches[subset]))
        targets = labelings[:, subset] - labelings[:, subset].mean(1, keepdims=True)
        correlations[count] = [
            profile_similarity(profile, part.formula()) for profile in part.profiles(targets)
        ]
        outcome.add(
            f"{count} images ({count * places} patches), one random labeling",
            correlations[count],
            over=f"{len(targets)} draws",
        )
    return correlations


def _draw(
    outcome: Outcome,
    profiles: dict[str, Array],
    net: LinearCNN,
    patches: PatchBasis,
    starts: Array,
) -> None:
    panels = outcome.panels(3)
    own = {name: _rms(profiles[name]) for name in ("random labels", "true labels")}
    draw_profiles(panels[0], {**own, "formula": net.formula()}, "average patches", log=True)
    shuffled = {"random labels": _rms(profiles["shuffled patches"]), "formula": _formula(patches)}
    draw_profiles(panels[1], shuffled, "patches shuffled among images", log=True)
    curves = {f"{width} filters": starts[:, w] for w, width in enumerate(WIDTHS)}
    draw_curves(
        panels[2],
        SIGMAS,
        curves,
        "initial weights",
        "initial weights / change",
        "correlation with a start from zero",
        xscale="symlog",
    )
