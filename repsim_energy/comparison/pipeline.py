"""Represent every network once, compare all pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repsim_energy.comparison.activations import FIRST
from repsim_energy.comparison.given import DatasetLike, ModelLike
from repsim_energy.comparison.listed import items_of
from repsim_energy.comparison.measured import Measured, by_model
from repsim_energy.comparison.networks import SILENT, train_networks
from repsim_energy.comparison.of_activations import ActivationComparison
from repsim_energy.comparison.of_filters import FilterComparison
from repsim_energy.comparison.options import (
    asked_for,
    refuse_options_of_other_metrics,
    say_what_had_no_use,
)
from repsim_energy.comparison.plan import Plan, make_plan
from repsim_energy.errors import UsageError
from repsim_energy.interfaces import Metric, missing_of
from repsim_energy.numerics.self_check import self_check
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import Reporter
from repsim_energy.registry import Registry, load_registry, origin_of, resolve_metric, unchecked
from repsim_energy.results import assemble
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
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
    reporter: Reporter = SILENT,
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
        initialization is known, else trained)
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
        all threads
    scheduler : who trains. Without one, ``jobs`` processes, or this process alone; ``local`` is
        ``jobs`` processes, or one per usable core; ``local:N`` is N; ``tcp://HOST:PORT`` is the
        Dask cluster there
    reporter : is told how long a long sweep will take, and how far it is; see :class:`Reporter`
    registry : what is installed, from ``load_registry()``; by default that is called

    Returns
    -------
    xarray.Dataset
        ``similarity(dataset, model, seed, dataset_ref, model_ref, seed_ref)`` with its null
        interval, and with filters ``energy(dataset, model, seed, stage, component)``; see the
        schema in the documentation. The attribute ``failures`` names trainings that failed;
        theirs is NaN.

    Raises
    ------
    RepsimError
        In one line: what was got, what was expected, what to do.
    """
    self_check()
    asked = asked_for(compare, locals())
    registry = registry or load_registry()
    metric = _metric(registry, metric)
    refuse_options_of_other_metrics(metric, asked)
    on_filters = metric.operates_on == "filters"
    with scheduler_of(scheduler, jobs) as scheduler:
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
        comparison: FilterComparison | ActivationComparison
        if on_filters:
            comparison = FilterComparison.prepare(plan, metric, scheduler, stage)
        else:
            asked_images = asked.get("images")
            comparison = ActivationComparison.prepare(plan, metric, layers, images, asked_images)
        networks, failures = train_networks(plan, scheduler, reporter)
        say_what_had_no_use(plan, metric, asked)
        return _result(plan, metric, comparison.finish(networks), failures)


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
    """Return what distinguishes this instance of a metric from another of its class.

    These are its public attributes; a class with ``__slots__`` has none that can be listed.
    """
    declared = ("name", "operates_on", "direction", "bounds", "invariances")
    attributes = getattr(unchecked(metric), "__dict__", {})
    return {
        name: value
        for name, value in attributes.items()
        if name not in declared and not name.startswith("_")
    }


def _result(plan: Plan, metric: Metric, measured: Measured, failures: list[str]) -> xr.Dataset:
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
        "failures": "\n".join([*failures, *measured.failures]),
        "self_check": self_check(),
        "channels": by_model(plan, ((m, t.channels) for (_, m), t in plan.trained.items()), "rgb"),
        **measured.attributes,
    }
    origins = [spec.origin for spec in plan.models] + [data.origin for data in plan.datasets]
    return assemble(
        measured.variables, measured.coords, configuration, attributes, origin_of(metric), *origins
    )
