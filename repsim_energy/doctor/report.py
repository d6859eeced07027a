"""The report as plain text, narrow enough to be pasted anywhere."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from repsim_energy.doctor.checks import Finding
from repsim_energy.doctor.facts import Facts
from repsim_energy.registry.plugins import Plugin

__all__ = ["line_of", "lines_of_facts", "paragraph", "summary_of"]

WIDTH, INDENT = 96, 14

NAME = 46
"""Columns of a check's name."""


def lines_of_facts(facts: Facts, plugins: Sequence[Plugin]) -> Iterator[str]:
    """Yield a paragraph for each topic, the plugins, and the head of the table of checks."""
    for topic, answers in facts.items():
        yield paragraph(topic, answers)
    for plugin in plugins:
        said = f"{plugin.name} of {plugin.origin}: {plugin.status}"
        yield _filled("plugin", "; ".join([said, *plugin.problems]))
    yield ""
    yield _row("device", "threads", "check", "off by", "allowed", "seconds")


def line_of(finding: Finding) -> str:
    """Return a row of the table; what is wrong stands below it."""
    deviation = "-" if finding.deviation is None else f"{finding.deviation:.1e}"
    row = _row(
        finding.device,
        str(finding.threads),
        finding.name,
        deviation,
        f"{finding.allowed:.1e}",
        f"{finding.seconds:.2f}",
    )
    said = [] if finding.problem is None else [f"expected {finding.expected}; {finding.problem}"]
    below = [_wrapped(f"FAILED: {text}") for text in said]
    below += [_wrapped(f"warning: {text}") for text in finding.warnings]
    return "\n".join([row, *below])


def _row(device: str, threads: str, name: str, *numbers: str) -> str:
    columns = " ".join(f"{number:>8}" for number in numbers)
    return f"{device:<7} {threads:>7} {name:<{NAME}} {columns}"


def summary_of(findings: Sequence[Finding]) -> str:
    """Return the last line: that all is well, or what is not."""
    failed = [f"{f.name} ({f.device})" for f in findings if not f.passed]
    if not failed:
        return f"all {len(findings)} checks passed"
    return _wrapped(f"{len(failed)} of {len(findings)} checks FAILED: {'; '.join(failed)}", 0)


def paragraph(topic: str, answers: Mapping[str, str]) -> str:
    """Return what there is to say of a topic."""
    return _filled(topic, "; ".join(f"{k} {v}" for k, v in answers.items()) or "nothing set")


def _filled(topic: str, text: str) -> str:
    indent = " " * INDENT
    return textwrap.fill(
        f"{topic:<{INDENT}}{text}", WIDTH, subsequent_indent=indent, break_on_hyphens=False
    )


def _wrapped(text: str, indent: int = 8) -> str:
    space = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=space, subsequent_indent=space)
