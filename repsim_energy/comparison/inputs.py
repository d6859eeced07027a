"""Options of given networks, for all or by label: normalization, channel order, output."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from repsim_energy.comparison.inside import normalizes_inside
from repsim_energy.errors import RepsimWarning, UsageError, unknown_name
from repsim_energy.interfaces import Dataset, ModelSpec, Normalization, TrainedModel
from repsim_energy.models.normalization import parse_normalization

if TYPE_CHECKING:
    from torch import nn

    from repsim_energy.comparison.plan import Plan

__all__ = ["ORDERS", "for_each", "refuse_order", "with_answers", "with_inputs", "with_options"]

ORDERS = ("rgb", "bgr")
"""The orders in which networks take the channels of a color image."""


def with_options(
    built: nn.Module | TrainedModel, spec: ModelSpec, data: Dataset, fold: str, channels: str
) -> nn.Module | TrainedModel:
    """Return a given network with the options of the comparison in place of its own."""
    if not isinstance(built, TrainedModel):
        if channels not in ("", "rgb"):
            raise UsageError(
                f"got channels={channels} for '{spec.label}', which is trained here on images as "
                "they are; leave it out"
            )
        return built
    taken = replace(
        built,
        answer=spec.answer or built.answer,
        fold=fold or built.fold,
        channels=channels or built.channels,
    )
    if taken.channels not in ORDERS:
        raise UsageError(
            f"got channels={taken.channels} for '{spec.label}', expected {' or '.join(ORDERS)}"
        )
    refuse_order(taken, spec, data)
    return taken


def refuse_order(taken: TrainedModel, spec: ModelSpec, data: Dataset) -> None:
    """Refuse another channel order than ``rgb`` for images that do not have three channels.

    Raises
    ------
    UsageError
        For such an order.
    """
    if taken.channels != "rgb" and data.train.images.shape[1] != 3:
        raise UsageError(
            f"got channels={taken.channels} for '{spec.label}', which is for images of 3 channels, "
            f"but those of '{data.label}' have {data.train.images.shape[1]}; leave it out"
        )


def with_answers(specs: list[ModelSpec], answer: str | Mapping[str, str]) -> list[ModelSpec]:
    """Return the models with the entry of their output that is used.

    A training depends on it, so it is part of the identity of the model.
    """
    entries = for_each("answer", answer, [spec.label for spec in specs], "")
    return [_with_answer(spec, entries[spec.label]) for spec in specs]


def _with_answer(spec: ModelSpec, entry: str) -> ModelSpec:
    if not entry:
        return spec
    identity = spec.identity and {**spec.identity, "answer": entry}
    return replace(spec, answer=entry, identity=identity)


def with_inputs(plan: Plan, normalize: str | Mapping[str, str], *, shown: bool) -> Plan:
    """Return the plan with the normalization of the images of every given network.

    Parameters
    ----------
    shown : whether the comparison runs networks on images
    """
    labels = [spec.label for spec in plan.models]
    words = for_each("normalize", normalize, labels, "auto")
    given = {m for _, m in plan.trained}
    for m, label in enumerate(labels):
        word = words[label]
        if m not in given and isinstance(normalize, Mapping) and word not in ("auto", "dataset"):
            raise UsageError(
                f"got normalize={word} for '{label}', which is trained here on images that are "
                "normalized by their own mean and standard deviation; leave it out"
            )
    if normalize != "auto" and not given:
        raise UsageError("got normalize=, expected a network that is given, not one trained here")
    trained = dict(plan.trained)
    said = ["dataset"] * len(labels)
    for d, m in trained:
        trained[d, m], said[m] = _decided(plan, trained[d, m], d, m, words[labels[m]], shown)
    return replace(plan, trained=trained, inputs=said)


def _decided(
    plan: Plan, taken: TrainedModel, d: int, m: int, word: str, shown: bool
) -> tuple[TrainedModel, str]:
    """Return a given network with its normalization, and the normalization as text."""
    images = plan.datasets[d].train.images
    chosen = parse_normalization(word, images.shape[1]) or taken.normalization
    if chosen is None and shown and taken.network:
        label = plan.models[m].label
        shown_first = images[:2].flip(1) if taken.channels == "bgr" else images
        if normalizes_inside(taken.module, shown_first, plan.device):
            chosen = parse_normalization("none", images.shape[1])
            if d == 0:
                warnings.warn(
                    f"'{label}' normalizes images inside, so that it is shown them as they are, 0 "
                    "to 1; normalize=dataset takes their mean and standard deviation off before",
                    RepsimWarning,
                    stacklevel=6,
                )
    return replace(taken, normalization=chosen), _words(chosen)


def _words(normalization: Normalization | str | None) -> str:
    if not isinstance(normalization, Normalization):
        return "dataset"
    if not any(normalization.mean) and all(std == 1 for std in normalization.std):
        return "none"
    return "/".join(f"{value:g}" for value in (*normalization.mean, *normalization.std))


def for_each(
    option: str, given: str | Mapping[str, str], labels: Sequence[str], default: str
) -> dict[str, str]:
    """Return label of a model -> value of an option that is given for all models or by label."""
    if isinstance(given, str):
        return dict.fromkeys(labels, given)
    if not isinstance(given, Mapping) or not all(isinstance(v, str) for v in given.values()):
        raise UsageError(
            f"got {option}={given!r}, expected a text, or a mapping from labels of models to texts"
        )
    for label in given:
        if label not in labels:
            raise unknown_name(f"model in {option}=", str(label), labels)
    return dict.fromkeys(labels, default) | dict(given)
