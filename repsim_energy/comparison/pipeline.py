"""Represent every network once, compare all pairs."""

from __future__ import annotations

import math
import shlex
import sys
import warnings
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from repsim_energy.comparison.layers import (
    Layers,
    choose_images,
    plan_layers,
    represent_layers,
    say_what_is_shown,
)
from repsim_energy.comparison.listed import items_of
from repsim_energy.comparison.memory import check_memory, check_pairs
from repsim_energy.comparison.networks import Announce, Report, train_networks
from repsim_energy.comparison.options import (
    asked_for,
    refuse_options_of_other_metrics,
    say_what_had_no_use,
)
from repsim_energy.comparison.pairs import compare_pairs, say_what_is_undefined
from repsim_energy.comparison.plan import Key, Plan, make_plan, patch_bases
from repsim_energy.comparison.profiles import (
    STAGES,
    SUBJECT,
    Variables,
    basis_variables,
    choose_stage,
    profile_variables,
    run_variables,
    say_what_begins_alike,
    say_what_is_initialization,
)
from repsim_energy.comparison.subjects import DatasetLike, ModelLike, Network
from repsim_energy.comparison.which_weights import weight_coords
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.interfaces import ImageSet, Metric, PatchBasis, Subject, missing_of
from repsim_energy.numerics.self_check import self_check
from repsim_energy.numerics.settings import own_settings
from repsim_energy.registry import Registry, load_registry, origin_of, resolve_metric, unchecked
from repsim_energy.results import assemble
from repsim_energy.scheduling.chunks import moments_of_images
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
from repsim_energy.training.activations import FIRST
from repsim_energy.training.recipe import Recipe

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["compare"]


@own_settings(grad=True)
def compare(
    models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike],
    dataset: DatasetLike | Sequence[DatasetLike] = "deadleaves",
    metric: str | Metric = "energy",
    *,
    seeds: int | Sequence[int] = 2,
    recipe: str | Recipe = "quick",
    stage: str = "auto",
    layers: str | Sequence[str] = (FIRST,),
    images: int = 1000,
    normalize: str | Mapping[str, str] = "auto",
    answer: str | Mapping[str, str] = "",
    fold: str | Mapping[str, str] = "",
    channels: str | Mapping[str, str] = "",
    device: str = "auto",
    jobs: int | None = None,
    scheduler: str | Scheduler | None = None,
    progress: Report | None = None,
    announce: Announce | None = None,
    registry: Registry | None = None,
) -> xr.Dataset:
    """Compare networks; those that are named by architecture are trained or read from the cache.

    Parameters
    ----------
    models : specs such as ``"vgg11"``, ``"vgg11,resnet18"`` or ``"mine=checkpoint:path=a.pt"``,
        where ``mine`` is the label; files of weights such as ``"a.pt"``; trained ``nn.Module`` s;
        filters
        (k, c, kh, kw); functions ``(num_classes, in_channels) -> Module``; one, a list, or a
        mapping from label to such
    dataset : a spec such as ``"cifar10+random_labels"``, an ``ImageSet``, images or the pair
        (images, labels), tensors or arrays in any layout that can mean but one thing, a torch
        ``Dataset`` or ``DataLoader``; or a list or tuple of such
    metric : a spec such as ``"energy"`` or ``"cka:estimator=biased"``, or a ``Metric``
    seeds : how many (0, 1, ...), or which
    recipe : how to train, such as ``"quick:epochs=20"``
    stage : for metrics on filters: init, trained, change, or auto (change where every
        initialisation is known, else trained)
    layers : for metrics on activations: ``first``, ``output``, names of submodules, or ``convs``
        for all convolutions. ``:first``, ``:output`` and ``:convs`` in a network that has
        submodules of these names; ``NAME[ENTRY]`` where a layer answers several tensors
    images : for metrics on activations: how many test images the networks are shown
    normalize : for metrics on activations: how images become the input of networks that are given,
        for all or label by label: ``none`` (as they are, 0 to 1), ``imagenet``, ``cifar``,
        ``dataset`` (the mean and standard deviation of the training images), ``MEAN/STD``, or
        ``auto``: ``none`` for a network that normalizes inside, else ``dataset``
    answer : which entry of its answer is a network's answer, such as ``logits``, for all or label
        by label; for networks that answer several tensors
    fold : ``bn`` folds the batch norm that follows the first layer into its filters, at every
        stage, w * gamma / sqrt(running_var + eps), for all or label by label; what it adds is no
        part of an energy profile. For files of weights alone also the name of a batch norm, or
        either with its epsilon: ``bn/0.001``. For metrics on filters
    channels : the order in which given networks take red, green and blue, for all or label by
        label: ``rgb`` (default), or ``bgr`` of Caffe and OpenCV. Their filters are put in the order
        of the images; images are shown to them normalized, then blue first
    device : auto, cpu or cuda
    jobs : processes that train at once, on the CPU and with one thread each; 1 trains here, with
        all threads. Called from a script, more than 1 needs ``if __name__ == "__main__":``
    scheduler : who trains. Without one, ``jobs`` processes, or this process alone; ``local`` is
        ``jobs`` processes, or one per usable core; ``local:N`` is N; ``tcp://HOST:PORT`` is the
        Dask cluster there
    progress : called with a :class:`Step` while networks are trained
    announce : called with a line that says how long a long sweep will take, before it starts

    Returns
    -------
    xarray.Dataset
        ``similarity(dataset, model, seed, dataset_ref, model_ref, seed_ref)`` with its null band,
        and with filters ``energy(dataset, model, seed, stage, component)``; see the schema in the
        documentation. The attribute ``failures`` names trainings that failed; theirs is NaN.

    Raises
    ------
    RepsimError
        In one line: what was got, what was expected, what to do.
    """
    self_check()
    asked = asked_for(compare, locals())
    where = scheduler_of(scheduler, jobs)
    registry = registry or load_registry()
    measure = _metric(registry, metric)
    refuse_options_of_other_metrics(measure, asked)
    on_filters = measure.operates_on == "filters"
    plan = make_plan(
        registry,
        models,
        dataset,
        seeds,
        recipe,
        device,
        filters=on_filters,
        normalize=normalize,
        answer=answer,
        fold=fold,
        channels=channels,
    )
    if on_filters:
        check_pairs(plan)
        used = choose_stage(stage, plan)
        bases = patch_bases(plan, partial(moments_of_images, where))
    else:
        found = plan_layers(plan, items_of(layers) if isinstance(layers, str) else layers)
        check_pairs(plan, len(found.labels))
        shown = choose_images(plan, images, measure)
        split = say_what_is_shown(plan, asked.get("images"))
        check_memory(plan, measure, found, [len(chosen) for chosen in shown])
    networks, failures = train_networks(plan, progress, where, announce)
    say_what_had_no_use(plan, measure, asked)
    if on_filters:
        return _with_filters(plan, measure, networks, bases, used, failures)
    return _with_activations(plan, measure, networks, found, shown, split, failures)


def _with_filters(
    plan: Plan,
    metric: Metric,
    networks: Mapping[Key, Network],
    bases: list[PatchBasis],
    stage: str,
    failures: list[str],
) -> xr.Dataset:
    finite, without = _with_finite_filters(plan, networks, stage)
    failures = failures + without
    representations: dict[tuple[int, ...], NDArray[np.float64]] = {
        key: metric.represent(Subject(filters=network.at(stage), basis=bases[key[0]]))
        for key, network in finite.items()
    }
    ids = [basis.basis_id for basis in bases]
    if len(set(ids)) > 1:
        warnings.warn(
            "the data sets have different patch bases, so profiles are compared within each data "
            "set alone; pairs across them are NaN",
            RepsimWarning,
            stacklevel=4,
        )
    pairs = compare_pairs(metric, representations, plan.shape, lambda index: ids[index[0]])
    say_what_is_undefined(pairs, {key: f"'{plan.label(key)}'" for key in finite})
    variables: Variables = {
        **{name: (_paired(SUBJECT), values) for name, values in pairs.items()},
        **profile_variables(plan, networks, bases, stage),
        **basis_variables(bases),
        **run_variables(plan, networks),
    }
    say_what_begins_alike(plan, networks)
    say_what_is_initialization(plan, networks, variables["init_similarity"][1], stage)
    coords = {
        **_coords(plan, networks),
        "stage": list(STAGES),
        "component": list(range(math.prod(bases[0].patch))),
    }
    extra = {
        "stage": stage,
        "basis_id": ",".join(ids),
        "components_without_variance": ",".join(str(basis.without_variance) for basis in bases),
        "centered": str(bases[0].centered).lower(),
        "patch_products": ",".join(sorted(frozenset().union(*(b.products for b in bases)))),
        "first_layers": _by_model(plan, ((m, n.layer) for (_, m, _), n in networks.items())),
        "folded": _by_model(plan, ((m, folding.said) for (_, m), folding in plan.folds.items())),
    }
    return _result(plan, metric, variables, coords, failures, extra)


def _with_finite_filters(
    plan: Plan, networks: Mapping[Key, Network], stage: str
) -> tuple[dict[Key, Network], list[str]]:
    """Return the networks whose filters are numbers, and a line for each of the others."""
    finite, without = {}, []
    for key, network in networks.items():
        filters = network.at(stage)
        if filters is None or filters.isfinite().all():
            finite[key] = network
        else:
            without.append(
                f"{plan.label(key)}: the filters of layer '{network.layer}' hold NaN or infinite "
                "numbers; its pairs are NaN"
            )
    return finite, without


def _with_activations(
    plan: Plan,
    metric: Metric,
    networks: Mapping[Key, Network],
    layers: Layers,
    shown: list[ImageSet],
    split: str,
    failures: list[str],
) -> xr.Dataset:
    labels = layers.labels
    representations: dict[tuple[int, ...], NDArray[np.float64]] = {}
    for key, network in networks.items():
        d, m, _ = key
        found, without = represent_layers(
            metric, network, layers.names[m], layers.sizes[m], shown[d].images, plan.device,
            plan.label(key),
        )  # fmt: skip
        failures = failures + without
        representations |= {(*key, labels.index(layer)): found[layer] for layer in found}
    dims = (*SUBJECT, "layer")
    pairs = compare_pairs(
        metric,
        representations,
        (*plan.shape, len(labels)),
        lambda index: id(shown[index[0]]),
    )
    said = {
        (d, m, s, at): f"layer '{labels[at]}' of '{plan.label((d, m, s))}'"
        for d, m, s, at in representations
    }
    say_what_is_undefined(pairs, said)
    variables: Variables = {
        **{name: (_paired(dims), values) for name, values in pairs.items()},
        **run_variables(plan, networks),
    }
    coords = {**_coords(plan, networks), "layer": labels, "layer_ref": labels}
    counts = ",".join(str(len(chosen)) for chosen in shown)
    return _result(
        plan,
        metric,
        variables,
        coords,
        failures,
        {"images": counts, "images_from": split, "normalization": ",".join(plan.inputs)},
    )


def _metric(registry: Registry, metric: str | Metric) -> Metric:
    """Return the metric of a name, or one that is given as an object; refuse what is none."""
    several = items_of(metric) if isinstance(metric, str) else metric
    if isinstance(several, list | tuple) and len(several) != 1:
        raise UsageError(f"got {len(several)} metrics, expected one; call compare for each of them")
    if isinstance(metric, str):
        return resolve_metric(registry, metric)
    lacks = missing_of(metric)
    if isinstance(metric, type) or lacks:
        kind = f"the class {metric.__name__}" if isinstance(metric, type) else repr(metric)[:60]
        why = f", which lacks {', '.join(lacks)}" if lacks else ""
        raise UsageError(
            f"got as metric {kind}{why}, expected a name such as energy, or an instance of a "
            "repsim_energy.Metric"
        )
    return metric


def _options(metric: Metric) -> dict[str, Any]:
    """Return what distinguishes this instance of a metric from another of its class."""
    declared = ("name", "operates_on", "direction", "bounds", "invariances")
    return {k: v for k, v in vars(unchecked(metric)).items() if k not in declared}


def _by_model(plan: Plan, found: Iterable[tuple[int, str]], default: str = "") -> str:
    """Return the first text that was found for each model, joined by commas."""
    texts = dict(reversed([*found]))
    return ",".join(texts.get(m, default) for m in range(len(plan.models)))


def _paired(dims: tuple[str, ...]) -> tuple[str, ...]:
    return (*dims, *(f"{dim}_ref" for dim in dims))


def _coords(plan: Plan, networks: Mapping[Key, Network]) -> dict[str, Any]:
    labels: dict[str, Any] = {
        "dataset": [data.label for data in plan.datasets],
        "model": [spec.label for spec in plan.models],
        "seed": plan.seeds,
    }
    refs = {f"{dim}_ref": values for dim, values in labels.items()}
    return {**labels, **refs, **weight_coords(plan, networks)}


def _result(
    plan: Plan,
    metric: Metric,
    variables: Variables,
    coords: dict[str, Any],
    failures: list[str],
    extra: dict[str, str],
) -> xr.Dataset:
    configuration = {
        "metric": {"name": metric.name, "options": _options(metric)},
        "models": {spec.label: spec.identity for spec in plan.models},
        "seeds": plan.seeds,
        "recipe": plan.recipe.as_options(),
        "device": str(plan.device),
    }
    attributes = {
        "metric": metric.name,
        "direction": metric.direction,
        "dataset_fingerprint": ",".join(data.train.fingerprint for data in plan.datasets),
        "failures": "\n".join(failures),
        "self_check": self_check(),
        "channels": _by_model(plan, ((m, t.channels) for (_, m), t in plan.trained.items()), "rgb"),
        "command": shlex.join(sys.argv),
        **extra,
    }
    origins = [spec.origin for spec in plan.models] + [data.origin for data in plan.datasets]
    return assemble(variables, coords, configuration, attributes, origin_of(metric), *origins)
