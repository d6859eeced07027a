"""Check all components of a plugin against the rules of their kinds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from repsim_energy.errors import (
    RepsimError,
    UndescribedOptionWarning,
    UsageError,
    unknown_name,
)
from repsim_energy.interfaces import ImageSet
from repsim_energy.registry import (
    Entry,
    Registry,
    describe,
    load_dataset,
    resolve_metric,
    resolve_model,
    resolve_variant,
)
from repsim_energy.registry.plugins import HOOKS
from repsim_energy.specs import parse_spec
from repsim_energy.testing.contract import Finding, RuleViolation, advice_on
from repsim_energy.testing.datasets import Splits, check_splits
from repsim_energy.testing.metrics import check_metric
from repsim_energy.testing.models import check_model
from repsim_energy.testing.variants import check_variant

__all__ = ["Report", "check_plugin"]


@dataclass(frozen=True)
class Report:
    """Results of checking one component.

    Parameters
    ----------
    distribution : that offers it
    hook : that returns it; ``entry point`` for problems of the whole plugin
    spec : its name with the options that it was checked with
    findings : one for each rule
    advice : on options without a description; empty if all are described
    """

    distribution: str
    hook: str
    spec: str
    findings: tuple[Finding, ...]
    advice: str = ""

    @property
    def broken(self) -> list[Finding]:
        """Findings of broken rules."""
        return [finding for finding in self.findings if finding.problem]


def check_plugin(registry: Registry, name: str, specs: Sequence[str] = ()) -> Iterator[Report]:
    """Check the components of a plugin and yield a report for each.

    Parameters
    ----------
    registry : that contains the plugin
    name : of its distribution, its entry point or its file
    specs : components to check with options, such as ``"imagenet:root=photos"`` if an option has
        no default, or members of a family; others are checked by their bare name

    Raises
    ------
    UsageError
        For unknown plugins and components.
    """
    plugins = registry.plugins_called(name)
    entries = [entry for entry in registry.all_entries() if entry.plugin in plugins]
    chosen = {spec: _entry_of(spec, entries) for spec in specs}
    for plugin in plugins:
        findings = [
            *(Finding("can be loaded as a whole", problem) for problem in plugin.problems),
            *(Finding("changes nothing else when it is loaded", note) for note in plugin.notes),
        ]
        if findings:
            yield Report(plugin.distribution, "entry point", plugin.name, tuple(findings))
    hooks = {kind: hook for hook, kind in HOOKS.items()}
    for entry in entries:
        given = [spec for spec, of in chosen.items() if of is entry]
        for spec in given or [_first(entry)]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", UndescribedOptionWarning)  # the report contains it
                found = _findings(registry, entry, spec)
            advice = _advice(registry, entry, spec)
            yield Report(entry.plugin.distribution, hooks[entry.kind], spec, tuple(found), advice)


def _entry_of(spec: str, entries: Sequence[Entry]) -> Entry:
    name = parse_spec(spec).name
    for entry in entries:
        if name == entry.name or (entry.name.endswith("/*") and name.startswith(entry.name[:-1])):
            return entry
    raise unknown_name("name of that plugin", name, [entry.name for entry in entries])


def _first(entry: Entry) -> str:
    """Return the spec to check by default: the name, or the example or first member of a family."""
    if not entry.name.endswith("/*"):
        return entry.name
    try:
        family = entry.load()
        member = getattr(family, "example", None) or min(entry.members())
        return f"{entry.name[:-1]}{member}"
    except (RepsimError, ValueError):  # it has no member
        return entry.name  # the check then reports why it cannot be loaded


def _findings(registry: Registry, entry: Entry, spec: str) -> Sequence[Finding]:
    try:
        return _CHECKS[entry.kind](registry, spec)
    except RuleViolation as error:
        return error.findings
    except RepsimError as error:
        remedy = (
            f"; give its options, specs={spec}:OPTION=..." if isinstance(error, UsageError) else ""
        )
        return [Finding("can be loaded with these options", f"{error}{remedy}")]


def _advice(registry: Registry, entry: Entry, spec: str) -> str:
    try:
        _, options = describe(registry, entry.kind, parse_spec(spec).name)
    except RepsimError:
        return ""  # reported as a finding
    names = [option.name for option in options if not option.meaning]
    return advice_on(entry.called, names) if names else ""


def _check_metric(registry: Registry, spec: str) -> list[Finding]:
    return check_metric(resolve_metric(registry, spec).plain)


def _check_model(registry: Registry, spec: str) -> list[Finding]:
    return check_model(resolve_model(registry, spec).build, name=spec)


def _check_dataset(registry: Registry, spec: str) -> list[Finding]:
    def load() -> list[ImageSet]:
        loaded = load_dataset(registry, spec)
        return [loaded.train, loaded.test]

    splits = Splits(load)
    _ = splits.first  # errors of the options are reported separately
    return check_splits(f"data set '{spec}'", splits)


def _check_variant(registry: Registry, spec: str) -> list[Finding]:
    return check_variant(resolve_variant(registry, spec), name=spec)


_CHECKS: dict[str, Callable[[Registry, str], list[Finding]]] = {
    "metric": _check_metric,
    "model": _check_model,
    "dataset": _check_dataset,
    "variant": _check_variant,
}
