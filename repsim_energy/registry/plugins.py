"""Find the plugins, load each in isolation, and hold what they offer under its name."""

from __future__ import annotations

import fnmatch
import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib import metadata
from typing import Any, Literal

import pluggy

from repsim_energy import hookspecs
from repsim_energy.errors import PluginError, PluginWarning, reason_of, unknown_name
from repsim_energy.versions import OWN, version_of

__all__ = ["Entry", "Kind", "Plugin", "Registry", "load_registry"]

Kind = Literal["metric", "model", "dataset", "variant"]

HOOKS: dict[str, Kind] = {
    "repsim_metrics": "metric",
    "repsim_models": "model",
    "repsim_datasets": "dataset",
    "repsim_variants": "variant",
}

FAILED = object()
"""What a guarded call gives that raised; a hook may well return None."""

BUILT_IN = ("repsim_energy.metrics", "repsim_energy.models", "repsim_energy.data")


@dataclass
class Plugin:
    """One entry point and what became of it."""

    name: str
    distribution: str
    version: str
    provides: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    @property
    def origin(self) -> dict[str, str]:
        """Distribution -> version, as results record it."""
        return {self.distribution: self.version}

    @property
    def status(self) -> str:
        """``ok``, ``partial`` (some of it works) or ``failed``."""
        if not self.problems:
            return "ok"
        return "partial" if any(self.provides.values()) else "failed"


@dataclass(frozen=True)
class Entry:
    """A thing under a name, loaded when it is asked for."""

    kind: Kind
    name: str
    thing: Any
    plugin: Plugin

    @property
    def built_in(self) -> bool:
        """Whether it comes with this package."""
        return self.plugin.distribution == OWN

    @property
    def called(self) -> str:
        """What to call it in an error, with where it comes from."""
        return f"{self.kind} '{self.name}' of {self.plugin.distribution}"

    def load(self) -> Any:
        """Return the object, importing it now where it is a ``"module:attribute"`` string."""
        if not isinstance(self.thing, str):
            return self.thing
        module, _, attribute = self.thing.partition(":")
        try:
            target = importlib.import_module(module)
            for part in attribute.split("."):
                target = getattr(target, part)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(
                f"{self.called} cannot be loaded from '{self.thing}': {reason_of(error)}; repair "
                "or remove that distribution"
            ) from error
        return target


class Registry:
    """All metrics, models, datasets and variants, and the plugins that they come from."""

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in HOOKS.values()}

    def add(self, kind: Kind, name: str, thing: Any, plugin: Plugin) -> None:
        """Put a thing under a name; the first to come keeps it."""
        if not isinstance(name, str) or not name:
            plugin.problems.append(f"{kind} name {name!r} is not a string; use a non-empty one")
        elif not (callable(thing) or kind == "metric" or _is_lazy(thing)):
            plugin.problems.append(
                f"{kind} '{name}' is {type(thing).__name__}, expected a callable or a "
                "'module:attribute' string"
            )
        elif name in self._entries[kind]:
            owner = self._entries[kind][name].plugin.distribution
            plugin.problems.append(
                f"{kind} '{name}' is already offered by {owner}, which keeps it; rename yours"
            )
        else:
            self._entries[kind][name] = Entry(kind, name, thing, plugin)
            plugin.provides.setdefault(kind, []).append(name)

    def all_entries(self) -> list[Entry]:
        """Return everything of every kind."""
        return [entry for kind in self._entries for entry in self.entries(kind)]

    def entries(self, kind: Kind) -> list[Entry]:
        """Return everything of a kind, by name."""
        return [entry for _, entry in sorted(self._entries[kind].items())]

    def names(self, kind: Kind, pattern: str = "*") -> list[str]:
        """Return the names that match a shell-style pattern, members of families included.

        Members are listed only for a pattern that reaches into their family, because asking a
        family for its members may import a large library.
        """
        names = [entry.name for entry in self.entries(kind)]
        for family in [name for name in names if name.endswith("/*")]:
            prefix = family[:-1]
            if pattern.startswith(prefix):
                names += [prefix + member for member in self._entries[kind][family].load().names()]
        return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return the entry of a name, or of the family that a ``prefix/member`` belongs to."""
        known = self._entries[kind]
        if name in known and not name.endswith("/*"):
            return known[name]
        family = name.partition("/")[0] + "/*"
        if "/" in name and family in known:
            return known[family]
        raise unknown_name(kind, name, known)


def load_registry(*, plugins: bool = True, strict: bool | None = None) -> Registry:
    """Return the registry of the built-ins and, unless switched off, of installed plugins.

    A plugin that fails in any way is left out with a :class:`PluginWarning`, and everything else
    goes on. What ends the process (a segmentation fault, ``os._exit``) cannot be kept out.

    Parameters
    ----------
    plugins : False loads the built-ins alone and imports nothing of other distributions
    strict : True raises instead of warning; by default as ``REPSIM_STRICT_PLUGINS=1`` says

    Raises
    ------
    PluginError
        In strict mode, for the first plugin with a problem.
    """
    strict = os.environ.get("REPSIM_STRICT_PLUGINS") == "1" if strict is None else strict
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    registry = Registry()
    for module in BUILT_IN:
        _take_in(
            registry,
            manager,
            Plugin(module.split(".")[-1], OWN, version_of(OWN)),
            partial(importlib.import_module, module),
        )
    for point in _entry_points() if plugins else []:
        dist = point.dist
        plugin = Plugin(
            point.name, dist.name if dist else "unknown", dist.version if dist else "unknown"
        )
        _take_in(registry, manager, plugin, point.load)
    for plugin in registry.plugins:
        _report(plugin, strict)
    return registry


def _entry_points() -> list[metadata.EntryPoint]:
    found = metadata.entry_points(group=hookspecs.GROUP)
    return sorted(found, key=lambda point: (point.dist.name if point.dist else "", point.name))


def _take_in(
    registry: Registry,
    manager: pluggy.PluginManager,
    plugin: Plugin,
    load: Callable[[], Any],
) -> None:
    """Load one plugin and call its hooks; whatever goes wrong is written on the plugin."""
    registry.plugins.append(plugin)
    key = f"{plugin.distribution}:{plugin.name}:{len(registry.plugins)}"
    found = _guarded(plugin, "cannot be loaded", load)
    if found is FAILED:
        return
    kept = _guarded(plugin, "does not keep to the hooks", lambda: manager.register(found, key))
    if kept is FAILED:
        return
    callers = manager.get_hookcallers(found) or []
    if not callers:
        plugin.problems.append(f"has no hook, expected at least one of {', '.join(HOOKS)}")
    for caller in callers:
        if caller.name not in HOOKS:
            plugin.problems.append(_misspelt(caller.name))
            continue
        hook = next(i.function for i in caller.get_hookimpls() if i.plugin is found)
        things = _guarded(plugin, f"hook {caller.name} failed", hook)
        if isinstance(things, Mapping):
            for name, thing in things.items():
                registry.add(HOOKS[caller.name], name, thing, plugin)
        elif things is not FAILED:
            plugin.problems.append(
                f"hook {caller.name} returned {type(things).__name__}, expected a mapping from "
                "name to thing"
            )


def _guarded(plugin: Plugin, what: str, call: Callable[[], Any]) -> Any:
    try:
        return call()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit included: no plugin may end the program
        plugin.problems.append(f"{what}: {reason_of(error)}")
        return FAILED


def _misspelt(name: str) -> str:
    close = get_close_matches(name, HOOKS, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown hook '{name}'; {hint}known: {', '.join(HOOKS)}"


def _is_lazy(thing: Any) -> bool:
    return isinstance(thing, str) and all(thing.partition(":"))


def _report(plugin: Plugin, strict: bool) -> None:
    for problem in plugin.problems:
        message = f"plugin '{plugin.name}' of {plugin.distribution} {plugin.version}: {problem}"
        if strict:
            raise PluginError(f"{message} (REPSIM_STRICT_PLUGINS is set)")
        warnings.warn(f"{message}; left out", PluginWarning, stacklevel=3)
