"""Plugins, the components that they offer, and the registry of these components."""

from __future__ import annotations

import fnmatch
import importlib
import pickle
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from repsim_energy.errors import PluginError, reason_of, unknown_name
from repsim_energy.registry.plugin_file import PluginFile
from repsim_energy.versions import Origin

__all__ = ["HOOKS", "Entry", "Kind", "Plugin", "Registry"]

Kind = Literal["metric", "model", "dataset", "variant"]

HOOKS: dict[str, Kind] = {
    "repsim_metrics": "metric",
    "repsim_models": "model",
    "repsim_datasets": "dataset",
    "repsim_variants": "variant",
}


@dataclass
class Plugin:
    """A plugin that was loaded, or an attempt to load one.

    Parameters
    ----------
    name : of its entry point; for a single file the name without ``.py``
    origin : the distribution or file that it comes from
    provides : kind -> names of the components that it offers
    problems : reasons why a part of it, or all of it, is left out
    file : the file, for a single-file plugin
    """

    name: str
    origin: Origin
    provides: dict[str, list[str]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    file: PluginFile | None = None

    @property
    def distribution(self) -> str:
        """Name of the distribution, or of the file."""
        return self.origin.distribution

    @property
    def version(self) -> str:
        """Version of the distribution, or SHA-256 of the file."""
        return self.origin.version

    @property
    def status(self) -> str:
        """``ok``, ``partial`` (some of it works) or ``failed``."""
        if not self.problems:
            return "ok"
        return "partial" if any(self.provides.values()) else "failed"

    @property
    def check_command(self) -> str:
        """The command that checks this plugin."""
        return f"repsim plugins check {self.file.path if self.file else self.distribution}"

    def as_dict(self) -> dict[str, Any]:
        """Return a description as plain values, for JSON."""
        return {
            "name": self.name,
            "distribution": self.distribution,
            "version": self.version,
            "provides": self.provides,
            "problems": self.problems,
            "status": self.status,
        }


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
        """Return the component, importing it if it is a ``"module:attribute"`` string."""
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
            remedy = (
                "give the object itself in a single-file plugin"
                if self.plugin.origin.is_file
                else "repair or remove that distribution"
            )
            raise PluginError(
                f"{self.called} cannot be loaded from '{self.thing}': {reason_of(error)}; {remedy}"
            ) from error
        return target

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle an entry of a single file with the file, whose module is loaded first."""
        fields = (self.kind, self.name, self.thing, self.plugin)
        if self.plugin.file is None:
            return Entry, fields
        return _entry_of_file, (self.plugin.file, pickle.dumps(fields))


def _entry_of_file(file: PluginFile, fields: bytes) -> Entry:
    file.load()
    return Entry(*pickle.loads(fields))  # noqa: S301 (of Entry.__reduce__)


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
                names += [prefix + member for member in self._entries[kind][family].load().names()]
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
