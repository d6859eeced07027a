"""Selection of one tensor from the output of a network or layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from repsim_energy.errors import UsageError

__all__ = ["answered"]


def answered(answer: object, rows: int, what: str, entry: str = "", how: str = "") -> Tensor:
    """Return the tensor with a row for each image from the output of a network or layer.

    From tuples, lists, mappings and dataclasses it is the named entry, or else the only tensor.
    Scalars (such as a loss) do not count.

    Parameters
    ----------
    answer : output of a network or a layer for a batch
    rows : number of images in the batch
    what : name of that network or layer in errors
    entry : the key, field or position of the tensor, joined by dots in nested outputs
    how : remedy that names the entry, such as ``answer=logits``

    Raises
    ------
    UsageError
        If there is no such tensor, or several and none is named.

    Examples
    --------
    >>> import torch
    >>> pair = {"logits": torch.zeros(5, 10), "loss": torch.tensor(0.0)}
    >>> answered(pair, 5, "the network").shape
    torch.Size([5, 10])
    """
    if isinstance(answer, Tensor) and not entry and answer.shape[:1] != (rows,):
        raise UsageError(
            f"{what} returns shape {tuple(answer.shape)}, expected a row for each of {rows} "
            "images; name another layer"
        )
    known = {key: t for key, t in _tensors(answer) if t.ndim or key == entry}
    chosen = [key for key in known if key == entry] if entry else list(known)
    if len(chosen) != 1 or known[chosen[0]].shape[:1] != (rows,):
        shapes = ", ".join(f"{key} {tuple(t.shape)}".strip() for key, t in known.items())
        wanted = f"an entry '{entry}'" if entry else "one tensor"
        raise UsageError(
            f"{what} returns {type(answer).__name__} ({shapes or 'no tensor'}), expected {wanted} "
            f"with a row for each of {rows} images" + (f"; {how}" if how else "")
        )
    found = known[chosen[0]]
    if found.is_complex():
        raise UsageError(
            f"{what} returns {found.dtype}, expected real numbers; let it return "
            "torch.view_as_real of them"
        )
    return found


def _tensors(answer: Any, path: str = "") -> list[tuple[str, Tensor]]:
    """Return the tensors in an output, each with its path."""
    if isinstance(answer, Tensor):
        return [(path, answer)]
    if isinstance(answer, Mapping):
        parts = list(answer.items())
    elif hasattr(answer, "_fields"):  # a named tuple
        parts = list(zip(answer._fields, answer, strict=True))
    elif isinstance(answer, tuple | list):
        parts = list(enumerate(answer))
    elif dataclasses.is_dataclass(answer):
        parts = [(f.name, getattr(answer, f.name)) for f in dataclasses.fields(answer)]
    else:
        return []
    before = f"{path}." if path else ""
    return [found for key, part in parts for found in _tensors(part, f"{before}{key}")]
