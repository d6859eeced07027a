"""Settings of the process that plugins may change, and that are restored behind them."""

from __future__ import annotations

import locale
import os
import random
import re
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from repsim_energy.errors import RepsimWarning
from repsim_energy.registry.watched_imports import Imports

__all__ = ["restored"]

VARIABLES = (
    *("REPSIM_", "OMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "ATEN_", "CUBLAS_", "CUDA_"),
    *("NVIDIA_", "TORCH_", "PYTORCH_", "PYTHON", "LC_", "LANG"),
)
"""Beginnings of environment variables that change numbers, or what this package does."""

PLACES = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP")
"""Environment variables that name folders to this package and its processes."""


@dataclass(frozen=True)
class Setting:
    """A setting of the process.

    Parameters
    ----------
    name : for the message
    read : returns its value, to be compared by ``==``
    restore : sets a value
    library : read only where this module is imported
    """

    name: str
    read: Callable[[], Any]
    restore: Callable[[Any], object]
    library: str = "sys"


def _attribute(owner: Any, name: str, called: str) -> Setting:
    return Setting(called, lambda: getattr(owner, name), lambda value: setattr(owner, name, value))


def _variables() -> dict[str, str]:
    kept = (*VARIABLES, *PLACES)
    return {k: v for k, v in os.environ.items() if k.startswith(VARIABLES) or k in kept}


def _restore_variables(before: Mapping[str, str]) -> None:
    for name in _variables().keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


def _folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _restore_folder(before: str | None) -> None:
    if before is not None:
        os.chdir(before)


def _handlers() -> dict[int, Any]:
    ours = (getattr(signal, "SIGALRM", None),)  # of the time limit
    return {number: signal.getsignal(number) for number in signal.valid_signals() - {*ours}}


def _restore_handlers(before: Mapping[int, Any]) -> None:
    """Set handlers again, which only the main thread may; those of other languages stay."""
    for number, handler in before.items():
        if signal.getsignal(number) is not handler and handler is not None:
            with suppress(ValueError, OSError):
                signal.signal(number, handler)


def _filters() -> list[Any]:
    """Return the filters of warnings that apply to those of this package.

    Libraries add filters for warnings of their own when they are imported. These stay.
    """
    return [
        one
        for one in warnings.filters
        if issubclass(RepsimWarning, one[2])
        and (one[1] is None or re.match(one[1], ""))
        and one[3] is None
    ]


def _flushes_denormals() -> bool:
    return sys.float_info.min / 2 == 0.0


def _restore_denormals(before: bool) -> None:
    import torch

    torch.set_flush_denormal(before)


def _module(name: str) -> Any:
    return sys.modules[name]


def _numpy_state() -> tuple[Any, ...]:
    """Return the state of NumPy's global generator, which can be compared."""
    kind, words, *rest = _module("numpy").random.get_state()
    return (kind, words.tobytes(), *rest)


def _restore_numpy_state(before: tuple[Any, ...]) -> None:
    kind, words, *rest = before
    numpy = _module("numpy")
    numpy.random.set_state((kind, numpy.frombuffer(words, numpy.uint32), *rest))


def _torch_states() -> list[bytes]:
    torch = _module("torch")
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return [state.numpy().tobytes() for state in (torch.get_rng_state(), *cuda)]


def _restore_torch_states(before: Sequence[bytes]) -> None:
    torch = _module("torch")
    cpu, *cuda = (torch.frombuffer(bytearray(state), dtype=torch.uint8) for state in before)
    torch.set_rng_state(cpu)
    for number, state in enumerate(cuda):
        torch.cuda.set_rng_state(state, number)


def _default_device() -> str:
    return str(_module("torch").get_default_device())


def _restore_default_device(before: str) -> None:
    _module("torch").set_default_device(None if before == "cpu" else before)


SETTINGS = (
    Setting("environment variables", _variables, _restore_variables),
    Setting("the current folder", _folder, _restore_folder),
    Setting("signal handlers", _handlers, _restore_handlers),
    _attribute(warnings, "showwarning", "warnings.showwarning"),
    _attribute(sys, "excepthook", "sys.excepthook"),
    _attribute(sys, "unraisablehook", "sys.unraisablehook"),
    _attribute(threading, "excepthook", "threading.excepthook"),
    Setting("the limit of recursion", sys.getrecursionlimit, sys.setrecursionlimit),
    Setting(
        "the locale",
        lambda: locale.setlocale(locale.LC_ALL),
        lambda before: locale.setlocale(locale.LC_ALL, before),
    ),
    Setting("Python's random numbers", random.getstate, random.setstate),
    Setting("the treatment of denormal numbers", _flushes_denormals, _restore_denormals),
    Setting(
        "NumPy's errors (numpy.seterr)",
        lambda: _module("numpy").geterr(),
        lambda before: _module("numpy").seterr(**before),
        "numpy",
    ),
    Setting(
        "NumPy's random numbers",
        _numpy_state,
        _restore_numpy_state,
        "numpy.random",
    ),
    Setting("torch's random numbers", _torch_states, _restore_torch_states, "torch"),
    Setting(
        "torch's default dtype",
        lambda: _module("torch").get_default_dtype(),
        lambda before: _module("torch").set_default_dtype(before),
        "torch",
    ),
    Setting("torch's default device", _default_device, _restore_default_device, "torch"),
    Setting(
        "torch's gradients (grad mode)",
        lambda: _module("torch").is_grad_enabled(),
        lambda before: _module("torch").set_grad_enabled(before),
        "torch",
    ),
    Setting(
        "torch's number of threads",
        lambda: _module("torch").get_num_threads(),
        lambda before: _module("torch").set_num_threads(before),
        "torch",
    ),
    Setting(
        "torch's choice of deterministic algorithms",
        lambda: _module("torch").get_deterministic_debug_mode(),
        lambda before: _module("torch").set_deterministic_debug_mode(before),
        "torch",
    ),
)


@contextmanager
def restored(notes: list[str]) -> Iterator[Imports]:
    """Restore the settings of the process at the end, and note those that had changed.

    Settings of a library are restored to what they are when its import is complete, if it is
    imported in this context.

    Parameters
    ----------
    notes : receives a text if anything had changed
    """
    before: dict[str, Any] = {}
    filters, path = list(warnings.filters), list(sys.path)

    def read() -> None:
        for one in SETTINGS:
            if one.name not in before and one.library in sys.modules and _is_whole(one, imports):
                with suppress(Exception):  # another plugin has put something in its place
                    before[one.name] = one.read()

    imports = Imports(read)
    read()
    affecting = _filters()
    sys.meta_path.insert(0, imports)
    try:
        yield imports
    finally:
        with suppress(ValueError):
            sys.meta_path.remove(imports)
        known = [one for one in SETTINGS if one.name in before]
        changed = [text for one in known if (text := _restored(one, before[one.name]))]
        if _filters() != affecting:
            changed.append("filters of warnings")
            _restore_filters(filters)
        if sys.path[: len(path)] != path:
            changed.append("the beginning of sys.path")
            sys.path[:] = path + [place for place in sys.path if place not in path]
        if changed:
            notes.append(f"changed {', '.join(changed)}, now restored")


def _is_whole(setting: Setting, imports: Imports) -> bool:
    return setting.library.partition(".")[0] not in imports.under_way


def _restored(setting: Setting, value: Any) -> str:
    """Restore a setting, and return its name if it had another value."""
    try:
        if setting.read() == value:
            return ""
        setting.restore(value)
    except Exception:
        return f"{setting.name} (for good: it cannot be set again)"
    return setting.name


def _restore_filters(before: Sequence[Any]) -> None:
    """Set all filters. The first one is added by a function, which also empties caches."""
    warnings.resetwarnings()
    if not before:
        return
    warnings.filters[:] = before[1:]  # type: ignore[index]
    action, message, category, module, line = before[0]
    patterns = (getattr(part, "pattern", part) or "" for part in (message, module))
    warnings.filterwarnings(action, next(patterns), category, next(patterns), line)
