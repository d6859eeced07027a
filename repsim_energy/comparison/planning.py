"""Planning: names are resolved, images loaded, and every model is built and checked once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from operator import index
from typing import TYPE_CHECKING

from repsim_energy.comparison.examined import Examined
from repsim_energy.comparison.given import DatasetLike, ModelLike, as_datasets, as_models
from repsim_energy.comparison.network_options import for_each, with_answers
from repsim_energy.comparison.normalizations import with_inputs
from repsim_energy.errors import UsageError
from repsim_energy.registry import Registry
from repsim_energy.specs import MOST_SEEDS
from repsim_energy.training.device import choose_device, choose_precision
from repsim_energy.training.recipe import Recipe, as_recipe

if TYPE_CHECKING:
    import torch

from repsim_energy.comparison.plan import Key, Plan, trainings_of

__all__ = ["make_plan"]


def make_plan(
    registry: Registry,
    models: ModelLike | Sequence[ModelLike] | Mapping[str, ModelLike],
    datasets: DatasetLike | Sequence[DatasetLike],
    seeds: int | Sequence[int],
    recipe: str | Recipe,
    device: str | torch.device,
    *,
    filters: bool = True,
    shown: bool = False,
    normalize: str | Mapping[str, str] = "auto",
    answer: str | Mapping[str, str] = "",
    fold: str | Mapping[str, str] = "",
    channels: str | Mapping[str, str] = "",
) -> Plan:
    """Resolve every name, load the images and build every model once.

    Parameters
    ----------
    filters : False where filters are not compared, so that networks need not have any
    shown : whether networks are shown images; they are if filters are not compared
    normalize, answer, fold, channels : as in :func:`~repsim_energy.compare`
    """
    device = choose_device(device)
    recipe = choose_precision(as_recipe(recipe), device)
    seeds = _as_seeds(seeds)
    models = with_answers(as_models(registry, models), answer)
    loaded = as_datasets(registry, datasets)
    labels = [model.label for model in models]
    fold = for_each("fold", fold, labels, "")
    channels = for_each("channels", channels, labels, "")
    trainings = trainings_of(loaded, models, seeds, recipe)
    networks = Examined(trainings, fold, channels, filters)
    for d, data in enumerate(loaded):
        loaded[d] = networks.add(d, data, models)
    trained_here = {
        Key(d, m, s): one if one.data is loaded[d] else replace(one, data=loaded[d])
        for (d, m), of_seeds in trainings.items()
        for s, one in enumerate(of_seeds if (d, m) not in networks.trained else ())
    }
    plan = Plan(
        loaded,
        models,
        seeds,
        recipe,
        device,
        networks.trained,
        networks.layers,
        networks.patches,
        trained_here,
        networks.built,
        networks.folds,
    )
    if not plan.trains:
        plan = replace(plan, seeds=seeds[:1])
    for data in loaded if plan.trains else []:
        recipe.check_images(*data.image_shape[1:])
    return with_inputs(plan, normalize, shown=shown or not filters)


def _as_seeds(seeds: int | Sequence[int]) -> list[int]:
    """Return the seeds 0, 1, ... of a count, or those that are listed."""
    try:
        given = seeds if isinstance(seeds, Iterable) else range(index(seeds))
        numbers = [index(seed) for seed in islice(given, MOST_SEEDS + 1)]
    except (TypeError, OverflowError) as error:
        raise UsageError(
            f"got seeds {seeds!r}, expected a number of seeds, or a list of whole numbers"
        ) from error
    if len(numbers) > MOST_SEEDS:
        got = f"more than {MOST_SEEDS}" if isinstance(seeds, Iterable) else seeds
        raise UsageError(
            f"got {got} seeds, expected at most {MOST_SEEDS}; one seed is given in a list, such as "
            "seeds=[20240101]"
        )
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0:
        raise UsageError(f"got seeds {numbers}, expected at least one, each once, none negative")
    if max(numbers) >= 2**63:
        raise UsageError(f"got seed {max(numbers)}, expected less than 2^63")
    return numbers
