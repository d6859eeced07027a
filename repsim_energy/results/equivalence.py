"""Test of whether two models are as similar as two seeds of one model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from repsim_energy.errors import UsageError, unknown_name
from repsim_energy.numerics.inference.two_factor import (
    Estimate,
    between,
    difference,
    two_factor,
    within,
)
from repsim_energy.results.attributes import attribute_of
from repsim_energy.results.intervals import usable_seeds
from repsim_energy.results.summary import HALVES, check_pairs, group_labels, groups_of, tables_of

__all__ = ["Equivalence", "equivalence"]

MARGIN = 0.05
"""Loss of similarity that counts as none."""

MIN_SEEDS = 3
"""Seeds of a model from which the spread over its seeds is known."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Equivalence:
    """Outcome of :func:`equivalence`.

    Parameters
    ----------
    difference : mean similarity between the models less the mean within them
    low, high : 90% confidence interval of the difference, whose lower end decides at the level 5%
    p_value : of the hypothesis that the models are less similar by at least the margin
    margin : loss of similarity that counts as none
    between, within : the two means
    within_models : models whose seeds are the reference
    interval_over : what varies: ``seeds``, or ``seeds, images``

    Examples
    --------
    >>> found = Equivalence(-0.01, -0.03, 0.01, 0.002, 0.05, 0.97, 0.98, ("a", "b"), "seeds")
    >>> found.equivalent
    True
    """

    difference: float
    low: float
    high: float
    p_value: float
    margin: float
    between: float
    within: float
    within_models: tuple[str, ...]
    interval_over: str

    @property
    def equivalent(self) -> bool:
        """True if the hypothesis is rejected at the level 5%: as similar as two seeds."""
        return self.p_value < 0.05


def equivalence(
    result: xr.Dataset, a: str, b: str, *, margin: float = MARGIN, of: str = "similarity"
) -> Equivalence:
    r"""Return a test of whether two models are as similar as two seeds of one model.

    .. math:: \Delta = \bar s_{ab} - \tfrac12 (\bar s_{aa} + \bar s_{bb}), \qquad
        H_0: \Delta \le -m \quad\text{against}\quad H_1: \Delta > -m

    with the mean similarities of :func:`summarize`: between the models, and between different seeds
    of each. A model with one or two seeds is no part of the reference. A large p-value does not
    show a difference: it says that these seeds and images do not show that there is none. Of a
    distance the signs are reversed.

    The variance of :math:`\Delta` is that over seeds and images of :func:`summarize`. The networks
    of a model, and the images, move both means at once, which is taken into account. The statistic
    :math:`(\Delta + m) / \sqrt V` has Student's distribution.

    Source: Schuirmann (1987), "A comparison of the two one-sided tests procedure and the power
    approach for assessing the equivalence of average bioavailability"; doi:10.1007/BF01068419, of
    which this is the one side that matters.

    Parameters
    ----------
    result : of :func:`compare`, with at least three seeds of one of the models
    a, b : groups of :func:`summarize`: models; with data set and layer if there are several
    margin : m > 0, the loss of similarity that counts as none, to be chosen before looking at the
        result. The default is about the standard deviation of the similarity among pairs of seeds
        of one model (0.04 to 0.08 in the networks of the documentation)
    of : ``similarity``, or ``beyond_theory``, over seeds alone

    Returns
    -------
    Equivalence

    Raises
    ------
    UsageError
        For unknown models, a model and itself, fewer than three seeds of both, or a margin that is
        not positive.

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare("linear_cnn:filters=8,linear_cnn:filters=12", "deadleaves:count=100",
    ...                     seeds=3, recipe=rs.Recipe(lr=0.05, batch=20, steps=6))
    >>> found = rs.equivalence(result, "linear_cnn:filters=8", "linear_cnn:filters=12")
    >>> found.within_models, found.interval_over
    (('linear_cnn:filters=8', 'linear_cnn:filters=12'), 'seeds, images')
    """
    if not margin > 0:
        raise UsageError(f"got margin={margin}, expected a positive number, such as {MARGIN}")
    groups = groups_of(result, check_pairs(result, of))
    labels = group_labels(result, groups.outer)
    for name in (a, b):
        if name not in labels:
            raise unknown_name("group", str(name), labels)
    first, second = labels.index(a), labels.index(b)
    if groups.model[first] == groups.model[second]:
        raise UsageError(f"got '{a}' and '{b}', expected two models, with networks of their own")
    pairs = tables_of(result, of, groups.outer)
    is_distance = attribute_of(result, "direction", "") == "distance"
    sign = -1.0 if of == "similarity" and is_distance else 1.0
    seeds = [np.flatnonzero(usable_seeds(pairs)[group]) for group in (first, second)]
    whole = _difference(sign * pairs, (first, second), seeds)
    halved = of == "similarity" and HALVES in result and result.sizes.get("half", 0) > 0
    halves = None
    if halved:
        tables = sign * tables_of(result, HALVES, groups.outer)
        halves = _difference(tables - tables.mean(0), (first, second), seeds)
    variance = two_factor(whole, halves)
    delta, error = float(whole.mean), float(np.sqrt(variance.value))
    df = float(variance.df)
    reach = float(stdtrit(df, 0.95)) * error
    statistic = (delta + margin) / error if error else np.copysign(np.inf, delta + margin)
    cross = float(np.nanmean(pairs[first, second][np.ix_(*seeds)]))
    low, high = sorted((sign * (delta - reach), sign * (delta + reach)))
    return Equivalence(
        difference=sign * delta,
        low=low,
        high=high,
        p_value=float(stdtr(df, -statistic)),
        margin=margin,
        between=cross,
        within=cross - sign * delta,
        within_models=tuple(
            name for name, own in zip((a, b), seeds, strict=True) if len(own) >= MIN_SEEDS
        ),
        interval_over="seeds, images" if halved else "seeds",
    )


def _difference(
    pairs: Numbers, groups: tuple[int, int], seeds: list[NDArray[np.int64]]
) -> Estimate:
    """Return the mean between two groups less the mean within them.

    Parameters
    ----------
    pairs : (..., g, g, s, s)
    groups : the two groups
    seeds : of each group, those that have a similarity
    """

    def table(i: int, j: int) -> Numbers:
        return pairs[..., groups[i], groups[j], :, :][..., seeds[i][:, None], seeds[j]]

    of_models = [within(table(i, i)) if len(seeds[i]) >= MIN_SEEDS else None for i in (0, 1)]
    if of_models == [None, None]:
        raise UsageError(
            f"got {len(seeds[0])} and {len(seeds[1])} seeds, expected at least {MIN_SEEDS} of one "
            "of the models, whose similarity is the reference; use more seeds="
        )
    return difference(between(table(0, 1)), *of_models)
