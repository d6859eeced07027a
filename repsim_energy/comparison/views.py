"""Options ``pool`` and ``tokens``: which positions of layers' outputs are compared, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import nn

from repsim_energy.comparison.feature_axes import Output, observe_outputs
from repsim_energy.comparison.network_options import for_each
from repsim_energy.errors import (
    UndefinedSimilarityWarning,
    UsageError,
    first_few,
    warn,
)
from repsim_energy.interfaces import Dataset
from repsim_energy.numerics.positions import POOLS, TOKENS, View

__all__ = [
    "Words",
    "refuse_several_sizes",
    "say_what_was_not_chosen",
    "views_of",
    "warn_different_samples",
    "words_of",
]

MAX_NAMED = 6
"""Maximum number of layers that a message names."""

MAX_NAMED_OF_GRID = 3
"""Maximum number of layers that it names for each of several numbers of positions."""


class Words(NamedTuple):
    """The options of a model: one of ``POOLS`` and one of ``TOKENS``."""

    pool: str = "flatten"
    tokens: str = "all"


def words_of(
    pool: str | Mapping[str, str], tokens: str | Mapping[str, str], labels: Sequence[str]
) -> list[Words]:
    """Return the options of each model.

    Raises
    ------
    UsageError
        For other words, and for models that there are not.
    """
    pools = for_each("pool", pool, labels, "flatten")
    chosen = for_each("tokens", tokens, labels, "all")
    for option, words, known in (("pool", pools, POOLS), ("tokens", chosen, TOKENS)):
        for word in words.values():
            if word not in known:
                raise UsageError(f"got {option}={word}, expected {', '.join(known)}")
    return [Words(pools[label], chosen[label]) for label in labels]


def refuse_several_sizes(words: Sequence[Words], datasets: Sequence[Dataset]) -> None:
    """Refuse options other than the defaults for data sets whose images differ in size.

    A layer has other positions for each of them.
    """
    sizes = {data.label: "x".join(map(str, data.image_shape[1:])) for data in datasets}
    chosen = next((word for word in words if word != Words()), None)
    if chosen is not None and len(set(sizes.values())) > 1:
        listed = ", ".join(f"{size} in '{label}'" for label, size in sizes.items())
        raise UsageError(
            f"got pool={chosen.pool} and tokens={chosen.tokens} for images of several sizes, "
            f"{listed}, expected one size; give size=, or compare on one data set at a time"
        )


def views_of(
    module: nn.Module,
    layers: Mapping[str, str],
    image_shape: tuple[int, int, int],
    device: torch.device,
    answer: str,
    words: Words,
    typed: Mapping[str, str] | None = None,
) -> dict[str, View]:
    """Return layer -> the choice of its positions.

    The mapping is empty by default, where all positions are features.

    Parameters
    ----------
    layers : layer -> submodule

    Raises
    ------
    UsageError
        For outputs whose axis of features is not known, and sequences without a class token if that
        is asked for.
    """
    if words == Words():
        return {}
    outputs = observe_outputs(module, layers, image_shape, device, answer, typed)
    unknown = {
        layer: output
        for layer, output in outputs.items()
        if output.axis is None and (words.pool != "flatten" or len(output.shape) == 2)
    }
    if unknown:
        raise UsageError(
            f"got pool={words.pool} and tokens={words.tokens}, expected layers whose output shows "
            f"which axis counts the features, but {_listed(unknown)} could have them on either "
            "axis; name a convolution, norm or linear layer beside it, or take pool=flatten and "
            "tokens=all"
        )
    views = {
        layer: View(output.shape, output.axis or 1, words.pool, words.tokens)
        for layer, output in outputs.items()
    }
    without = {
        layer: outputs[layer]
        for layer, view in views.items()
        if view.is_sequence and not outputs[layer].class_token
    }
    if words.tokens == "cls" and without:
        raise UsageError(
            f"got tokens=cls, but {_listed(without)} begins with no class token (a first token "
            "that enters as the same for every image), expected one; take tokens=mean, or name "
            "another layer"
        )
    return views


def _listed(outputs: Mapping[str, Output]) -> str:
    """Return the names of layers with the shapes of their outputs."""
    names = [
        f"'{layer}' (n, {', '.join(map(str, output.shape))})" for layer, output in outputs.items()
    ]
    return first_few(names, MAX_NAMED)


def say_what_was_not_chosen(
    words: Sequence[Words], views: Sequence[Mapping[str, View]], labels: Sequence[str]
) -> None:
    """Warn of models whose option changed nothing, if it changed nothing for any model."""
    has_tokens = [any(view.is_sequence for view in one.values()) for one in views]
    has_positions = [any(view.pooled_positions for view in one.values()) for one in views]
    for option, default, has, what in (
        ("tokens", "all", has_tokens, "returns tokens (n, t, d)"),
        ("pool", "flatten", has_positions, "has positions left to pool"),
    ):
        asked = [m for m, word in enumerate(words) if getattr(word, option) != default]
        if asked and not any(has[m] for m in asked):
            names = first_few([f"'{labels[m]}'" for m in asked], MAX_NAMED)
            warn(
                f"{option}={getattr(words[asked[0]], option)} changed nothing: no layer that is "
                f"compared of {names} {what}"
            )


def warn_different_samples(views: Sequence[Mapping[str, View]], labels: Sequence[str]) -> None:
    """Warn of layers that cannot be compared, because an image is other samples in them."""
    grids: dict[tuple[int, ...], list[str]] = {}
    for one, label in zip(views, labels, strict=True):
        for layer, view in one.items():
            grids.setdefault(view.sample_grid, []).append(f"'{layer}' of '{label}'")
        if not one:
            grids.setdefault((), []).append(f"'{label}'")
    if len(grids) < 2:
        return
    parts = [
        f"{'x'.join(map(str, grid)) or 'one'} in {first_few(layers, MAX_NAMED_OF_GRID)}"
        for grid, layers in grids.items()
    ]
    warn(
        f"pool=none makes every position a sample, and layers have different ones: "
        f"{'; '.join(parts)}. Pairs of layers with different samples are NaN",
        UndefinedSimilarityWarning,
    )
