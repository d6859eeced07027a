"""The choice of a null by its name."""

from __future__ import annotations

from dataclasses import dataclass

from repsim_energy.errors import UsageError, warn
from repsim_energy.interfaces import Metric

__all__ = ["DRAWS", "Null", "choose_null"]

DRAWS = 200
"""Monte Carlo draws of a null: thresholds are as precise as those of Gröger et al. (2026)."""

MAX_AUTOMATIC_COMPARISONS = 10_000
"""Calls of ``compare`` for a null that nobody has asked for."""

WORDS = {
    "filters": ("auto", "smooth", "white", "spectrum", "metric"),
    "activations": ("auto", "permutation", "rotation", "metric"),
}
"""What a metric compares -> the names of its nulls."""

CLOSED_FORM = {"filters": "white", "activations": "permutation"}
"""What a metric compares -> the null that its method ``null_distribution`` describes."""


@dataclass(frozen=True)
class Null:
    """A null and the way to its distribution.

    Parameters
    ----------
    word : name of the null
    exact : whether the metric's ``null_distribution`` describes it
    drawn : whether it is drawn: for the distribution, or for the best of several layers
    """

    word: str
    exact: bool = False
    drawn: bool = False


def choose_null(
    word: str, metric: Metric, comparisons: int = 0, *, positions: bool = False
) -> Null:
    """Return the null of a comparison.

    ``auto`` is ``smooth`` for filters, unless a metric would have to compare too many pairs one by
    one. For activations it is ``permutation`` where the metric knows its distribution. Otherwise it
    is ``metric``, the metric's own null interval.

    Parameters
    ----------
    comparisons : of pairs of networks that drawing the null takes
    positions : whether positions of images are samples, which are not independent, so that no null
        is known

    Raises
    ------
    UsageError
        For a name that this kind of metrics does not have, or one but ``auto`` and ``metric`` where
        positions are samples.
    """
    kind = metric.operates_on
    if word not in WORDS[kind]:
        raise UsageError(
            f"got null={word}, expected one of {', '.join(WORDS[kind])} for metrics on {kind}, "
            f"such as '{metric.name}'"
        )
    if positions:
        if word not in ("auto", "metric"):
            raise UsageError(
                f"got null={word} and pool=none, whose samples are positions, and those of an "
                "image are not independent; leave null= out, or use pool=flatten or pool=mean"
            )
        return Null("metric")
    known = hasattr(metric, "null_distribution")
    if word == "auto":
        if kind == "activations":
            return Null("permutation", exact=True) if known else Null("metric")
        if not hasattr(metric, "compare_all") and comparisons >= MAX_AUTOMATIC_COMPARISONS:
            warn(
                f"the null interval is that of '{metric.name}' itself, because smooth filters take "
                f"{comparisons} comparisons; ask for them with null=smooth"
            )
            return Null("metric")
        return Null("smooth", drawn=True)
    if word == "metric":
        return Null("metric")
    exact = known and word == CLOSED_FORM[kind]
    return Null(word, exact=exact, drawn=not exact or kind == "activations")
