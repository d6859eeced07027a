"""Sweeps: the same comparison for every combination of values of some options."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from repsim_energy.comparison.axes import Axis, Point, Vary, axes_of, listed, points_of
from repsim_energy.comparison.given import DatasetLike, ModelLike
from repsim_energy.comparison.networks import Distinct, train_plans
from repsim_energy.comparison.pipeline import compare, result_of
from repsim_energy.comparison.python_call import python_call
from repsim_energy.comparison.settings import Setting, Settings, check_result
from repsim_energy.errors import RepsimError, RepsimWarning, TrainingError, unknown_name, warn
from repsim_energy.interfaces import Metric
from repsim_energy.numerics.self_check import self_check
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import Reporter, showing, working
from repsim_energy.registry import Registry, load_registry
from repsim_energy.results import Variable
from repsim_energy.results.grid import join_grid
from repsim_energy.scheduling.schedulers import Scheduler, scheduler_of
from repsim_energy.training.recipe import Recipe

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["sweep"]


@own_settings(grad=True)
def sweep(
    models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike],
    dataset: DatasetLike | Sequence[DatasetLike] = "deadleaves",
    metric: str | Metric = "energy",
    *,
    vary: Vary,
    seeds: int | Sequence[int] = 2,
    recipe: str | Recipe = "quick",
    device: str = "auto",
    jobs: int | None = None,
    scheduler: str | Scheduler | None = None,
    retry_failed: bool = False,
    progress: bool | None = None,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
    **options: Any,
) -> xr.Dataset:
    """Compare networks for every combination of values of some options, as one result.

    Each combination is a point of a grid. Its numbers are those of :func:`compare` with these
    values. The trainings of all points are scheduled together; one that several points need, such
    as those that differ in the metric alone, is run once. All are read from the cache of trained
    runs if they are there, so that an interrupted sweep goes on with the same call.

    Parameters
    ----------
    models, dataset, metric : as of :func:`compare`. What is varied has to be given as text
    vary : ``PART.OPTION`` -> its values, such as ``{"model.filters": [16, 32], "recipe.lr":
        [0.01, 0.1]}``. A part is ``model`` (an option of all models), ``dataset`` (of all data
        sets or of one of their variants; ``dataset.VARIANT.OPTION`` if several parts of a data set
        have it), ``recipe``, ``metric``, or ``comparison`` (the arguments ``stage``, ``patch``,
        ``null``, ``align``, ``images``, ``pool`` and ``tokens``). Values may also be one text,
        separated by commas, ``"16,32"``; a value that contains commas is in quotes there
    seeds, recipe, device, jobs, scheduler, retry_failed, progress, reporter, registry : as of
        :func:`compare`
    options : further arguments of :func:`compare`, such as ``layers``, the same for all points

    Returns
    -------
    xarray.Dataset
        The result of :func:`compare` with one more dimension for each varied option,
        ``PART_OPTION``, whose labels are the values, as numbers if all are. Variables of networks
        and of pairs have all of these dimensions. Variables of data sets alone, such as
        ``eigenvalue``, and coordinates, such as ``basis_id``, have those along which they differ.
        Where points have different numbers of components, the others are NaN: ``component`` i of
        one patch size is not that of another. Points whose trainings all failed are NaN. The
        attribute ``failures`` has a line for each training that failed.

    Raises
    ------
    UsageError
        For an unknown part or option, equal values, more than 10,000 points, and what
        :func:`compare` refuses at any point, before anything is trained.
    TrainingError
        If every training failed.
    ShapeError, DataError, FileError, PluginError, RepsimError
        As of :func:`compare`.

    Warns
    -----
    RepsimWarning
        For points that have no networks or other numbers of components, and what :func:`compare`
        warns of, with the points.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> images = torch.rand(40, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    >>> data = rs.ImageSet(images, torch.arange(40) % 2, ("a", "b"), "noise")
    >>> result = rs.sweep(
    ...     "linear_cnn:kernel=2", data, recipe="quick:steps=3",
    ...     vary={"model.filters": [4, 8], "recipe.lr": [0.01, 0.1]},
    ... )
    >>> result.train_accuracy.dims
    ('model_filters', 'recipe_lr', 'dataset', 'model', 'seed')
    >>> result.energy.sel(model_filters=8, recipe_lr=0.1, stage="change").shape
    (1, 1, 2, 4)
    """
    call = python_call(sweep, locals())
    axes, arguments = axes_of(vary), _arguments(locals(), options)
    points = list(points_of(axes))
    said = _Said(len(points))
    with showing(reporter, progress) as reporter, scheduler_of(scheduler, jobs) as scheduler:
        self_check()
        settings = Settings(registry or load_registry(), scheduler, arguments)
        prepared: list[Setting] = []
        with working("preparing points", len(points), "points") as advance:
            for point in points:
                with said.at(point), naming(point):
                    prepared.append(settings.at(point))
                advance(1)
        check_result(prepared)
        if reporter.hears_announcements:
            reporter.announce(_size(axes, prepared))
        plans = [setting.plan for setting in prepared]
        outcomes = train_plans(plans, scheduler, reporter, retry_failed=retry_failed)
        failed = dict.fromkeys(line for outcome in outcomes for line in outcome.failures)
        if failed and not any(outcome.networks for outcome in outcomes):
            raise TrainingError(next(iter(failed)))
        results: list[xr.Dataset | None] = []
        with working("comparing points", len(points), "points") as advance:
            for point, one, outcome in zip(points, prepared, outcomes, strict=True):
                with said.at(point), naming(point):
                    networks = outcome.networks
                    measured = one.comparison.finish(networks) if networks else None
                results.append(
                    None
                    if measured is None
                    else without_varied(
                        result_of(one.plan, one.metric, measured, outcome.failures, call), axes
                    )
                )
                advance(1)
    said.warn()
    return _joined(axes, points, results, list(failed))


def _arguments(given: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every argument of ``compare``."""
    known = inspect.signature(compare).parameters
    for name in options:
        if name not in known:
            raise unknown_name("argument", name, known)
    return {
        name: options.get(name, given.get(name, parameter.default))
        for name, parameter in known.items()
    }


def _size(axes: Sequence[Axis], prepared: Sequence[Setting]) -> str:
    """Return the size of the grid in words."""
    sizes = " x ".join(f"{len(axis.values)} {axis.name}" for axis in axes)
    distinct = Distinct([setting.plan for setting in prepared])
    networks, runs = sum(map(len, distinct.names)), len(distinct.trainings)
    shared = f", which share {runs} trainings" if runs < networks else ""
    return f"{len(prepared)} points ({sizes}) of {networks} networks{shared}"


@contextmanager
def naming(point: Point) -> Iterator[None]:
    """Name the point in errors, of which each point may have its own."""
    try:
        yield
    except RepsimError as error:
        error.args = (f"at {point.label()}: {error}", *error.args[1:])
        raise


def without_varied(result: xr.Dataset, axes: Sequence[Axis]) -> xr.Dataset:
    """Return a result without the coordinates of options that are axes of the sweep."""
    varied = {f"option {axis.option} of the model" for axis in axes if axis.part == "model"}
    return result.drop_vars(
        [n for n, c in result.coords.items() if c.attrs.get("long_name") in varied]
    )


def _joined(
    axes: Sequence[Axis],
    points: Sequence[Point],
    results: Sequence[xr.Dataset | None],
    failed: Sequence[str],
) -> xr.Dataset:
    """Return the results of all points as one, and warn of those that differ in more than values.

    Parameters
    ----------
    failed : a line for each training that failed
    """
    without = [point for point, result in zip(points, results, strict=True) if result is None]
    if without:
        warn(
            f"no network was trained at {len(without)} of {len(points)} points, {listed(without)}; "
            "they are NaN"
        )
    counts = {
        result.sizes["component"]
        for result in results
        if result is not None and "component" in result.sizes
    }
    if len(counts) > 1:
        warn(
            f"points have {', '.join(map(str, sorted(counts)))} components, which are not the same "
            "for patches of different sizes; values beyond those of a point are NaN"
        )
    coords = {
        axis.dim: Variable(
            (axis.dim,),
            list(axis.values),
            f"option {axis.option} of the {axis.part}",
            "" if isinstance(axis.values[0], str) else "1",
        )
        for axis in axes
    }
    joined = join_grid(results, coords, {axis.dim: axis.name for axis in axes})
    lines = [*failed, *joined.attrs["failures"].splitlines()]
    joined.attrs["failures"] = "\n".join(dict.fromkeys(lines))
    return joined


class _Said:
    """Warnings of all points, each given once with the number of its points.

    Parameters
    ----------
    total : number of points
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._points: dict[tuple[type[Warning], str], dict[Point, None]] = {}

    @contextmanager
    def at(self, point: Point) -> Iterator[None]:
        """Collect the warnings of a point. Those that are not of this package are given at once."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RepsimWarning)
            yield
        for one in caught:
            if issubclass(one.category, RepsimWarning):
                self._points.setdefault((one.category, str(one.message)), {})[point] = None
            else:
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)

    def warn(self) -> None:
        """Give all warnings."""
        for (category, text), points in self._points.items():
            where = (
                f"at {len(points)} of {self._total} points, {listed(list(points))}: "
                if len(points) < self._total
                else ""
            )
            warn(f"{where}{text}", category)
