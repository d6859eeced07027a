"""Conversion between NumPy arrays and tensors."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from repsim_energy.errors import DataError, UndefinedSimilarityWarning, warn

__all__ = ["array_of", "finite_or_nan", "takes_arrays", "tensor_of"]

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

    A tensor may have any type of real numbers and any graph, and be on any device.

    Raises
    ------
    DataError
        For complex numbers, texts, and lists that differ in length.

    Examples
    --------
    >>> array_of(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
    array([1., 1.])
    """
    if isinstance(values, Tensor):
        values = values.detach()
        values = values.to("cpu", values.dtype if values.is_complex() else torch.float64).numpy()
    if np.iscomplexobj(values):
        raise DataError("got complex numbers, expected real ones; take the part that you mean")
    try:
        return np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"got no array of numbers ({error}), expected one; convert it") from error


def finite_or_nan(values: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """Return numbers with NaN in place of infinite ones.

    Warns
    -----
    UndefinedSimilarityWarning
        If a number is NaN or infinite.
    """
    known = np.isfinite(values)
    if known.all():
        return values
    warn(
        f"the {what} is of numbers that are not finite or too large, and is reported as NaN",
        UndefinedSimilarityWarning,
    )
    return np.where(known, values, np.nan)


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
