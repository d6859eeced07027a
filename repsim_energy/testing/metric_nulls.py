"""Rules for what metrics offer to named nulls."""

from __future__ import annotations

import numpy as np

from repsim_energy.testing.contract import require
from repsim_energy.testing.metric_fixture import IMAGES, MetricFixture

__all__ = ["null_distribution_agrees", "shuffle_agrees"]

MAX_DIFFERENCE = 1e-5
"""Largest difference of two values that should be the same."""


def null_distribution_agrees(fixture: MetricFixture) -> None:
    """Require that cdf, sf and ppf fit each other and the null interval."""
    if not hasattr(fixture.metric, "null_distribution"):
        return
    a, b = (fixture.represent(features) for features in fixture.pairs[0])
    law = fixture.metric.null_distribution(a, b)
    missing = [name for name in ("cdf", "sf", "ppf") if not callable(getattr(law, name, None))]
    require(not missing, f"null_distribution returns an object without {', '.join(missing)}")
    levels = np.array([0.025, 0.975])
    ends = np.asarray(law.ppf(levels), dtype=float)
    whole = np.allclose(law.cdf(ends), levels, atol=1e-6)
    whole &= np.allclose(law.sf(ends), 1 - levels, atol=1e-6)
    require(whole, "null_distribution returns cdf, sf and ppf that do not fit each other")
    interval = fixture.metric.null_interval(a, b)
    require(
        np.allclose(ends, interval, atol=1e-3),
        f"null_distribution has its central 95% at {tuple(ends.tolist())} but "
        f"null_interval returns {interval}, expected the same",
    )


def shuffle_agrees(fixture: MetricFixture) -> None:
    """Require that a shuffled representation is that of the shuffled images."""
    if fixture.metric.operates_on != "activations" or not hasattr(fixture.metric, "shuffle"):
        return
    if getattr(fixture.metric, "batch", None) is not None:
        return  # batches of this fixture have their orders one after the other
    a, b = fixture.pairs[0]
    order = np.random.default_rng(3).permutation(IMAGES)
    known = fixture.represent(a)
    found = fixture.metric.shuffle(fixture.represent(b), np.random.default_rng(3))
    expected = fixture.metric.compare(known, fixture.represent(b[:, order.tolist()]))
    require(
        abs(fixture.metric.compare(known, found) - expected) <= MAX_DIFFERENCE,
        "shuffle(representation, generator) is not the representation of the images in the order "
        "of generator.permutation(n)",
    )
