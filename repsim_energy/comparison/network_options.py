"""Options of given networks, for all or by label: channel order, output, batch norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.interfaces import Dataset, ModelSpec, TrainedModel

if TYPE_CHECKING:
    from torch import nn


__all__ = ["ORDERS", "for_each", "refuse_order", "with_answers", "with_options"]

ORDERS = ("rgb", "bgr", "luma")
"""How networks take the channels of a color image: in two orders, or their luma alone."""


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
            f"got channels={taken.channels} for '{spec.label}', expected rgb, bgr or luma"
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
