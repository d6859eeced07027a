"""Rules for metrics."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from torch import Tensor

from repsim_energy.errors import RepsimError
from repsim_energy.interfaces import Metric, missing_of
from repsim_energy.testing.contract import (
    Finding,
    Rules,
    check_rules,
    other_randomness,
    require,
    same_bits,
    warn_of_undescribed_options,
)
from repsim_energy.testing.metric_fixture import CHANGES, IMAGES, MetricFixture
from repsim_energy.testing.metric_nulls import null_distribution_agrees, shuffle_agrees
from repsim_energy.testing.metric_variables import forms_of

__all__ = ["check_metric"]

MAX_INVARIANT, MIN_VARIANT = 1e-5, 1e-3
"""Largest difference under a declared invariance, and smallest under an undeclared one."""


def check_metric(metric: Metric) -> list[Finding]:
    """Check a metric against the rules.

    Declared invariances have to hold, and undeclared ones have to fail. The input is random filter
    banks on the basis of generated images, or random activations.

    Parameters
    ----------
    metric : instance to check

    Returns
    -------
    list of Finding
        One for each rule.

    Raises
    ------
    RuleViolation
        If a rule is broken; the message names each broken rule with a remedy.

    Examples
    --------
    >>> from repsim_energy.metrics.energy import EnergyProfileCorrelation
    >>> all(finding.problem is None for finding in check_metric(EnergyProfileCorrelation()))
    True
    """
    what = f"metric '{getattr(metric, 'name', type(metric).__name__)}'"
    warn_of_undescribed_options(what, type(metric), 0)
    findings = check_rules(
        what, {"defines all required attributes and methods": _interface}, metric
    )
    invariances = {
        f"{'' if name in metric.invariances else 'not '}invariant to {name}, as declared": partial(
            _invariance, name
        )
        for name in CHANGES
    }
    return findings + check_rules(what, {**RULES, **invariances}, MetricFixture(metric))


def _interface(metric: Metric) -> None:
    missing = missing_of(metric)
    require(not missing, f"lacks {', '.join(missing)}; see repsim_energy.Metric")
    for name, known in (
        ("operates_on", ("filters", "activations")),
        ("direction", ("similarity", "distance")),
    ):
        got = getattr(metric, name)
        require(got in known, f"{name} is {got!r}, expected {' or '.join(known)}")
    low, high = metric.bounds
    require(low < high, f"bounds are {metric.bounds}, expected a lower and a higher number")
    unknown = sorted(set(metric.invariances) - set(CHANGES))
    require(not unknown, f"invariances {unknown} are unknown, expected some of {list(CHANGES)}")


def _represents(fixture: MetricFixture) -> None:
    for a, _ in fixture.pairs:
        found = fixture.represent(a)
        kind = f"{type(found).__name__} of {getattr(found, 'dtype', 'no type')}"
        numbers = isinstance(found, np.ndarray) and found.dtype.kind in "fiu" and found.size > 0
        require(numbers, f"represent returns {kind}, expected a NumPy array of numbers")
        finite = bool(np.isfinite(found).all())
        require(finite, "represent returns NaN or infinite numbers for finite input")


def _compares(fixture: MetricFixture) -> None:
    low, high = fixture.metric.bounds
    for a, b in fixture.pairs:
        found = fixture.metric.compare(fixture.represent(a), fixture.represent(b))
        number = isinstance(found, float | int | np.floating)
        require(number, f"compare returns {type(found).__name__}, expected a float")
        require(
            low - MAX_INVARIANT <= found <= high + MAX_INVARIANT,
            f"compare returns {found:.6g}, expected a number from {low} to {high}; correct the "
            "value or the declared bounds",
        )


def _symmetric(fixture: MetricFixture) -> None:
    for a, b in fixture.pairs:
        one, other = fixture.value(a, b), fixture.value(b, a)
        require(
            abs(one - other) <= MAX_INVARIANT,
            f"compare(a, b) is {one:.6g} and compare(b, a) {other:.6g}, expected the same; return "
            "the mean of both",
        )


def _self_comparison_is_optimal(fixture: MetricFixture) -> None:
    similarity = fixture.metric.direction == "similarity"
    best = fixture.metric.bounds[similarity]
    for a, b in fixture.pairs:
        itself, other = fixture.value(a, a), fixture.value(a, b)
        require(
            itself > other if similarity else itself < other,
            f"returns {itself:.6g} for a network and itself and {other:.6g} for two networks, but "
            f"declares a {fixture.metric.direction}; correct the value or the direction",
        )
        require(
            not math.isfinite(best) or abs(itself - best) <= MAX_INVARIANT,
            f"returns {itself:.6g} for a network and itself, expected the bound {best}",
        )


def _deterministic(fixture: MetricFixture) -> None:
    a, b = fixture.pairs[0]
    found = []
    for seed in (1, 2):
        with other_randomness(seed):
            x, y = fixture.represent(a), fixture.represent(b)
            found.append((float(fixture.metric.compare(x, y)), *fixture.metric.null_interval(x, y)))
    same = np.array_equal(found[0], found[1], equal_nan=True)
    require(same, f"returns {found[0]} and then {found[1]}; use a generator with a fixed seed")


def _leaves_inputs(fixture: MetricFixture) -> None:
    a, b = fixture.pairs[0]
    shown = a.clone()
    fixture.metric.represent(fixture.subject(shown))
    require(same_bits(shown, a), "represent modifies its input; work on a copy")
    x, y = fixture.represent(a), fixture.represent(b)
    kept = x.copy(), y.copy()
    fixture.metric.compare(x, y)
    fixture.metric.null_interval(x, y)
    unchanged = all(map(np.array_equal, (x, y), kept))
    require(unchanged, "compare or null_interval modifies a representation; work on a copy")


def _null_interval(fixture: MetricFixture) -> None:
    a, b = fixture.pairs[0]
    low, high = fixture.metric.null_interval(fixture.represent(a), fixture.represent(b))
    unknown = math.isnan(low) and math.isnan(high)
    require(
        unknown or low < high,
        f"null_interval returns ({low}, {high}), expected a lower and a higher number, or "
        "(nan, nan) if it is unknown",
    )


def _compare_all_agrees(fixture: MetricFixture) -> None:
    if not hasattr(fixture.metric, "compare_all"):
        return
    stack = [fixture.represent(features) for pair in fixture.pairs for features in pair]
    found = np.array(fixture.metric.compare_all(np.stack(stack)))
    for i, a in enumerate(stack):
        for j, b in enumerate(stack):
            one = (fixture.metric.compare(a, b), *fixture.metric.null_interval(a, b))
            same = np.allclose(found[:, i, j], one, atol=MAX_INVARIANT, equal_nan=True)
            require(
                same, "compare_all differs from compare and null_interval; correct or remove it"
            )


def _compare_stacks_agrees(fixture: MetricFixture) -> None:
    if not hasattr(fixture.metric, "compare_stacks"):
        return
    stacks = [[fixture.represent(features) for features in pair] for pair in fixture.pairs]
    found = fixture.metric.compare_stacks(np.stack([np.stack(pair) for pair in stacks]))
    expected = [[[fixture.metric.compare(a, b) for b in pair] for a in pair] for pair in stacks]
    same = np.shape(found) == np.shape(expected) and np.allclose(
        found, expected, atol=MAX_INVARIANT, equal_nan=True
    )
    require(same, "compare_stacks differs from compare; correct or remove it")


def _size_is_right(fixture: MetricFixture) -> None:
    if not hasattr(fixture.metric, "representation_bytes"):
        return
    stated = fixture.metric.representation_bytes(IMAGES)
    actual = fixture.represent(fixture.pairs[0][0]).nbytes
    require(
        actual / 2 <= stated <= 2 * actual,
        f"representation_bytes({IMAGES}) returns {stated}, expected about {actual}",
    )


def _variables_are_described(fixture: MetricFixture) -> None:
    variables = getattr(fixture.metric, "variables", None)
    if not callable(variables):
        return
    forms = set()
    for features in (features for pair in fixture.pairs for features in pair):
        representation = fixture.represent(features)
        before = representation.copy()
        first, second = variables(representation), variables(representation)
        unchanged = np.array_equal(representation, before, equal_nan=True)
        require(unchanged, "variables modifies a representation; work on a copy")
        forms.add(forms_of(first))
        same = all(
            np.array_equal(first[name].values, second[name].values, equal_nan=True)
            for name in first
        )
        require(same, "variables returns other numbers for the same representation")
    require(
        len(forms) == 1,
        f"variables returns {' and '.join(map(str, sorted(forms)))} for two networks, expected the "
        "same names, dimensions and sizes",
    )


def _undefined_input(value: float, fixture: MetricFixture) -> None:
    a, b = fixture.pairs[0]
    changed = a * 0 if value == 0 else a.clone()
    changed[0, 0] = value
    found = _attempt(fixture, changed, b)
    require(
        found is None or math.isnan(found),
        f"returns {found}, expected NaN (and a warning) or a RepsimError",
    )


def _refuses_other_images(fixture: MetricFixture) -> None:
    if fixture.metric.operates_on == "filters":
        return  # filters of one comparison have one basis
    a, b = fixture.pairs[0]
    found = _attempt(fixture, a, b[:, : IMAGES // 2])
    require(found is None, f"returns {found}, expected a RepsimError")


def _attempt(fixture: MetricFixture, a: Tensor, b: Tensor) -> float | None:
    """Return the value of two networks, or ``None`` if they are refused."""
    try:
        return fixture.value(a, b)
    except RepsimError:
        return None


def _invariance(name: str, fixture: MetricFixture) -> None:
    change = CHANGES[name]
    apart = max(abs(fixture.value(a, change(b)) - fixture.value(a, b)) for a, b in fixture.pairs)
    if name in fixture.metric.invariances:
        require(
            apart <= MAX_INVARIANT,
            f"declares the invariance '{name}' but changes by {apart:.2g}; correct the value or "
            "do not declare it",
        )
    else:
        require(
            apart > MIN_VARIANT,
            f"does not declare the invariance '{name}' but changes by {apart:.2g} at most; "
            "declare it",
        )


RULES: Rules = {
    "represent returns a NumPy array of finite numbers": _represents,
    "compare returns one number within the bounds": _compares,
    "compare is symmetric": _symmetric,
    "self-comparison is optimal": _self_comparison_is_optimal,
    "repeated calls agree, whatever the global random states": _deterministic,
    "inputs are not modified": _leaves_inputs,
    "null_interval returns an interval, or (nan, nan) if it is unknown": _null_interval,
    "compare_all, if defined, agrees with compare and null_interval": _compare_all_agrees,
    "compare_stacks, if defined, agrees with compare": _compare_stacks_agrees,
    "null_distribution, if defined, agrees with null_interval": null_distribution_agrees,
    "shuffle, if defined, is the representation of shuffled images": shuffle_agrees,
    "variables, if defined, are described numbers of the same form for every network": (
        _variables_are_described
    ),
    "representation_bytes, if defined, is right within a factor of 2": _size_is_right,
    "NaN input gives NaN or an error": partial(_undefined_input, math.nan),
    "all-zero input gives NaN or an error": partial(_undefined_input, 0.0),
    "different numbers of images give an error": _refuses_other_images,
}
