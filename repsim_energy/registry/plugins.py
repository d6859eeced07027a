"""Components that plugins offer, and the registry of these components."""

from __future__ import annotations

import fnmatch
import importlib
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

from repsim_energy.errors import PluginError, PluginWarning, reason_of, unknown_name, visible, warn
from repsim_energy.registry.plugin import Plugin

__all__ = ["HOOKS", "Entry", "Kind", "Registry"]

_T = TypeVar("_T")

Kind = Literal["metric", "model", "dataset", "variant"]

HOOKS: dict[str, Kind] = {
    "repsim_metrics": "metric",
    "repsim_models": "model",
    "repsim_datasets": "dataset",
    "repsim_variants": "variant",
}


MAX_NAME = 100
"""Maximum length of the name of a component."""


@dataclass(frozen=True)
class Entry:
    """A component under its name.

    Parameters
    ----------
    kind : of the component
    name : as users type it; a family of models has a name that ends in ``/*``
    thing : component, or a ``"module:attribute"`` string that is imported on demand
    plugin : that offers it
    """

    kind: Kind
    name: str
    thing: Any
    plugin: Plugin

    @property
    def built_in(self) -> bool:
        """True if it comes with this package."""
        return self.plugin.origin.is_built_in

    @property
    def called(self) -> str:
        """Kind, name and origin, for error messages."""
        return f"{self.kind} '{self.name}' of {self.plugin.distribution}"

    def load(self) -> Any:
        """Return the component, importing it if it is a ``"module:attribute"`` string.

        Raises
        ------
        PluginError
            If it cannot be imported.
        """
        if not isinstance(self.thing, str):
            return self.thing
        remedy = (
            "give the object itself in a single-file plugin"
            if self.plugin.origin.is_file
            else "repair or remove that distribution"
        )
        what = f"cannot be loaded from '{visible(self.thing)}'"
        return self._run(partial(_attribute, self.thing), what, remedy)

    def members(self) -> list[str]:
        """Return the names of a family, without its prefix.

        Raises
        ------
        PluginError
            If the family does not list them.
        """
        family = self.load()
        return self._run(
            lambda: [str(name) for name in family.names()],
            "does not list its members, expected a method names()",
            f"see {self.plugin.check_command}",
        )

    def _run(self, call: Callable[[], _T], what: str, remedy: str) -> _T:
        """Call code of the plugin, and warn of what it does besides."""
        known = len(self.plugin.notes)
        try:
            value: _T = self.plugin.run(call)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            raise PluginError(f"{self.called} {what}: {reason_of(error)}; {remedy}") from error
        for note in self.plugin.notes[known:]:
            warn(f"{self.plugin.called}: {note}", PluginWarning)
        return value

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle an entry of a plugin so that its modules are imported contained elsewhere."""
        fields = (self.kind, self.name, self.thing, self.plugin)
        if self.built_in:
            return Entry, fields
        return _entry_of, (self.plugin, pickle.dumps(fields))


def _attribute(place: str) -> Any:
    """Return ``module:attribute``."""
    module, _, attribute = place.partition(":")
    target: Any = importlib.import_module(module)
    for part in attribute.split("."):
        target = getattr(target, part)
    return target


def _entry_of(plugin: Plugin, fields: bytes) -> Entry:
    def load() -> Entry:
        if plugin.file is not None:
            plugin.file.load()
        return Entry(*pickle.loads(fields))  # noqa: S301 (of Entry.__reduce__)

    entry: Entry = plugin.run(load)
    return entry


class Registry:
    """All metrics, models, data sets and variants, with the plugins that offer them.

    :func:`load_registry` makes one; ``compare(registry=...)`` takes it.

    Examples
    --------
    >>> from repsim_energy import load_registry
    >>> "energy" in load_registry(plugins=False).names("metric")
    True
    """

    def __init__(self) -> None:
        self.plugins: list[Plugin] = []
        self._entries: dict[Kind, dict[str, Entry]] = {kind: {} for kind in HOOKS.values()}

    def add(self, kind: Kind, name: str, thing: Any, plugin: Plugin) -> None:
        """Register a component under a name, unless an earlier plugin offers that name.

        Parameters
        ----------
        kind : metric, model, dataset or variant
        name : that users type
        thing : the component, or ``"module:attribute"``
        plugin : that offers it; problems are added to it
        """
        if not isinstance(name, str) or not name:
            plugin.problems.append(f"{kind} name {name!r} is not a string; use a non-empty one")
        elif not name.isprintable() or len(name) > MAX_NAME:
            shown = visible(name[:MAX_NAME])
            plugin.problems.append(
                f"{kind} name '{shown}' cannot be typed, expected at most {MAX_NAME} printable "
                "characters; use another one"
            )
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
        """Return the entries of all kinds."""
        return [entry for kind in self._entries for entry in self.entries(kind)]

    def entries(self, kind: Kind) -> list[Entry]:
        """Return the entries of a kind, sorted by name.

        Parameters
        ----------
        kind : metric, model, dataset or variant
        """
        return [entry for _, entry in sorted(self._entries[kind].items())]

    def names(self, kind: Kind, pattern: str = "*") -> list[str]:
        """Return the names that match a shell-style pattern, members of families included.

        Members are listed only for a pattern that begins with the prefix of their family, because
        listing members may import a large library.

        Parameters
        ----------
        kind : metric, model, dataset or variant
        pattern : such as ``vgg*`` or ``torchvision/*``
        """
        names = [entry.name for entry in self.entries(kind)]
        for family in [name for name in names if name.endswith("/*")]:
            prefix = family[:-1]
            if pattern.startswith(prefix):
                names += [prefix + member for member in self._entries[kind][family].members()]
        return sorted(name for name in names if fnmatch.fnmatchcase(name, pattern))

    def entry(self, kind: Kind, name: str) -> Entry:
        """Return the entry of a name, or of the family that a ``prefix/member`` belongs to.

        Parameters
        ----------
        kind : metric, model, dataset or variant
        name : of the component

        Raises
        ------
        UnknownNameError
            For a name that no plugin offers.
        """
        known = self._entries[kind]
        if name in known and not name.endswith("/*"):
            return known[name]
        family = name.partition("/")[0] + "/*"
        if "/" in name and family in known:
            return known[family]
        raise unknown_name(kind, name, known)

    def plugins_called(self, name: str) -> Sequence[Plugin]:
        """Return the plugins of a distribution, entry point or file.

        Parameters
        ----------
        name : of the distribution, entry point or file

        Raises
        ------
        UsageError
            For a name that no plugin has.
        """
        plugins = [one for one in self.plugins if name in (one.distribution, one.name)]
        if not plugins:
            raise unknown_name("plugin", name, {plugin.distribution for plugin in self.plugins})
        return plugins


def _is_lazy(thing: Any) -> bool:
    return isinstance(thing, str) and all(thing.partition(":"))
