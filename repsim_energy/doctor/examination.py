"""Collect facts about this machine and run all checks."""

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
from repsim_energy.doctor.checks import Check, Finding, run_check
from repsim_energy.doctor.facts import Facts, kernel_facts, machine_facts
from repsim_energy.doctor.report import format_facts, format_finding, format_topic, summarize
from repsim_energy.errors import PluginWarning
from repsim_energy.registry import Plugin, Registry, load_registry

__all__ = ["Examination", "devices", "examine", "all_checks"]

CHECK_MODULES = (
    patch_checks,
    profile_checks,
    image_checks,
    feature_checks,
    training_checks,
    file_checks,
)
"""Modules with a function ``checks(device)``."""


@dataclass(frozen=True, eq=False)
class Examination:
    """Facts about a machine, and results of the checks.

    Parameters
    ----------
    facts : topic -> question -> answer
    plugins : plugins with their status and problems
    findings : results of the checks, on each device
    """

    facts: Facts
    plugins: tuple[Plugin, ...]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """True if all checks passed."""
        return all(finding.passed for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {
            "passed": self.passed,
            "summary": summarize(self.findings),
            "facts": self.facts,
            "plugins": [plugin.as_dict() for plugin in self.plugins],
            "checks": [finding.as_dict() for finding in self.findings],
        }


def examine(
    registry: Registry | None = None, *, show: Callable[[str], None] | None = None
) -> Examination:
    """Collect the facts for a bug report, and compare all kernels with known answers.

    Nothing is sent anywhere. An exception in a kernel counts as a failed check; the other checks
    still run.

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
    print_line = show or (lambda line: None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PluginWarning)  # part of the report
        loaded = tuple((registry or load_registry(strict=False)).plugins)
    facts = machine_facts()
    for line in format_facts(facts, loaded):
        print_line(line)
    findings = []
    for device, check in all_checks():
        findings.append(run_check(check, device))
        print_line(format_finding(findings[-1]))
    kernels = kernel_facts()
    for line in ("", format_topic("kernels", kernels), summarize(findings)):
        print_line(line)
    return Examination({**facts, "kernels": kernels}, loaded, tuple(findings))


def devices() -> list[torch.device]:
    """Return the devices that this package can use: the CPU, and each CUDA GPU."""
    return [
        torch.device("cpu"),
        *(torch.device("cuda", i) for i in range(torch.cuda.device_count())),
    ]


def all_checks() -> Iterator[tuple[str, Check]]:
    """Yield all checks with the name of their device."""
    for device in devices():
        for module in CHECK_MODULES:
            for check in module.checks(device):
                yield str(device), check
