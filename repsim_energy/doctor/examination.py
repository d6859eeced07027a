"""Look at this machine, and ask every kernel for an answer that is known."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch

from repsim_energy.doctor import (
    feature_checks,
    file_checks,
    image_checks,
    patch_checks,
    profile_checks,
    training_checks,
)
from repsim_energy.doctor.checks import Check, Finding, hold
from repsim_energy.doctor.facts import Facts, facts_of_kernels, facts_of_machine
from repsim_energy.doctor.report import line_of, lines_of_facts, paragraph, summary_of
from repsim_energy.errors import PluginWarning
from repsim_energy.registry import Plugin, Registry, load_registry

__all__ = ["Examination", "devices", "examine", "known_answers"]

ROOMS = (
    patch_checks,
    profile_checks,
    image_checks,
    feature_checks,
    training_checks,
    file_checks,
)
"""Each has ``checks(device)``."""


@dataclass(frozen=True, eq=False)
class Examination:
    """What was found about a machine.

    Parameters
    ----------
    facts : topic -> what is asked -> the answer
    plugins : each with its status and problems
    findings : what each check found, on each device
    """

    facts: Facts
    plugins: tuple[Plugin, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether every number is right."""
        return all(finding.passed for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return all of it as plain values, for JSON."""
        return {
            "passed": self.passed,
            "summary": summary_of(self.findings),
            "facts": self.facts,
            "plugins": [plugin.as_dict() for plugin in self.plugins],
            "checks": [finding.as_dict() for finding in self.findings],
        }


def examine(
    registry: Registry | None = None, *, show: Callable[[str], None] | None = None
) -> Examination:
    """Collect the facts of a bug report, and compare what the kernels compute with known answers.

    Nothing is sent anywhere. What a kernel raises is a finding, and the other checks go on.

    Parameters
    ----------
    registry : whose plugins to report; by default those that are installed
    show : called with each line of the report as soon as it is known

    Examples
    --------
    >>> from repsim_energy.doctor import examine
    >>> examine().passed  # doctest: +SKIP
    True
    """
    tell = show or (lambda line: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # the report says it
        found = tuple((registry or load_registry(strict=False)).plugins)
    facts = facts_of_machine()
    for line in lines_of_facts(facts, found):
        tell(line)
    findings = []
    for device, check in known_answers():
        findings.append(hold(check, device))
        tell(line_of(findings[-1]))
    ways = facts_of_kernels()
    for line in ("", paragraph("kernels", ways), summary_of(findings)):
        tell(line)
    return Examination({**facts, "kernels": ways}, found, tuple(findings))


def devices() -> list[torch.device]:
    """Return the devices that this package computes on: the CPU, and each GPU of CUDA."""
    return [
        torch.device("cpu"),
        *(torch.device("cuda", i) for i in range(torch.cuda.device_count())),
    ]


def known_answers() -> Iterator[tuple[str, Check]]:
    """Yield every check with its device."""
    for device in devices():
        for room in ROOMS:
            for check in room.checks(device):
                yield str(device), check
