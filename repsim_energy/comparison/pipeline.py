"""The comparison of networks, from names to a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from repsim_energy.comparison.activations import FIRST
from repsim_energy.comparison.comparisons import comparison_of
from repsim_energy.comparison.given import DatasetLike, ModelLike, are_features, as_models
from repsim_energy.comparison.given_metric import as_metric, record_of
from repsim_energy.comparison.layer_roles import LayersLike, are_deeper
from repsim_energy.comparison.measured import Measured
from repsim_energy.comparison.model_options import option_coords
from repsim_energy.comparison.networks import train_networks
from repsim_energy.comparison.options import (
    asked_for,
    refuse_options_of_other_metrics,
    say_what_had_no_use,
)
from repsim_energy.comparison.pair_summary import ALL, PairsLike
from repsim_energy.comparison.plan import Plan
from repsim_energy.comparison.planning import make_plan
from repsim_energy.comparison.python_call import python_call
from repsim_energy.interfaces import Metric, ModelSpec
from repsim_energy.numerics.self_check import self_check
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import Reporter, showing
from repsim_energy.registry import Registry, ResolvedMetric, load_registry
from repsim_energy.results import assemble
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
from repsim_energy.training.recipe import Recipe

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["compare", "result_of"]


@own_settings(grad=True)
def compare(
    models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike],
    dataset: DatasetLike | Sequence[DatasetLike] = "deadleaves",
    metric: str | Metric = "energy",
    *,
    seeds: int | Sequence[int] = 2,
    recipe: str | Recipe = "quick",
    stage: str = "auto",
    patch: str | Sequence[int] = "auto",
    null: str = "auto",
    layers: LayersLike = (FIRST,),
    align: str = "",
    images: int = 1000,
    pool: str | Mapping[str, str] = "flatten",
    tokens: str | Mapping[str, str] = "all",
    resamples: int | None = None,
    precision: str = "float32",
    pairs: PairsLike = ALL,
    normalize: str | Mapping[str, str] = "auto",
    answer: str | Mapping[str, str] = "",
    fold: str | Mapping[str, str] = "",
    channels: str | Mapping[str, str] = "",
    device: str = "auto",
    jobs: int | None = None,
    scheduler: str | Scheduler | None = None,
    retry_failed: bool = False,
    progress: bool | None = None,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> xr.Dataset:
    """Compare neural networks pair by pair.

    Architectures are trained, or read from the cache of trained runs; networks that are trained
    already are compared as they are.

    Parameters
    ----------
    models : what to compare: one of the following, a list, or a mapping from labels to them

        - a spec: an architecture such as ``"vgg11:width=0.5"``, or a file of weights such as
          ``"a.pt"`` or ``"mine=checkpoint:path=a.pt"``, where ``mine`` is the label. A text may
          hold several, separated by commas: ``"vgg11,resnet18"``
        - a file of features, ``"features:path=a.npz"``, for metrics on activations
        - a trained ``nn.Module`` or a ``TrainedModel``
        - filters (k, c, kh, kw), as tensor or array
        - a function ``(num_classes, in_channels) -> Module``, whose networks are trained
    dataset : one of the following, or a list or tuple of them

        - a spec such as ``"cifar10+random_labels"``
        - an ``ImageSet`` or a ``Dataset`` of this package
        - images, or a pair (images, labels): tensors or arrays in any layout that is not ambiguous
        - a ``Dataset`` or ``DataLoader`` of torch
    metric : a spec such as ``"energy"`` or ``"cka:estimator=biased"``, or a :class:`Metric`
    seeds : number of trainings of each architecture (their seeds are 0, 1, ...), or a list of seeds
    recipe : how to train, such as ``"quick:epochs=20"``
    stage : for metrics on filters: ``init``, ``trained``, ``change`` (trained minus init), or
        ``auto``: ``change`` if the initial weights of all networks are known, else ``trained``
    patch : for metrics on filters: height and width of the patches, such as ``7x7`` or ``(7, 7)``,
        so that filters of different sizes are compared: each is measured at all places where it
        fits, with zeros around it, and the energies are averaged. By default, ``auto``, patches
        are as large as the filters, which have to be of one size
    null : the networks that null intervals, p-values and calibrated scores describe. For metrics on
        filters ``white`` (random filters with independent weights), ``smooth`` (as smooth as the
        measured ones), ``spectrum`` (linear CNNs that learned independent labels). For metrics on
        activations ``permutation`` (the images of one network in random order), ``rotation``
        (samples randomly rotated). ``metric`` is the metric's own null interval. ``auto`` is
        ``smooth`` for filters; for activations ``permutation`` where the metric knows its
        distribution, else ``metric``
    layers : ``first``, names of submodules, or ``convs`` for all convolutions. ``:first`` and
        ``:convs`` in networks with submodules of these names. Where a layer has different names:
        ``"stem=conv1|features.0"`` (each model has one of these), or a mapping ``{"stem":
        {"resnet18": "conv1", "vgg11": "features.0"}}``. For metrics on activations also
        ``output``, and ``NAME[ENTRY]`` for one output of a layer with several. For metrics on
        filters also ``all``: convolutions and linear layers. Deeper layers are measured on the
        patches of their own input
    align : for metrics on filters of deeper layers, whose bases differ: ``rank`` compares component
        i of one layer's basis with component i of the other's; ``input`` carries the filters over
        to the basis of the other layer, by an orthogonal alignment of the inputs of both
    images : maximum number of images that networks are shown: test images for metrics on
        activations, training images for metrics on filters of deeper layers
    pool : for metrics on activations: ``flatten`` (every position has features of its own),
        ``mean`` or ``max`` over positions, or ``none`` (every position is a sample; there is no
        null interval then), for all or as a mapping from labels
    tokens : for metrics on activations: the tokens of transformers' outputs (n, t, d) that are
        used, ``all``, ``cls`` (the class token) or ``mean``, for all or as a mapping from labels.
        ``pool`` applies to what is left
    resamples : number of random groups of images, of which half-samples are compared for
        confidence intervals: 0 for none, else 4, 8, 12, 20, 24, 32, ... (another number is rounded
        down to one of these). By default 20 for metrics on filters, and 0 for metrics on
        activations, whose intervals are then over seeds alone
    precision : for metrics on activations: of the forward passes that show images to networks.
        ``bfloat16`` takes about half the time on processors with units for it, and is refused on
        others.
        The first 250 images are shown in both precisions. The comparison is refused if that changes
        any similarity by more than 0.005; the result records the largest change
    pairs : for metrics on filters: ``all`` similarities, with null and confidence intervals, or for
        thousands of networks their ``summary`` between all models: number, mean, standard deviation
        and extremes, in memory that does not grow with the number of pairs. A mapping from the
        labels of all models to names of groups summarizes between these groups
    normalize : for metrics on activations: normalization of the images that are shown to given
        networks, one word for all or a mapping from labels: ``none`` (pixels from 0 to 1),
        ``imagenet``, ``cifar``, ``dataset`` (mean and standard deviation of the training images),
        ``MEAN/STD``, or ``auto``: ``none`` for networks that normalize images themselves, else
        ``dataset``
    answer : for networks with several outputs: the name of the one to use, such as ``logits``,
        for all or as a mapping from labels
    fold : for metrics on filters: ``bn`` folds the batch norm that follows the first layer into its
        filters at every stage, w * gamma / sqrt(running_var + eps), for all or as a mapping from
        labels. Its shift is no part of an energy profile. For files of weights without architecture
        also the name of a batch norm, its epsilon, or both: ``bn/0.001``
    channels : order of the color channels that given networks take, for all or as a mapping from
        labels: ``rgb`` (default) or ``bgr`` (Caffe, OpenCV). Their filters are put in the order of
        the images; images are normalized and then reversed for them. With ``luma`` a network of
        gray images is compared on color images, for metrics on filters: it sees
        0.299 R + 0.587 G + 0.114 B (ITU-R BT.601, mode L of Pillow)
    device : ``auto``, ``cpu`` or ``cuda``
    jobs : number of processes that train at the same time on the CPU, one thread each; with 1, this
        process trains with all threads
    scheduler : where to train: ``local`` (``jobs`` processes, or one per usable core), ``local:N``,
        ``tcp://HOST:PORT`` (a Dask cluster), or a ``Scheduler``. By default ``jobs`` processes,
        without ``jobs`` this process
    retry_failed : whether to run trainings again that failed in an earlier comparison. Otherwise
        they count as failed, with the reason of that time
    progress : ``True`` shows progress on stderr or in the notebook, ``False`` does not. By default
        bars are shown in a notebook and on a terminal, and nothing in a pipe; the environment
        variable ``REPSIM_PROGRESS`` (0 or 1) changes that
    reporter : instead of ``progress``: receives an estimate of the duration and the progress; see
        :class:`Reporter`
    registry : the plugins to use, of ``load_registry()``; by default all that are installed

    Returns
    -------
    xarray.Dataset
        ``similarity(dataset, model, seed, dataset_ref, model_ref, seed_ref)`` with its null
        interval ``null_low``, ``null_high``, and against all nulls but ``metric`` also
        ``null_threshold``, ``p_value`` and ``calibrated``; the 95% confidence interval of its mean
        over seeds ``ci_low(dataset, model, dataset_ref, model_ref)``, ``ci_high``; of metrics on
        filters
        ``energy(dataset, model, seed, stage, component)`` in weight units. Metrics on activations
        have ``layer`` and ``layer_ref`` too. The attribute ``failures`` has a line for each
        training that failed; its values are NaN. A summary of pairs has ``mean_similarity``,
        ``spread_similarity``, ``lowest_similarity``, ``highest_similarity``, ``n`` and
        ``n_missing`` in place of the numbers of pairs. All variables are described in the
        documentation of the result schema.

    Raises
    ------
    UsageError
        For names, options and input that are unknown, ambiguous or do not go together.
    ShapeError, DataError, FileError
        For networks that do not fit the images, and for unusable images and files.
    PluginError
        For a plugin that breaks a rule.
    TrainingError
        If every training failed.
    RepsimError
        If a download fails, or this machine computes wrong numbers.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> generator = torch.Generator().manual_seed(0)
    >>> images = torch.rand(50, 3, 8, 8, generator=generator)
    >>> banks = {name: torch.randn(16, 3, 3, 3, generator=generator) for name in ("a", "b")}
    >>> result = rs.compare(banks, images)
    >>> result.sizes["component"], result.energy.attrs["units"]
    (27, 'weight units')
    >>> rs.summarize(result)["mean"].shape
    (2, 2)
    """
    asked, call = asked_for(compare, locals()), python_call(compare, locals())
    given = asked_for(compare, locals(), (*asked, "dataset", "channels"))
    words = {"normalize": normalize, "answer": answer, "fold": fold, "channels": channels}
    with showing(reporter, progress) as reporter, scheduler_of(scheduler, jobs) as scheduler:
        self_check()
        registry = registry or load_registry()
        resolved = as_metric(registry, metric)
        metric = resolved.metric
        on_filters = metric.operates_on == "filters"
        deeper = on_filters and are_deeper(layers)
        refuse_options_of_other_metrics(metric, asked, deeper)
        specs = as_models(registry, models)
        if are_features(specs, metric):
            return _compare_features(specs, resolved, layers, given, null, resamples, call)
        plan = make_plan(
            registry,
            specs,
            dataset,
            seeds,
            recipe,
            device,
            filters=on_filters,
            shown=deeper or not on_filters,
            **words,
        )
        comparison = comparison_of(
            plan,
            metric,
            scheduler,
            asked,
            stage=stage,
            patch=patch,
            null=null,
            layers=layers,
            align=align,
            images=images,
            pool=pool,
            tokens=tokens,
            resamples=resamples,
            precision=precision,
            pairs=pairs,
        )
        networks, failures = train_networks(plan, scheduler, reporter, retry_failed=retry_failed)
        say_what_had_no_use(plan, metric, asked, deeper)
        return result_of(plan, resolved, comparison.finish(networks), failures, call)


def _compare_features(
    specs: list[ModelSpec],
    resolved: ResolvedMetric,
    layers: LayersLike,
    asked: Mapping[str, Any],
    null: str,
    resamples: int | None,
    call: str,
) -> xr.Dataset:
    from repsim_energy.comparison.of_features import FeatureComparison

    comparison = FeatureComparison.prepare(specs, resolved.metric, layers, asked, null, resamples)
    say_what_had_no_use(comparison.plan, resolved.metric, asked)
    return result_of(comparison.plan, resolved, comparison.finish(comparison.networks), [], call)


def result_of(
    plan: Plan, resolved: ResolvedMetric, measured: Measured, failures: list[str], call: str
) -> xr.Dataset:
    """Return the result of a comparison, with what it was asked for."""
    metric = resolved.metric
    configuration = {
        "metric": record_of(resolved),
        "models": {spec.label: spec.identity for spec in plan.models},
        "seeds": plan.seeds,
        "recipe": plan.recipe.as_options(),
        "device": str(plan.device),
    }
    attributes = {
        "metric": metric.name,
        "direction": metric.direction,
        "failures": "\n".join([*failures, *measured.failures]),
        "self_check": self_check(),
        **measured.attributes,
        "command": call,
    }
    origins = [
        *resolved.origins,
        *(origin for spec in plan.models for origin in spec.origins),
        *(origin for data in plan.datasets for origin in data.origins),
    ]
    coords = {**measured.coords, **option_coords(plan, measured)}
    return assemble(measured.variables, coords, configuration, attributes, *origins)
