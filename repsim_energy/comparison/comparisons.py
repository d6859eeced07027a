"""Choice of the comparison that a metric and its layers need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from repsim_energy.comparison.layer_roles import LayersLike, are_deeper
from repsim_energy.comparison.pair_summary import ALL, PairsLike
from repsim_energy.comparison.patch_bases import KnownBases
from repsim_energy.comparison.plan import Plan
from repsim_energy.interfaces import Metric
from repsim_energy.scheduling.schedulers import Scheduler

if TYPE_CHECKING:
    from repsim_energy.comparison.of_activations import ActivationComparison
    from repsim_energy.comparison.of_features import FeatureComparison
    from repsim_energy.comparison.of_filters import FilterComparison
    from repsim_energy.comparison.of_layers import LayerComparison

__all__ = ["Comparison", "comparison_of"]

Comparison: TypeAlias = (
    "FilterComparison | LayerComparison | ActivationComparison | FeatureComparison"
)


def comparison_of(
    plan: Plan,
    metric: Metric,
    scheduler: Scheduler,
    asked: Mapping[str, Any],
    known: KnownBases | None = None,
    *,
    stage: str,
    patch: str | Sequence[int],
    null: str,
    layers: LayersLike,
    align: str,
    images: int,
    pool: str | Mapping[str, str],
    tokens: str | Mapping[str, str],
    resamples: int | None,
    precision: str,
    pairs: PairsLike = ALL,
) -> FilterComparison | LayerComparison | ActivationComparison:
    """Return the comparison of a plan, prepared before any network is trained.

    Each kind of comparison is imported by those who ask for it, because that takes a while.

    Parameters
    ----------
    asked : arguments that the user gave, by name
    known : patch bases that are not computed again; new ones are added
    stage, patch, null, layers, align, images, pool, tokens, resamples, precision, pairs : as in
        :func:`~repsim_energy.compare`
    """
    judged: dict[str, Any] = {"null": null, "resamples": resamples}
    if metric.operates_on != "filters":
        how: dict[str, Any] = {"images": images, "asked": asked, "pool": pool, "tokens": tokens}
        how["precision"] = precision
        from repsim_energy.comparison.of_activations import ActivationComparison

        return ActivationComparison.prepare(plan, metric, layers, **how, **judged)
    if are_deeper(layers):
        how = {"images": images, "stage": stage, "align": align, "asked": asked}
        from repsim_energy.comparison.of_layers import LayerComparison

        return LayerComparison.prepare(plan, metric, layers, **how, **judged)
    from repsim_energy.comparison.of_filters import FilterComparison

    return FilterComparison.prepare(
        plan, metric, scheduler, stage, patch, known=known, pairs=pairs, **judged
    )
