"""Compute the same numbers whatever the caller has set in torch and NumPy."""

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
"""Types of device that autocast may be on for."""

EXACT = ("none", "ieee")
"""What torch calls products of float32 that are rounded to float32 and no coarser."""

KINDS = ("conv", "rnn")
"""Layers whose precision cuDNN and oneDNN keep apart from that of products of matrices."""

CUDNN = {"deterministic": True, "benchmark": False}
"""How cuDNN convolves the same numbers in the same way each time."""


@contextmanager
def own_settings(*, grad: bool = False) -> Iterator[None]:
    """Compute with the settings that torch and NumPy start with; also a decorator.

    These would change numbers, or raise, and are put aside: autocast and its copies of weights,
    coarser products and convolutions of float32 (``torch.set_float32_matmul_precision``, and TF32,
    which cuDNN uses unless it is told otherwise), ways of convolving on a GPU that round otherwise
    each time or are chosen by a race, a default device, graphs, inference mode (whose tensors no
    graph can take later) and ``numpy.seterr``. The default dtype is not: it is one for all threads,
    so what is computed in here names every dtype.

    The precision is one for all threads too. It is exact while any thread is in here,
    and the last to leave puts back what was there.

    Parameters
    ----------
    grad : True records graphs, whatever the caller does
    """
    with ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.set_grad_enabled(grad))
        # Copies of weights in bfloat16 are kept until the outermost autocast ends, which may be the
        # caller's: they would be those of weights that have been trained further since.
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
    """The precisions as they were, and how many are at work meanwhile."""

    lock = threading.Lock()
    at_work = 0
    before: tuple[dict[str, Any], dict[str, str]] | None = None


@contextmanager
def _exact_float32() -> Iterator[None]:
    with _Precision.lock:
        _Precision.at_work += 1
        if not _exact():
            _Precision.before = _Precision.before or (_switches(), _precisions())
            _make_exact()
    try:
        yield
    finally:
        with _Precision.lock:
            _Precision.at_work -= 1
            if _Precision.at_work == 0 and _Precision.before is not None:
                _put_back(*_Precision.before)
                _Precision.before = None


def _exact() -> bool:
    cudnn: Any = torch.backends.cudnn
    chosen = all(getattr(cudnn, name) == value for name, value in CUDNN.items())
    return chosen and all(value in EXACT for value in _precisions().values())


def _make_exact() -> None:
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    for name, value in CUDNN.items():
        setattr(torch.backends.cudnn, name, value)
    for library in _libraries().values():
        if library.fp32_precision not in EXACT:
            library.fp32_precision = "ieee"


def _switches() -> dict[str, Any]:
    """Return torch's older switches; it refuses where what they stand for was set one by one."""
    found: dict[str, Any] = {}
    with suppress(RuntimeError):
        found["products"] = torch.get_float32_matmul_precision()
    for name in ("allow_tf32", *CUDNN):
        with suppress(RuntimeError):
            found[name] = getattr(torch.backends.cudnn, name)
    return found


@cache
def _libraries() -> dict[str, Any]:
    backends: Any = torch.backends
    homes = {"cudnn": backends.cudnn, "mkldnn": backends.mkldnn}
    layers = {f"{name}.{kind}": getattr(homes[name], kind) for name in homes for kind in KINDS}
    matmul = {"cuda.matmul": backends.cuda.matmul, "mkldnn.matmul": backends.mkldnn.matmul}
    return matmul | layers


def _precisions() -> dict[str, str]:
    return {name: library.fp32_precision for name, library in _libraries().items()}


def _put_back(switches: dict[str, Any], precisions: dict[str, str]) -> None:
    if "products" in switches:
        torch.set_float32_matmul_precision(switches.pop("products"))
    for name, value in switches.items():
        setattr(torch.backends.cudnn, name, value)
    for name, library in _libraries().items():
        if library.fp32_precision != precisions[name]:
            library.fp32_precision = "none"  # which takes what is set for the library as a whole
        if library.fp32_precision != precisions[name]:
            library.fp32_precision = precisions[name]
