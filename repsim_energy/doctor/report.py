"""Format the report as plain text of at most 96 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from repsim_energy.doctor.checks import Finding
from repsim_energy.doctor.facts import Facts
from repsim_energy.registry import Plugin

__all__ = ["format_finding", "format_facts", "format_topic", "summarize"]

WIDTH, INDENT, NAME_WIDTH = 96, 14, 46
"""In columns."""


def format_facts(facts: Facts, plugins: Sequence[Plugin]) -> Iterator[str]:
    """Yield the topics, the plugins, and the header of the table of checks."""
    for topic, answers in facts.items():
        yield format_topic(topic, answers)
    for plugin in plugins:
        status = f"{plugin.name} of {plugin.origin}: {plugin.status}"
        yield _filled("plugin", "; ".join([status, *plugin.problems, *plugin.notes]))
    yield ""
    yield _row("device", "threads", "check", "off by", "allowed", "seconds")


def format_finding(finding: Finding) -> str:
    """Return a row of the table, followed by its problem and warnings."""
    deviation = "-" if finding.deviation is None else f"{finding.deviation:.1e}"
    row = _row(
        finding.device,
        str(finding.threads),
        finding.name,
        deviation,
        f"{finding.allowed:.1e}",
        f"{finding.seconds:.2f}",
    )
    lines = [row]
    if finding.problem is not None:
        lines.append(_wrapped(f"FAILED: expected {finding.expected}; {finding.problem}"))
    lines += [_wrapped(f"warning: {text}") for text in finding.warnings]
    return "\n".join(lines)


def _row(device: str, threads: str, name: str, *numbers: str) -> str:
    columns = " ".join(f"{number:>8}" for number in numbers)
    return f"{device:<7} {threads:>7} {name:<{NAME_WIDTH}} {columns}"


def summarize(findings: Sequence[Finding]) -> str:
    """Return the last line of the report, with the failed checks."""
    failed = [f"{f.name} ({f.device})" for f in findings if not f.passed]
    if not failed:
        return f"all {len(findings)} checks passed"
    return _wrapped(f"{len(failed)} of {len(findings)} checks FAILED: {'; '.join(failed)}", 0)


def format_topic(topic: str, answers: Mapping[str, str]) -> str:
    """Return a topic and its answers as a paragraph."""
    return _filled(topic, "; ".join(f"{k} {v}" for k, v in answers.items()) or "nothing set")


def _filled(topic: str, text: str) -> str:
    indent = " " * INDENT
    return textwrap.fill(
        f"{topic:<{INDENT}}{text}", WIDTH, subsequent_indent=indent, break_on_hyphens=False
    )


def _wrapped(text: str, indent: int = 8) -> str:
    space = " " * indent
    return textwrap.fill(text, WIDTH, initial_indent=space, subsequent_indent=space)
