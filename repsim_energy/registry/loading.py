"""Load the built-ins and all plugins, each isolated from the faults of the others."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import partial
from itertools import islice
from typing import Any

import pluggy

from repsim_energy import hookspecs
from repsim_energy.errors import PluginError, PluginWarning, UsageError, reason_of, warn
from repsim_energy.registry.entry_points import entry_points
from repsim_energy.registry.plugin import Plugin
from repsim_energy.registry.plugin_file import PluginFile, read_plugin_files
from repsim_energy.registry.plugins import HOOKS, Registry
from repsim_energy.registry.time_limit import plugin_seconds
from repsim_energy.versions import OWN, Origin, version_of

__all__ = ["load_registry"]

BUILT_IN = ("repsim_energy.metrics", "repsim_energy.models", "repsim_energy.data")

YES = ("1", "true", "t", "yes", "y", "on")
"""Values of a variable of the environment that mean yes, as click reads them."""

MAX_COMPONENTS = 10_000
"""Maximum number of components that a hook can return."""

FAILED = object()
"""Result of a guarded call that raised; a hook may well return None."""


def load_registry(
    plugins: bool | str | os.PathLike[str] | Iterable[str | os.PathLike[str]] = True,
    *,
    installed: bool = True,
    strict: bool | None = None,
) -> Registry:
    """Return the registry of the built-ins, the installed plugins and single-file plugins.

    An installed plugin that fails is left out with a :class:`PluginWarning`. A file that fails is
    refused, because it was asked for by name. Plugins are loaded one after the other, each with a
    limited time (``REPSIM_PLUGIN_SECONDS``, 60). Their output is not shown, and settings of the
    process that they change are restored, with a warning. A plugin that ends the process (a
    segmentation fault, ``os._exit``) cannot be isolated.

    Parameters
    ----------
    plugins : path or paths of Python files with hooks, which are loaded too. ``True`` loads no
        file; ``False`` loads the built-ins alone and imports nothing else
    installed : whether to load the plugins of installed distributions. The environment variable
        ``REPSIM_NO_PLUGINS`` (``1``) leaves them out in any case
    strict : ``True`` raises instead of warning; by default this is read from the environment
        variable ``REPSIM_STRICT_PLUGINS`` (``1``)

    Returns
    -------
    Registry
        To be passed to ``compare(registry=...)``.

    Raises
    ------
    UsageError
        For a file that is missing, cannot be loaded, has no hooks, is given twice, or offers a
        name that is taken; for a time limit that is no positive number.
    PluginError
        In strict mode, for the first installed plugin with a problem.

    Examples
    --------
    >>> registry = load_registry(installed=False)
    >>> registry.names("metric")
    ['cka', 'covariance', 'energy', 'energy_profile_correlation']
    """
    strict = os.environ.get("REPSIM_STRICT_PLUGINS") == "1" if strict is None else strict
    paths = [plugins] if isinstance(plugins, str | os.PathLike) else plugins
    files = read_plugin_files([] if isinstance(paths, bool) else paths)
    plugin_seconds()  # refused now
    registry = Registry()
    for module in BUILT_IN:
        plugin = Plugin(module.split(".")[-1], Origin(OWN, version_of(OWN)))
        _add(registry, plugin, partial(importlib.import_module, module))
    if plugins is not False and installed and not _are_left_out():
        for origin, point in entry_points():
            _add(registry, Plugin(point.name, origin), point.load)
    for file in files:
        _add_file(registry, file)
    for plugin in registry.plugins:
        _report(plugin, strict)
    return registry


def _are_left_out() -> bool:
    return os.environ.get("REPSIM_NO_PLUGINS", "").strip().lower() in YES


def _add_file(registry: Registry, file: PluginFile) -> None:
    plugin = Plugin(file.name, file.origin, file=file)
    _add(registry, plugin, file.load)
    if plugin.problems:
        raise UsageError(f"plugin file '{file.path}' {'; '.join(plugin.problems)}")


def _add(registry: Registry, plugin: Plugin, load: Callable[[], Any]) -> None:
    """Load a plugin and register its components. Failures are recorded as its problems.

    Each plugin has a plugin manager of its own. pluggy validates and calls its hooks, and no
    plugin can change the components of another one.
    """
    registry.plugins.append(plugin)
    module = _guarded(plugin, "cannot be loaded", load)
    if module is FAILED:
        return
    manager = pluggy.PluginManager(hookspecs.GROUP)
    manager.add_hookspecs(hookspecs)
    register = partial(manager.register, module)
    if _guarded(plugin, "does not keep to the hooks", register) is FAILED:
        return
    callers = list(dict.fromkeys(manager.get_hookcallers(module) or []))  # each once
    if not callers:
        plugin.problems.append(f"has no hook, expected at least one of {', '.join(HOOKS)}")
    try:
        manager.check_pending()
    except pluggy.PluginValidationError:  # which names one unknown hook and suggests none
        unknown = [caller.name for caller in callers if caller.name not in HOOKS]
        plugin.problems += map(_unknown_hook, unknown)
    for caller in callers:
        if caller.name in HOOKS:
            add = partial(_add_components, registry, plugin, caller)
            _guarded(plugin, f"hook {caller.name} failed", add)


def _add_components(registry: Registry, plugin: Plugin, caller: pluggy.HookCaller) -> None:
    mappings = caller()
    if not isinstance(mappings, list):  # of a wrapper
        mappings = [mappings]
    for mapping in mappings or [None]:  # pluggy leaves out None
        if not isinstance(mapping, Mapping):
            plugin.problems.append(
                f"hook {caller.name} returned {type(mapping).__name__}, expected a mapping from "
                "name to component"
            )
            continue
        for name, thing in islice(mapping.items(), MAX_COMPONENTS):
            registry.add(HOOKS[caller.name], name, thing, plugin)
        if len(mapping) > MAX_COMPONENTS:
            plugin.problems.append(
                f"hook {caller.name} returned {len(mapping)} components, of which the first "
                f"{MAX_COMPONENTS} are used; offer a family with names()"
            )


def _guarded(plugin: Plugin, what: str, call: Callable[[], Any]) -> Any:
    try:
        return plugin.run(call)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit included: no plugin may end the program
        plugin.problems.append(f"{what}: {reason_of(error)}")
        return FAILED


def _unknown_hook(name: str) -> str:
    close = get_close_matches(name, HOOKS, n=1)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return f"unknown hook '{name}'; {hint}known: {', '.join(HOOKS)}"


def _report(plugin: Plugin, strict: bool) -> None:
    for problem in plugin.problems:
        message = f"{plugin.called}: {problem}"
        if strict:
            raise PluginError(f"{message} (REPSIM_STRICT_PLUGINS is set)")
        warn(f"{message}; left out", PluginWarning)
    for note in plugin.notes:
        warn(f"{plugin.called}: {note}", PluginWarning)
