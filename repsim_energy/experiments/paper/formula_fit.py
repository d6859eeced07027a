"""Table 3, Figures 7 and 14 to 16: the theoretical profile fitted to trained networks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from repsim_energy.data.selection import select
from repsim_energy.experiments.figures import draw_profiles
from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.paper.imagenet_models import KERNELS, pretrained
from repsim_energy.numerics.profiles.energy import profile_similarity
from repsim_energy.numerics.profiles.fit import fit_profile

if TYPE_CHECKING:
    import xarray as xr

    from repsim_energy.experiments.setting import Setting
    from repsim_energy.interfaces import Dataset

__all__ = ["run"]

CIFAR10 = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)
PAIRS = (
    ("automobile", "truck"),
    ("dog", "frog"),
    ("dog", "cat"),
    ("bird", "airplane"),
    ("ship", "airplane"),
)


def run(setting: Setting) -> Outcome:
    """Fit the formula to VGG11 on every data set, and to pretrained ImageNet models."""
    outcome = Outcome()
    sources = setting.available(outcome, "cifar10", "cifar100", "celeba")
    datasets = {source: setting.data(source) for source in sources}
    if "cifar10" in datasets:
        datasets |= {"_".join(pair): _pair(datasets["cifar10"], pair) for pair in PAIRS}
    results = setting.compare_each([setting.scale.model("vgg11")], datasets, outcome)
    for name, result in results.items():
        _add(outcome, name, result, setting.over)
    if setting.available(outcome, "imagenet") and (
        models := pretrained(setting, KERNELS[7], outcome)
    ):
        results["imagenet"] = setting.compare_given(models, setting.data("imagenet"))
        outcome.keep("imagenet", results["imagenet"])
        _add(outcome, "imagenet", results["imagenet"], f"{len(models)} networks")
    if "cifar10" in results:
        _add_controls(outcome, results["cifar10"], setting.over)
    _draw(outcome, results)
    return outcome


def _pair(data: Dataset, pair: tuple[str, str]) -> Dataset:
    """Return the images of two classes of CIFAR-10; of other images, those of the same numbers."""
    known = data.train.classes
    names = pair if set(pair) <= set(known) else tuple(known[CIFAR10.index(c)] for c in pair)
    train, test = (select(split, classes=names) for split in (data.train, data.test))
    return replace(data, label="/".join(names), train=train, test=test)


def _add(outcome: Outcome, name: str, result: xr.Dataset, over: str) -> None:
    one = result.isel(dataset=0)
    variance = one.eigenvalue.values
    for stage in ("change", "trained"):
        fit = one.sel(stage=stage)
        if not fit.fit_correlation.notnull().any():
            continue
        outcome.add(
            f"{name}: fit of {stage}",
            fit.fit_correlation,
            key=f"table3/{name}",
            over=over,
            note=_steps(fit),
        )
        profiles = fit.energy.values.reshape(-1, len(variance))
        limit = [profile_similarity(p, variance**-0.5) for p in profiles if np.isfinite(p).all()]
        outcome.add(f"{name}: {stage} vs the limit 1/λ", limit, over=over)


def _steps(fit: xr.Dataset) -> str:
    """Return the range of the fitted t, and the number of fits at a bound of the search."""
    steps = fit.fit_steps.values[fit.fit_steps.notnull().values]
    at_bound = int(fit.fit_at_bound.sum())
    bound = f", {at_bound} at a bound of the search" if at_bound else ""
    return f"t = {steps.min():.3g} to {steps.max():.3g}{bound}"


def _add_controls(outcome: Outcome, result: xr.Dataset, over: str) -> None:
    """Add the fit of a random initialization, and the lowest fit of a trained network."""
    fit = result.fit_correlation.isel(dataset=0)
    random, lowest = fit.sel(stage="init"), fit.sel(stage="change").min()
    outcome.add("random initialization", random, key="table3/init", over=over)
    outcome.add("cifar10: lowest fit", lowest, key="fig15/cifar10", over=over)


def _draw(outcome: Outcome, results: dict[str, xr.Dataset]) -> None:
    panels = outcome.panels(len(results))
    for (name, result), axes in zip(results.items(), panels, strict=True):
        measured = result.energy.isel(dataset=0, model=0).sel(stage=result.attrs["stage"]).values
        finite = measured[np.isfinite(measured).all(1)]
        fit = fit_profile(finite[0], result.eigenvalue.isel(dataset=0).values)
        profiles = {"networks": finite, f"formula, t = {fit.steps:.3g}": fit.profile}
        draw_profiles(axes, profiles, f"{name} ({fit.correlation:.2f})")
