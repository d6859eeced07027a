"""Conversion between NumPy arrays and tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from repsim_energy.errors import DataError

__all__ = ["array_of", "takes_arrays", "tensor_of"]

P = ParamSpec("P")
R = TypeVar("R")


def takes_arrays(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function of tensors so that it accepts NumPy arrays as well.

    Examples
    --------
    >>> takes_arrays(torch.sum)(np.array([1, 2]))
    tensor(3)
    """

    @wraps(function)
    def converting(*args: P.args, **kwargs: P.kwargs) -> R:
        given: Any = [_as_tensor(value) for value in args]
        named: Any = {name: _as_tensor(value) for name, value in kwargs.items()}
        return function(*given, **named)

    return converting


def _as_tensor(value: Any) -> Any:
    return tensor_of(value) if isinstance(value, np.ndarray) else value


def array_of(values: ArrayLike | Tensor) -> NDArray[np.float64]:
    """Return numbers as a float64 array.

    A tensor may have any type and graph, and be on any device.

    Examples
    --------
    >>> array_of(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
    array([1., 1.])
    """
    if isinstance(values, Tensor):
        values = values.detach().to(device="cpu", dtype=torch.float64).numpy()
    return np.asarray(values, dtype=np.float64)


def tensor_of(array: NDArray[Any]) -> Tensor:
    """Return an array as a tensor, which shares its memory where torch can.

    It can if the memory is writable, in the byte order of the machine and without negative strides.

    Raises
    ------
    DataError
        For arrays of a type that torch does not have, such as text.

    Examples
    --------
    >>> tensor_of(np.array([1, 2, 3], dtype=">i4")[::-1]).tolist()
    [3, 2, 1]
    """
    native = array.dtype.newbyteorder("=")
    if min(array.strides, default=0) < 0 or not array.flags.writeable or array.dtype != native:
        array = np.array(array, dtype=native, order="C")
    try:
        return torch.from_numpy(array)
    except TypeError as error:
        raise DataError(f"got an array of {array.dtype}, expected numbers; convert it") from error
