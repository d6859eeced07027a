"""Rules for plugins: how they are checked, and what a check reports."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from repsim_energy.errors import (
    PluginError,
    RepsimError,
    RepsimWarning,
    UndescribedOptionWarning,
    reason_of,
    warn,
)
from repsim_energy.options import options_of
from repsim_energy.registry import meanings_of

__all__ = [
    "Finding",
    "RuleViolation",
    "Rules",
    "advice_on",
    "check_rules",
    "display_name",
    "other_randomness",
    "require",
    "same_bits",
    "warn_of_undescribed_options",
]

Rules = Mapping[str, Callable[..., None]]
"""Rule in words -> function that raises :class:`RuleViolation` if the rule is broken."""


@dataclass(frozen=True)
class Finding:
    """Result of checking one rule.

    Parameters
    ----------
    rule : in words
    problem : value found, value expected and remedy; ``None`` if the rule holds

    Examples
    --------
    >>> Finding("values are finite").problem is None
    True
    """

    rule: str
    problem: str | None = None


class RuleViolation(PluginError):
    """Component of a plugin that breaks rules of its kind.

    Attributes
    ----------
    findings : the results of all rules that were checked, those that hold included
    """

    findings: tuple[Finding, ...] = ()


def display_name(kind: str, thing: object, name: str | None) -> str:
    """Return the kind and name of a component; the default name is its own."""
    return f"{kind} '{name or getattr(thing, '__name__', type(thing).__name__)}'"


def require(condition: bool, problem: str) -> None:
    """Raise :class:`RuleViolation` unless the condition holds."""
    if not condition:
        raise RuleViolation(problem)


def warn_of_undescribed_options(what: str, thing: Any, given: int) -> None:
    """Warn of options that the docstring does not describe. This breaks no rule.

    Parameters
    ----------
    what : name of the component, for the warning
    thing : the component
    given : number of leading parameters that are not options
    """
    with suppress(TypeError, ValueError):  # a callable that has no signature
        meanings = meanings_of(thing)
        names = [o.name for o in options_of(thing, given) if o.name not in meanings]
        if names:
            warn(advice_on(what, names), UndescribedOptionWarning)


def advice_on(what: str, options: Sequence[str]) -> str:
    """Return the advice for options that a docstring does not describe."""
    return (
        f"{what} does not describe {', '.join(options)}; add a section Parameters to the "
        "docstring, as numpydoc has it"
    )


def check_rules(what: str, rules: Rules, *arguments: Any) -> list[Finding]:
    """Check all rules of a component and return the findings.

    Parameters
    ----------
    what : name of the component, for the error
    rules : to check
    arguments : of the function of each rule

    Raises
    ------
    RuleViolation
        If a rule is broken, or its function raises any other exception.
    """
    findings = [Finding(rule, _problem(test, arguments)) for rule, test in rules.items()]
    broken = [f"{f.rule}: {f.problem}" for f in findings if f.problem]
    if broken:
        violation = RuleViolation(
            f"{what} breaks {len(broken)} of {len(findings)} rules; {'; '.join(broken)}"
        )
        violation.findings = tuple(findings)
        raise violation
    return findings


def _problem(test: Callable[..., None], arguments: Sequence[Any]) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RepsimWarning)  # such as of an undefined similarity
            test(*arguments)
    except RepsimError as error:
        return str(error)
    except Exception as error:
        return f"raises {reason_of(error)}"
    return None


@contextmanager
def other_randomness(seed: int) -> Iterator[None]:
    """Set the global random states temporarily, and require that nothing draws from them."""
    before = np.random.get_state()  # noqa: NPY002 (what plugins may draw from)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
            drawn = torch.rand(()), np.random.random_sample()  # noqa: NPY002
        finally:
            np.random.set_state(before)  # noqa: NPY002
        torch.manual_seed(seed)
        first = torch.rand(()), np.random.RandomState(seed).random_sample()  # noqa: NPY002
    require(drawn == first, "draws from global random numbers; use a generator of its own")


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal, NaN included."""
    return a.dtype == b.dtype and np.array_equal(
        a.detach().numpy(), b.detach().numpy(), equal_nan=a.is_floating_point()
    )
