"""Normalization of the images that given networks are shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from repsim_energy.comparison.inside import normalizes_inside
from repsim_energy.errors import UsageError, warn
from repsim_energy.interfaces import Normalization, TrainedModel
from repsim_energy.models.normalization import parse_normalization

if TYPE_CHECKING:
    from repsim_energy.comparison.plan import Plan

from repsim_energy.comparison.network_options import for_each

__all__ = ["with_inputs"]


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
                warn(
                    f"'{label}' normalizes images inside, so that it is shown them as they are, 0 "
                    "to 1; normalize=dataset takes their mean and standard deviation off before"
                )
    return replace(taken, normalization=chosen), _words(chosen)


def _words(normalization: Normalization | str | None) -> str:
    if not isinstance(normalization, Normalization):
        return "dataset"
    if not any(normalization.mean) and all(std == 1 for std in normalization.std):
        return "none"
    return "/".join(f"{value:g}" for value in (*normalization.mean, *normalization.std))
