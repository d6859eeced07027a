"""Images that maximize the activations of units, from a name to a result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from repsim_energy.comparison.given import DatasetLike, ModelLike
from repsim_energy.comparison.plan import Plan
from repsim_energy.comparison.planning import make_plan
from repsim_energy.comparison.python_call import python_call
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import RepsimError, UsageError, first_few, warn
from repsim_energy.numerics.self_check import self_check
from repsim_energy.numerics.settings import own_settings
from repsim_energy.progress import Reporter, showing, working
from repsim_energy.registry import Registry, load_registry
from repsim_energy.training.inputs import as_pixels
from repsim_energy.training.recipe import Recipe
from repsim_energy.visualization.ascent import BATCH, Search, find_starts
from repsim_energy.visualization.canvas import canvas_of
from repsim_energy.visualization.network import find_layer, open_network
from repsim_energy.visualization.request import ALL, check_settings, unit_numbers
from repsim_energy.visualization.result import Found, result_of
from repsim_energy.visualization.sheet import write_sheet
from repsim_energy.visualization.target import Target

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["maximize_activation"]

REAL_IMAGES = 64
"""Training images that are shown to the layer: for the scale of its activations, and as starts."""

MAX_NAMED = 20
"""Units that a message names."""


@own_settings(grad=True)
def maximize_activation(
    model: ModelLike | Mapping[str, ModelLike],
    layer: str = "first",
    units: int | Sequence[int] | str = ALL,
    dataset: DatasetLike = "deadleaves",
    *,
    seed: int = 0,
    recipe: str | Recipe = "quick",
    position: str = "center",
    parametrization: str = "natural",
    steps: int = 256,
    jitter: int = 1,
    total_variation: float = 10.0,
    norm: float | None = None,
    start: int = 0,
    axis: int | None = None,
    device: str = "auto",
    output: str | Path | None = None,
    progress: bool | None = None,
    reporter: Reporter | None = None,
    registry: Registry | None = None,
) -> xr.Dataset:
    r"""Find for each unit of a layer the image that activates it most.

    A unit is a channel of a convolutional layer or a feature of a linear one. Its image x
    maximizes, by gradient ascent with Adam from random noise,

    .. math:: \frac{a(x)}{\sigma} - \lambda \, \mathrm{TV}(x)

    where a is the activation, σ its standard deviation over noise and 64 training images, and TV
    the mean absolute difference of neighboring pixels, relative to the range of pixels. σ makes
    the image independent of the scale of the layer. The normalization of the network is applied
    inside. A unit that noise does not activate, as behind a ReLU, starts from a training image. The
    network is as it was afterwards.

    Source: Olah, Mordvintsev and Schubert (2017), "Feature Visualization",
    doi:10.23915/distill.00007.

    Parameters
    ----------
    model : one model as of :func:`compare`: a spec, a file of weights, a module, filters or a
        function. Architectures are trained, or read from the cache of trained runs
    layer : ``first``, ``output`` or the name of a submodule, as of :func:`compare`
    units : ``"all"``, the number of a unit, or several numbers
    dataset : of the training, of the size and range of the pixels, of the correlation of colors,
        and of the images that units are shown
    seed : of the training
    recipe : of the training
    position : of a unit's activation: ``center`` for the central row and column of its map,
        ``mean`` for the mean over the map
    parametrization : parameters of an image: ``pixels``; ``fourier`` for its Fourier coefficients,
        scaled by 1 / frequency; ``natural`` for those of colors that are decorrelated over the
        training images
    steps : number of gradient steps
    jitter : largest shift of the image in pixels, drawn anew for each step; 0 for none
    total_variation : weight λ of the prior; 0 for none
    norm : L2 norm of the difference between image and medium gray. It replaces the range of the
        pixels, which bounds images by default
    start : seed of the random starts and shifts
    axis : of the layer's output that counts units, if it is not known
    device : ``auto``, ``cpu`` or ``cuda``
    output : file for a sheet of all images, svg, png or pdf; by default none is drawn
    progress, reporter, registry : as of :func:`compare`

    Returns
    -------
    xarray.Dataset
        ``image(unit, channel, row, column)`` in pixels (0 to 1 for images of bytes),
        ``activation(unit)`` that it reaches, and ``image_activation(unit)``, the largest for one of
        the training images. Units that no image activates have NaN, with a warning that names them.

    Raises
    ------
    UsageError
        For names, options and input that are unknown, ambiguous or do not go together.
    ShapeError, DataError, FileError
        For networks that do not fit the images, and for unusable images and files.
    PluginError
        For a plugin that breaks a rule.
    TrainingError
        If the training failed.
    RepsimError
        If no image activates any of the units, or the network fails.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> generator = torch.Generator().manual_seed(0)
    >>> images = torch.rand(50, 3, 8, 8, generator=generator)
    >>> filters = torch.randn(4, 3, 3, 3, generator=generator)
    >>> result = rs.maximize_activation(filters, "first", [0, 2], images, steps=20)
    >>> result.image.shape, bool((result.activation > result.image_activation).all())
    ((2, 3, 8, 8), True)
    """
    arguments = dict(locals())
    check_settings(position, steps, jitter, total_variation, norm, start, output)
    with showing(reporter, progress) as reporter:
        self_check()
        registry = registry or load_registry()
        plan = make_plan(registry, model, dataset, [seed], recipe, device, filters=False)
        _refuse_several(plan)
        examined = find_layer(plan, layer, axis)
        numbers = unit_numbers(units, examined)
        canvas = canvas_of(parametrization, plan.datasets[0].train, jitter, norm)
        search = Search(canvas, steps, jitter, total_variation, start)
        with open_network(plan, examined, position, reporter) as target:
            found = _maximize(plan, target, search, numbers)
    _say_what_had_no_use(plan, seed, recipe)
    command = python_call(maximize_activation, arguments | {"output": None})
    result = result_of(plan, examined, numbers, found, canvas, arguments, command)
    if output is not None:
        write_sheet(result, output)
    return result


def _refuse_several(plan: Plan) -> None:
    """Refuse several models or data sets."""
    for kind, things in (("model", plan.models), ("data set", plan.datasets)):
        if len(things) > 1:
            labels = ", ".join(str(thing.label) for thing in things)
            raise UsageError(
                f"got {len(things)} {kind}s ({labels}), expected one; visualize them one by one"
            )


def _maximize(plan: Plan, target: Target, search: Search, units: Sequence[int]) -> Found:
    """Return images and activations of units, NaN for those that no image activates.

    Raises
    ------
    RepsimError
        If no image activates any of them.
    UsageError
        For NaN or infinite activations.
    """
    data, device = plan.datasets[0].train, plan.device
    real = as_pixels(data.images[balanced_prefix(data.labels, REAL_IMAGES)]).to(device)
    target.check_gradient(real[:1])
    generator = torch.Generator().manual_seed(search.seed)
    starts = find_starts(target.activations, search.canvas, search.jitter, real, generator)
    numbers = torch.tensor(units, device=device)
    scale, peak = starts.scale[numbers], starts.peak[numbers]
    _refuse_infinite(target.layer, numbers[~scale.isfinite()].tolist())
    silent = numbers[scale == 0].tolist()
    if silent:
        _say_what_is_silent(target.layer, silent, len(real), len(units))
    images = torch.full((len(units), *plan.datasets[0].image_shape), torch.nan, device=device)
    reached = torch.full((len(units),), torch.nan, device=device)
    active = (scale > 0).nonzero()[:, 0]
    with working(f"maximizing units of {target.layer}", len(active), "units") as advance:
        for part in active.split(BATCH):
            images[part], reached[part] = search.maximize(
                target.activations, starts, numbers[part], advance
            )
    _say_what_is_low(target.layer, numbers[(scale > 0) & ~(reached > peak)].tolist())
    found = (images, reached, starts.of_images[numbers])
    names = ("image", "activation", "image_activation")
    return {name: values.cpu().numpy() for name, values in zip(names, found, strict=True)}


def _refuse_infinite(layer: str, units: Sequence[int]) -> None:
    if units:
        raise UsageError(
            f"layer '{layer}' returns NaN or infinite activations ({_called(units)}), expected "
            "finite ones; check the weights, or name other units"
        )


def _say_what_is_silent(layer: str, silent: Sequence[int], images: int, asked: int) -> None:
    """Warn of units that no image activates, or refuse if there are no others."""
    text = (
        f"no image activates {_called(silent)} of layer '{layer}': noise and {images} training "
        "images all give the same activation"
    )
    if len(silent) == asked:
        raise RepsimError(f"{text}; name other units, or a layer before the ReLU")
    warn(f"{text}, so that there is no image to show")


def _say_what_is_low(layer: str, low: Sequence[int]) -> None:
    """Warn of units that a noisy or real image activates more than the image found."""
    if low:
        warn(
            f"the images found for {_called(low)} of layer '{layer}' activate less than those that "
            "the search began with; give more steps=, or less total_variation= or jitter="
        )


def _called(units: Sequence[int]) -> str:
    """Return the numbers of units in words."""
    return f"unit{'s' * (len(units) > 1)} {first_few([str(unit) for unit in units], MAX_NAMED)}"


def _say_what_had_no_use(plan: Plan, seed: int, recipe: str | Recipe) -> None:
    given = [f"seed={seed}"] * (seed != 0) + ["recipe="] * (recipe != "quick")
    if given and not plan.trains:
        warn(f"no network is trained here, so that {' and '.join(given)} changed nothing")
