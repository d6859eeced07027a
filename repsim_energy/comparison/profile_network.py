"""Profile of one network: its filters, the theory, and the atlas entries of its patch size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from repsim_energy.comparison.atlas import AtlasEntry, open_atlas
from repsim_energy.comparison.examined import Patch
from repsim_energy.comparison.given import DatasetLike, ModelLike, as_datasets, as_models
from repsim_energy.comparison.measured import NETWORK_DIMS
from repsim_energy.comparison.networks import train_networks
from repsim_energy.comparison.pipeline import compare
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.planning import make_plan
from repsim_energy.comparison.python_call import python_call
from repsim_energy.errors import DataError, RepsimWarning, UsageError
from repsim_energy.interfaces import ModelSpec, TrainedModel
from repsim_energy.numerics.filter_quality import QUALITY, filter_quality
from repsim_energy.numerics.profiles.smooth_null import smooth_thresholds
from repsim_energy.numerics.profiles.whitening import whitening_distance
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import Reporter, showing
from repsim_energy.registry import Registry, load_registry
from repsim_energy.results import Variable
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
from repsim_energy.training.recipe import Recipe

if TYPE_CHECKING:
    import xarray as xr
    from torch import Tensor

__all__ = ["profile_network"]

STAGE = "trained"

THRESHOLDS = {
    "smooth_threshold": "similarity to the profiled network",
    "smooth_beyond_threshold": "r beyond theory with the profiled network",
}
"""Variable -> what it is a threshold of."""

OF_ENTRIES = {
    "family": "kind of architecture of the atlas entry, empty for the network that is profiled",
    "trained_on": "images and task of the atlas entry",
    "norm": "batch norm after the layer of the atlas entry: none, beside, folded by its authors",
    "license": "license of the atlas entry",
    "source": "source of the atlas entry",
}
"""Coordinate of models -> its meaning."""


@own_settings(grad=True)
def profile_network(
    model: ModelLike | Mapping[str, ModelLike],
    images: DatasetLike = "deadleaves",
    *,
    fold: str = "",
    channels: str = "",
    seed: int = 0,
    recipe: str | Recipe = "quick",
    device: str = "auto",
    jobs: int | None = None,
    scheduler: str | Scheduler | None = None,
    progress: bool | None = None,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> xr.Dataset:
    """Compare the first layer of one network with those of the atlas, and measure its quality.

    The result is that of :func:`compare` with the null ``white`` for the network and all entries of
    :func:`open_atlas` that see patches of its size, on the basis of the images. The network is the
    first model.

    Parameters
    ----------
    model : one network, as :func:`compare` takes it: a file of weights, a spec, a module, or
        filters (k, c, kh, kw); a mapping of one label to it names it. An architecture is trained,
        or read from the cache
    images : a spec, the path of a folder of pictures or of an ``.npz`` file, or images in memory,
        as the data set of :func:`compare`
    fold : ``bn`` folds the batch norm that follows the first layer into the filters, also in the
        atlas. Otherwise both are compared without it; some entries are published with the batch
        norm folded, see the coordinate ``norm``
    channels : ``rgb`` (default) or ``bgr``, the order of the network's color channels
    seed, recipe : of the training of an architecture
    device, jobs, scheduler, progress, reporter, registry : as of :func:`compare`

    Returns
    -------
    xarray.Dataset
        As of :func:`compare`, at the stage ``trained``, and

        - ``whitening_distance(dataset, model, seed)``: see :func:`whitening_distance`
        - for each name of :func:`filter_quality` a variable ``(dataset, model, seed)``, with the
          prefix ``filters_``, such as ``filters_dead``
        - ``smooth_threshold`` and ``smooth_beyond_threshold``: the similarity and ``beyond_theory``
          with the network that 95% of 400 banks of random filters do not exceed. They are normal,
          with the correlations between neighboring pixels and between colors of the network's own
        - coordinates of the models: ``family``, ``trained_on``, ``norm``, ``license``, ``source``
        - the attributes ``profiled``, the label of the network, and ``atlas_left_out``, the number
          of entries of other patch sizes

    Raises
    ------
    UsageError
        For more than one network or data set, and as :func:`compare`.
    RepsimError
        As :func:`compare`.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> generator = torch.Generator().manual_seed(0)
    >>> images = torch.rand(50, 3, 8, 8, generator=generator)
    >>> entry = rs.open_atlas()["ultraface_rfb_640"]
    >>> result = rs.profile_network({"mine": entry.filters}, images)
    >>> nearest = result.similarity.sel(model="mine").squeeze().drop_sel(model_ref="mine")
    >>> str(nearest.idxmax().item()), round(float(nearest.max()), 3)
    ('ultraface_rfb_640', 1.0)
    >>> int(result.filters_dead.sel(model="mine").item())
    0
    """
    call = python_call(profile_network, locals())
    registry = registry or load_registry()
    spec, data = _one(as_models(registry, model), "network"), as_datasets(registry, images)
    _one(data, "data set")
    given = (("fold", fold), ("channels", channels))
    words: dict[str, Any] = {name: {spec.label: word} if word else "" for name, word in given}
    with showing(reporter, progress) as reporter, scheduler_of(scheduler, jobs) as scheduler:
        planned = partial(make_plan, registry, datasets=data, seeds=[seed], recipe=recipe)
        spec, plan = _planned_once(spec, partial(planned, device=device, **words))
        own = _filters(plan, scheduler, reporter)
        entries, left_out = _entries(plan.patches[0, 0])
        banks = _banks(entries, spec.label, folded=bool(fold))
        result = compare(
            [spec, *(as_models(registry, banks) if banks else [])],
            data,
            seeds=[seed] if plan.trains else 1,
            recipe=recipe,
            stage=STAGE,
            null="white",
            resamples=0,
            device=device,
            scheduler=scheduler,
            reporter=reporter,
            registry=registry,
            **words,
        )
    result = _described(result, own, banks, entries)
    result.attrs |= {"profiled": spec.label, "atlas_left_out": left_out, "command": call}
    return result


def _one(given: list[Any], kind: str) -> Any:
    """Return the only element of a list."""
    if len(given) != 1:
        names = ", ".join(f"'{one.label}'" for one in given)
        raise UsageError(f"got {len(given)} {kind}s ({names}), expected one; use compare for more")
    return given[0]


def _planned_once(spec: ModelSpec, make: Callable[..., Plan]) -> tuple[ModelSpec, Plan]:
    """Return the plan of one network, and its spec, which does not read a given network again.

    Parameters
    ----------
    make : makes the plan of ``models=``
    """
    given: list[TrainedModel] = []

    @wraps(spec.build)
    def build(*args: Any) -> Any:
        built = spec.build(*args)
        if isinstance(built, TrainedModel):
            given.append(built)
        return built

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)  # the comparison repeats them
        plan = make(models=replace(spec, build=build))
    if given:
        spec = replace(spec, build=lambda *_: given[0])
    trainings = {key: replace(training, model=spec) for key, training in plan.trainings.items()}
    return spec, replace(plan, models=[spec], trainings=trainings)


def _filters(plan: Plan, scheduler: Scheduler, reporter: Reporter) -> Tensor:
    """Return the filters of the network of a plan, which have to be finite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        network = train_networks(plan, scheduler, reporter)[0][Key(0, 0, 0)]
    filters = network.at(STAGE)
    if filters is None or not bool(filters.isfinite().all()):
        raise DataError(
            f"the filters of layer '{network.layer}' of '{plan.models[0].label}' hold NaN or "
            "infinite numbers, expected trained weights"
        )
    return filters


def _entries(patch: Patch) -> tuple[dict[str, AtlasEntry], int]:
    """Return the entries of the atlas that see a patch, and the number of the others."""
    atlas = open_atlas()
    entries = {name: entry for name, entry in atlas.items() if _patch(entry) == patch}
    return entries, len(atlas) - len(entries)


def _banks(entries: Mapping[str, AtlasEntry], label: str, *, folded: bool) -> dict[str, Tensor]:
    """Return the filters of the entries, under names that differ from a label."""
    return {
        f"{name} (atlas)" if name == label else name: entry.folded if folded else entry.filters
        for name, entry in entries.items()
    }


def _described(
    result: xr.Dataset, own: Tensor, banks: Mapping[str, Tensor], entries: Mapping[str, AtlasEntry]
) -> xr.Dataset:
    """Return the result with the numbers of all filters, and the facts of the entries."""
    variables = _variables(result, [own, *banks.values()]) | _thresholds(result, own)
    return result.assign(variables).assign_coords(_descriptions(list(entries.values())))


def _patch(entry: AtlasEntry) -> Patch:
    """Return the patch that an entry of the atlas sees, which is never dilated."""
    c, kh, kw = entry.filters.shape[1:]
    return (c, kh, kw, 1, 1)


def _variables(result: xr.Dataset, banks: list[Tensor]) -> dict[str, xr.Variable]:
    """Return the quality of each bank, and its distance to whitening."""
    quality = [filter_quality(bank) for bank in banks]
    eigenvalues = result.eigenvalue.values[0]
    profiles = result.energy.sel(stage=STAGE).values[0, :, 0]
    variables = {
        f"filters_{name}".replace("filters_filters", "filters"): (values, QUALITY[name])
        for name in QUALITY
        if (values := [one[name] for one in quality])
    }
    variables["whitening_distance"] = (
        [whitening_distance(profile, eigenvalues) for profile in profiles],
        "distance of the energy profile to that of whitening filters",
    )
    return {
        name: Variable(NETWORK_DIMS, np.array(values, float)[None, :, None], meaning).as_xarray()
        for name, (values, meaning) in variables.items()
    }


def _thresholds(result: xr.Dataset, own: Tensor) -> dict[str, xr.Variable]:
    """Return the thresholds of random filters as smooth as those of the network."""
    eigenvalues = result.eigenvalue.values[0]
    known = np.isfinite(eigenvalues)
    components = result["components"].values[0, known]
    found = smooth_thresholds(own.double().numpy(), components, eigenvalues[known])
    return {
        name: Variable(
            (), value, f"{what} that 95% of random filters as smooth do not exceed"
        ).as_xarray()
        for (name, what), value in zip(THRESHOLDS.items(), found, strict=True)
    }


def _descriptions(entries: list[AtlasEntry]) -> dict[str, xr.Variable]:
    """Return the coordinates that describe the entries, which follow the network."""
    return {
        name: Variable(
            ("model",), ["", *(getattr(entry, name) for entry in entries)], meaning, ""
        ).as_xarray()
        for name, meaning in OF_ENTRIES.items()
    }
