"""Pickles for other processes, without memory that they do not need."""

from __future__ import annotations

import pickle
from io import BytesIO
from typing import IO, Any

import torch
from cloudpickle import CloudPickler

from repsim_energy.data.mapped import map_images, unchanged_file

__all__ = ["pickled", "write_pickle"]


class _Pickler(CloudPickler):  # type: ignore[misc]
    """Pickles functions of the main program by value, and tensors with their own numbers alone.

    A view of a larger tensor would otherwise be pickled with all of it. Mapped images are pickled
    as the name of their file where the other process runs on the same machine.
    """

    def __init__(self, file: IO[bytes], *, same_machine: bool) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self._same_machine = same_machine

    def reducer_override(self, thing: Any) -> Any:
        if type(thing) is not torch.Tensor or thing.layout != torch.strided:
            return super().reducer_override(thing)
        path = unchanged_file(thing) if self._same_machine else None
        if path is not None:
            return map_images, (path,)
        if thing.untyped_storage().nbytes() > thing.nbytes and not thing.requires_grad:
            return thing.clone().__reduce_ex__(pickle.HIGHEST_PROTOCOL)
        return NotImplemented


def pickled(thing: Any) -> bytes:
    """Return the pickle of something for processes of any machine."""
    content = BytesIO()
    _Pickler(content, same_machine=False).dump(thing)
    return content.getvalue()


def write_pickle(thing: Any, file: IO[bytes]) -> None:
    """Write the pickle of something for processes of this machine, which read mapped images."""
    _Pickler(file, same_machine=True).dump(thing)
