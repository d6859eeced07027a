"""A plugin in a single Python file, which belongs to no distribution."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from repsim_energy.errors import UsageError, visible
from repsim_energy.options import path_of
from repsim_energy.versions import Origin

__all__ = ["PluginFile", "read_plugin_files"]


@dataclass(frozen=True)
class PluginFile:
    """A Python file with hooks, and its content.

    The content travels with the object, so that another process or machine can run it.

    Parameters
    ----------
    path : as the user wrote it, for messages
    source : the content of the file
    """

    path: str
    source: bytes

    @property
    def name(self) -> str:
        """The name of the file without ``.py``."""
        return Path(self.path).stem

    @property
    def origin(self) -> Origin:
        """Name of the file and the SHA-256 of its content."""
        digest = hashlib.sha256(self.source).hexdigest()
        return Origin(visible(Path(self.path).name), f"sha256:{digest}", is_file=True)

    def load(self) -> ModuleType:
        """Return the module with this content, which runs once in a process.

        The name of the module contains the SHA-256. Functions and classes of the file can
        therefore be pickled, and a changed file is a new module.
        """
        digest = self.origin.version.removeprefix("sha256:")
        name = re.sub(r"\W", "_", f"repsim_plugin_{self.name}_{digest}")
        if name in sys.modules:
            return sys.modules[name]
        module = ModuleType(name)
        module.__file__ = self.path
        code = compile(self.source, self.path, "exec", dont_inherit=True)
        sys.modules[name] = module  # before it runs, as dataclasses look themselves up there
        try:
            exec(code, module.__dict__)  # noqa: S102 (the user asked for this file)
        except BaseException:
            del sys.modules[name]
            raise
        return module


def read_plugin_files(paths: Iterable[str | os.PathLike[str]]) -> list[PluginFile]:
    """Return the content of plugin files.

    Raises
    ------
    UsageError
        For a path without a file, a file that is not called ``*.py``, and a file given twice.
    """
    files: dict[str, PluginFile] = {}
    for path in paths:
        file = _read(os.fspath(path))
        name = Path(file.path).name
        if name in files:
            other = files[name].path
            same = path_of(other).samefile(path_of(file.path))
            raise UsageError(
                f"got plugin file '{file.path}' twice; give it once"
                if same
                else f"got plugin files '{other}' and '{file.path}', expected different names; "
                "rename one"
            )
        files[name] = file
    return list(files.values())


def _read(text: str) -> PluginFile:
    path = path_of(text)
    if path.suffix != ".py" or os.path.isdir(path):
        raise UsageError(
            f"got plugin file '{text}', expected a Python file such as mymetric.py; installed "
            "plugins need no option"
        )
    try:
        return PluginFile(text, path.read_bytes())
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else error.strerror
        raise UsageError(
            f"plugin file '{text}' cannot be read ({reason}); check the path"
        ) from error
