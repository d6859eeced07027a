"""Protection of numerical functions from the global settings of torch and NumPy."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from typing import Any

import numpy as np
import torch

__all__ = ["own_settings"]

AUTOCAST = ("cpu", "cuda", "mps", "xpu")
"""Device types that autocast can be enabled for."""

EXACT = ("none", "ieee")
"""Names in torch for products of float32 that are not rounded to a lower precision."""

KINDS = ("conv", "rnn")
"""Layers that cuDNN and oneDNN have a precision of their own for."""

CUDNN = {"deterministic": True, "benchmark": False}
"""Settings with which cuDNN convolves the same numbers in the same way each time."""


@contextmanager
def own_settings(*, grad: bool = False) -> Iterator[None]:
    """Compute with the settings that torch and NumPy start with.

    This is a context manager and a decorator. Settings that would change numbers or raise are
    suspended: autocast and its copies of weights, low-precision products and convolutions of
    float32 (``torch.set_float32_matmul_precision``, and TF32, which is the default of cuDNN),
    convolutions on a GPU that round differently each time or are selected by timing, a default
    device, gradients, inference mode (whose tensors cannot be part of a graph later) and
    ``numpy.seterr``. The default dtype is not suspended, because it belongs to all threads. Code in
    this context names every dtype.

    The precision belongs to all threads, too. It is exact while any thread is in this context. The
    last one to leave restores the previous precision.

    Parameters
    ----------
    grad : True records gradients, also within ``torch.no_grad()``
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(grad))
        # Copies of weights in bfloat16 are cached until the outermost autocast ends, which may be
        # the caller's. They would be outdated after the next step of a training.
        stack.enter_context(torch.autocast("cpu", enabled=False, cache_enabled=False))
        for kind in AUTOCAST:
            if torch.is_autocast_enabled(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        stack.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))
        stack.enter_context(_exact_float32())
        yield


class _Precision:
    """Number of threads in :func:`own_settings`, and the precisions before the first one."""

    lock = threading.Lock()
    active = 0
    before: tuple[dict[str, Any], dict[str, str]] | None = None


@contextmanager
def _exact_float32() -> Iterator[None]:
    with _Precision.lock:
        _Precision.active += 1
        if not _exact():
            _Precision.before = _Precision.before or (_switches(), _precisions())
            _make_exact()
    try:
        yield
    finally:
        with _Precision.lock:
            _Precision.active -= 1
            if _Precision.active == 0 and _Precision.before is not None:
                _restore(*_Precision.before)
                _Precision.before = None


def _exact() -> bool:
    cudnn: Any = torch.backends.cudnn
    deterministic = all(getattr(cudnn, name) == value for name, value in CUDNN.items())
    return deterministic and all(value in EXACT for value in _precisions().values())


def _make_exact() -> None:
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for name, value in CUDNN.items():
        setattr(torch.backends.cudnn, name, value)
    for library in _libraries().values():
        if library.fp32_precision not in EXACT:
            library.fp32_precision = "ieee"


def _switches() -> dict[str, Any]:
    """Return torch's older settings that have a value.

    torch refuses to read them where the settings that they combine were set one by one.
    """
    switches: dict[str, Any] = {}
    with suppress(RuntimeError):
        switches["products"] = torch.get_float32_matmul_precision()
    for name in ("allow_tf32", *CUDNN):
        with suppress(RuntimeError):
            switches[name] = getattr(torch.backends.cudnn, name)
    return switches


@cache
def _libraries() -> dict[str, Any]:
    backends: Any = torch.backends
    parents = {"cudnn": backends.cudnn, "mkldnn": backends.mkldnn}
    layers = {f"{name}.{kind}": getattr(parents[name], kind) for name in parents for kind in KINDS}
    matmul = {"cuda.matmul": backends.cuda.matmul, "mkldnn.matmul": backends.mkldnn.matmul}
    return matmul | layers


def _precisions() -> dict[str, str]:
    return {name: library.fp32_precision for name, library in _libraries().items()}


def _restore(switches: dict[str, Any], precisions: dict[str, str]) -> None:
    if "products" in switches:
        torch.set_float32_matmul_precision(switches.pop("products"))
    for name, value in switches.items():
        setattr(torch.backends.cudnn, name, value)
    for name, library in _libraries().items():
        if library.fp32_precision != precisions[name]:
            library.fp32_precision = "none"  # inherits the setting of the library
        if library.fp32_precision != precisions[name]:
            library.fp32_precision = precisions[name]
