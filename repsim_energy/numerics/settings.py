"""Compute the same numbers whatever the caller has set in torch and NumPy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import numpy as np
import torch

__all__ = ["own_settings"]

AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""Types of device that autocast may be on for."""

EXACT = ("none", "ieee")
"""What torch calls products of float32 that are rounded to float32 and no coarser."""


@contextmanager
def own_settings(*, grad: bool = False) -> Iterator[None]:
    """Compute with the settings that torch and NumPy start with; also a decorator.

    These would change numbers, or raise, and are put aside: autocast, coarser products of float32
    (``torch.set_float32_matmul_precision``), a default device, graphs, inference mode (whose
    tensors no graph can take later) and ``numpy.seterr``. The default dtype is not: it is one for
    all threads, so what is computed in here names every dtype.

    The precision of products is one for all threads too. It is exact while any thread is in here,
    and the last to leave puts back what was there.

    Parameters
    ----------
    grad : True records graphs, whatever the caller does
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(grad))
        for kind in AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_exact_float32())
        yield


class _Precision:
    """The precision of float32 products as it was, and how many are at work meanwhile."""

    lock = threading.Lock()
    at_work = 0
    before: tuple[str | None, dict[str, str]] | None = None


@contextmanager
def _exact_float32() -> Iterator[None]:
    with _Precision.lock:
        _Precision.at_work += 1
        if not all(value in EXACT for value in _precisions().values()):
            _Precision.before = _Precision.before or (_legacy(), _precisions())
            torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        with _Precision.lock:
            _Precision.at_work -= 1
            if _Precision.at_work == 0 and _Precision.before is not None:
                _put_back(*_Precision.before)
                _Precision.before = None


def _legacy() -> str | None:
    """Return the one word for all libraries; torch refuses where they were set one by one."""
    with suppress(RuntimeError):
        return torch.get_float32_matmul_precision()
    return None


def _libraries() -> dict[str, Any]:
    backends: Any = torch.backends
    return {"cuda": backends.cuda.matmul, "mkldnn": backends.mkldnn.matmul}


def _precisions() -> dict[str, str]:
    return {name: library.fp32_precision for name, library in _libraries().items()}


def _put_back(legacy: str | None, precisions: dict[str, str]) -> None:
    if legacy is not None:
        torch.set_float32_matmul_precision(legacy)
    for name, library in _libraries().items():
        library.fp32_precision = "none"  # which takes what is set for the library as a whole
        if library.fp32_precision != precisions[name]:
            library.fp32_precision = precisions[name]
