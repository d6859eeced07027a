"""The rules that a metric keeps to."""

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

__all__ = ["check_metric"]

CLOSE, FAR = 1e-5, 1e-3
"""How far values may lie apart under what a metric ignores, and how far they must otherwise."""


def check_metric(metric: Metric) -> list[Finding]:
    """Hold a metric to its interface, to what it declares, and to good manners.

    Declared invariances have to hold and undeclared ones to fail, on random filter banks over the
    basis of generated images or on random activations, as the metric asks for.

    Raises
    ------
    RuleViolation
        Which rules are broken, and what to do about each.

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


def _represents(trial: MetricFixture) -> None:
    for a, _ in trial.pairs:
        found = trial.represent(a)
        kind = f"{type(found).__name__} of {getattr(found, 'dtype', 'no type')}"
        numbers = isinstance(found, np.ndarray) and found.dtype.kind in "fiu" and found.size > 0
        require(numbers, f"represent gives {kind}, expected a NumPy array of numbers")
        finite = bool(np.isfinite(found).all())
        require(finite, "represent gives NaN or infinite numbers of finite ones")


def _compares(trial: MetricFixture) -> None:
    low, high = trial.metric.bounds
    for a, b in trial.pairs:
        found = trial.metric.compare(trial.represent(a), trial.represent(b))
        number = isinstance(found, float | int | np.floating)
        require(number, f"compare gives {type(found).__name__}, expected a float")
        require(
            low - CLOSE <= found <= high + CLOSE,
            f"compare gives {found:.6g}, expected a number from {low} to {high}; mend the value "
            "or the declared bounds",
        )


def _symmetric(trial: MetricFixture) -> None:
    for a, b in trial.pairs:
        one, other = trial.value(a, b), trial.value(b, a)
        require(
            abs(one - other) <= CLOSE,
            f"compare(a, b) is {one:.6g} and compare(b, a) {other:.6g}, expected the same; take "
            "the mean of both",
        )


def _knows_itself(trial: MetricFixture) -> None:
    similarity = trial.metric.direction == "similarity"
    best = trial.metric.bounds[similarity]
    for a, b in trial.pairs:
        itself, other = trial.value(a, a), trial.value(a, b)
        require(
            itself > other if similarity else itself < other,
            f"gives {itself:.6g} for a network and itself and {other:.6g} for two networks but "
            f"declares a {trial.metric.direction}; mend the value or the direction",
        )
        require(
            not math.isfinite(best) or abs(itself - best) <= CLOSE,
            f"gives {itself:.6g} for a network and itself, expected the bound {best}",
        )


def _deterministic(trial: MetricFixture) -> None:
    a, b = trial.pairs[0]
    found = []
    for seed in (1, 2):
        with other_randomness(seed):
            x, y = trial.represent(a), trial.represent(b)
            found.append((float(trial.metric.compare(x, y)), *trial.metric.null_interval(x, y)))
    same = np.array_equal(found[0], found[1], equal_nan=True)
    require(same, f"gives {found[0]} and then {found[1]}; use a generator with a fixed seed")


def _leaves_inputs(trial: MetricFixture) -> None:
    a, b = trial.pairs[0]
    shown = a.clone()
    trial.metric.represent(trial.subject(shown))
    require(same_bits(shown, a), "represent changes its subject; work on a copy")
    x, y = trial.represent(a), trial.represent(b)
    kept = x.copy(), y.copy()
    trial.metric.compare(x, y)
    trial.metric.null_interval(x, y)
    unchanged = all(map(np.array_equal, (x, y), kept))
    require(unchanged, "compare or null_interval changes a representation; work on a copy")


def _null_interval(trial: MetricFixture) -> None:
    a, b = trial.pairs[0]
    low, high = trial.metric.null_interval(trial.represent(a), trial.represent(b))
    unknown = math.isnan(low) and math.isnan(high)
    require(
        unknown or low < high,
        f"null_interval gives ({low}, {high}), expected a lower and a higher number; (nan, nan) "
        "says that none is known",
    )


def _all_at_once(trial: MetricFixture) -> None:
    if not hasattr(trial.metric, "compare_all"):
        return
    stack = [trial.represent(units) for pair in trial.pairs for units in pair]
    found = np.array(trial.metric.compare_all(np.stack(stack)))
    for i, a in enumerate(stack):
        for j, b in enumerate(stack):
            one = (trial.metric.compare(a, b), *trial.metric.null_interval(a, b))
            same = np.allclose(found[:, i, j], one, atol=CLOSE, equal_nan=True)
            require(
                same, "compare_all differs from compare and null_interval; leave it out or mend it"
            )


def _says_its_size(trial: MetricFixture) -> None:
    if not hasattr(trial.metric, "representation_bytes"):
        return
    stated = trial.metric.representation_bytes(IMAGES)
    actual = trial.represent(trial.pairs[0][0]).nbytes
    require(
        actual / 2 <= stated <= 2 * actual,
        f"representation_bytes({IMAGES}) gives {stated}, expected about {actual}",
    )


def _spoilt(value: float, trial: MetricFixture) -> None:
    a, b = trial.pairs[0]
    spoilt = a * 0 if value == 0 else a.clone()
    spoilt[0, 0] = value
    found = _attempt(trial, spoilt, b)
    require(
        found is None or math.isnan(found),
        f"gives {found}, expected NaN (and a warning) or a RepsimError",
    )


def _refuses_what_does_not_fit(trial: MetricFixture) -> None:
    if trial.metric.operates_on == "filters":
        return  # one comparison has one basis
    a, b = trial.pairs[0]
    found = _attempt(trial, a, b[:, : IMAGES // 2])
    require(found is None, f"gives {found}, expected a RepsimError")


def _attempt(trial: MetricFixture, a: Tensor, b: Tensor) -> float | None:
    """Return the value of two networks, or ``None`` where it is refused."""
    try:
        return trial.value(a, b)
    except RepsimError:
        return None


def _invariance(name: str, trial: MetricFixture) -> None:
    change = CHANGES[name]
    apart = max(abs(trial.value(a, change(b)) - trial.value(a, b)) for a, b in trial.pairs)
    if name in trial.metric.invariances:
        require(
            apart <= CLOSE,
            f"declares the invariance '{name}' but changes by {apart:.2g}; mend the value or do "
            "not declare it",
        )
    else:
        require(
            apart > FAR,
            f"does not declare the invariance '{name}' but changes by {apart:.2g} at most; "
            "declare it",
        )


RULES: Rules = {
    "represent returns a NumPy array of finite numbers": _represents,
    "compare returns one number within the bounds": _compares,
    "compare is symmetric": _symmetric,
    "self-comparison is optimal": _knows_itself,
    "repeated calls agree, whatever the global random states": _deterministic,
    "inputs are not modified": _leaves_inputs,
    "null_interval returns an interval, or (nan, nan) if it is unknown": _null_interval,
    "compare_all, if defined, agrees with compare and null_interval": _all_at_once,
    "representation_bytes, if defined, is right within a factor of 2": _says_its_size,
    "NaN input gives NaN or an error": partial(_spoilt, math.nan),
    "all-zero input gives NaN or an error": partial(_spoilt, 0.0),
    "different numbers of images give an error": _refuses_what_does_not_fit,
}
