"""Imports of libraries while code of a plugin runs."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from functools import partial
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["Imports"]

LIBRARIES = ("numpy", "torch", "scipy", "torchvision", "pandas", "xarray", "netCDF4")
"""Libraries that this package needs itself. An interrupted import of one could not be repeated."""


class Imports:
    """Imports of libraries by a plugin, each with a function to call when it is complete.

    This is a finder of ``sys.meta_path`` that finds nothing itself.

    Parameters
    ----------
    completed : called after an import of one of the libraries
    """

    def __init__(self, completed: Callable[[], None]) -> None:
        self.under_way: list[str] = []
        self._completed = completed

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders find, with a loader that is watched."""
        if name not in LIBRARIES or name in self.under_way:
            return None
        self.under_way.append(name)  # the search below comes here again
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.under_way.remove(name)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module
            spec.loader.exec_module = partial(self._watched, load)  # type: ignore[method-assign]
        return spec

    def _watched(self, load: Callable[[ModuleType], None], module: ModuleType) -> None:
        self.under_way.append(module.__name__)
        try:
            load(module)
        finally:
            self.under_way.remove(module.__name__)
        self._completed()
