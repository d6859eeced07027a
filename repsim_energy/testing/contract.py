"""Rules, and what was found when something was held to them."""

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
)
from repsim_energy.options import options_of
from repsim_energy.registry import meanings_of

__all__ = [
    "Broken",
    "ContractError",
    "Finding",
    "Rules",
    "advice_on",
    "demand",
    "hold",
    "other_randomness",
    "same_bits",
    "say_what_is_undescribed",
    "titled",
]

Rules = Mapping[str, Callable[..., None]]
"""What is asked, in words, and a test of it that raises :class:`Broken`."""


@dataclass(frozen=True)
class Finding:
    """One rule and what became of it.

    Parameters
    ----------
    rule : what is asked, in words
    problem : what was got, what was expected, and the remedy; ``None`` where the rule holds
    """

    rule: str
    problem: str | None = None


class ContractError(PluginError):
    """Something does not keep to the rules of its kind; ``findings`` holds all of them."""

    def __init__(self, what: str, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        broken = [f"{f.rule}: {f.problem}" for f in findings if f.problem]
        super().__init__(
            f"{what} breaks {len(broken)} of {len(findings)} rules; {'; '.join(broken)}"
        )


class Broken(Exception):  # noqa: N818 (a finding, which never leaves this room)
    """A rule does not hold."""


def titled(kind: str, thing: object, name: str | None) -> str:
    """Return what to call something, by default by its own name."""
    return f"{kind} '{name or getattr(thing, '__name__', type(thing).__name__)}'"


def demand(holds: bool, problem: str) -> None:
    """End a rule as broken unless something holds."""
    if not holds:
        raise Broken(problem)


def say_what_is_undescribed(what: str, thing: Any, given: int) -> None:
    """Warn of options that the docstring does not describe; no rule is broken by that.

    Parameters
    ----------
    given : how many leading parameters are no options
    """
    with suppress(TypeError, ValueError):  # a callable that has no signature
        meanings = meanings_of(thing)
        names = [o.name for o in options_of(thing, given) if o.name not in meanings]
        if names:
            warnings.warn(advice_on(what, names), UndescribedOptionWarning, stacklevel=3)


def advice_on(what: str, options: Sequence[str]) -> str:
    """Return what to do about options that a docstring does not describe."""
    return (
        f"{what} does not say what {', '.join(options)} {'mean' if options[1:] else 'means'}; "
        "describe options in a section Parameters of the docstring, as numpydoc has it"
    )


def hold(what: str, rules: Rules, *arguments: Any) -> list[Finding]:
    """Hold something to rules, each called with the arguments.

    Raises
    ------
    ContractError
        Where a rule is broken, or raises what it does not expect.
    """
    findings = [Finding(rule, _problem(test, arguments)) for rule, test in rules.items()]
    if any(finding.problem for finding in findings):
        raise ContractError(what, findings)
    return findings


def _problem(test: Callable[..., None], arguments: Sequence[Any]) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RepsimWarning)  # such as of what is undefined
            test(*arguments)
    except (Broken, RepsimError) as said:
        return str(said)
    except Exception as error:
        return f"raises {reason_of(error)}"
    return None


@contextmanager
def other_randomness(seed: int) -> Iterator[None]:
    """Set the global random states for a while, and demand that nothing draws from them."""
    kept = np.random.get_state()  # noqa: NPY002 (what plugins may draw from)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        try:
            yield
            drawn = torch.rand(()), np.random.random_sample()  # noqa: NPY002
        finally:
            np.random.set_state(kept)  # noqa: NPY002
        torch.manual_seed(seed)
        first = torch.rand(()), np.random.RandomState(seed).random_sample()  # noqa: NPY002
    demand(drawn == first, "draws from global random numbers; use a generator of its own")


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal, NaN included."""
    return a.dtype == b.dtype and np.array_equal(
        a.detach().numpy(), b.detach().numpy(), equal_nan=a.is_floating_point()
    )
