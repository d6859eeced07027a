"""SHA-256 of tensors."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["tensor_digest"]


def tensor_digest(tensor: Tensor) -> str:
    """Return the SHA-256 of type, shape and values, without copying a contiguous tensor."""
    tensor, kind = tensor.detach().cpu(), ""
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy does not have
        from torch import int16  # here, so that listing names stays fast

        tensor, kind = tensor.view(int16), "bfloat16"
    array = tensor.numpy()
    digest = hashlib.sha256(f"{kind or array.dtype.str}{array.shape}".encode())
    whole = array.ndim < 2 or array.flags.c_contiguous
    for part in [array] if whole else array:
        digest.update(part.reshape(-1).view("uint8").data)
    return digest.hexdigest()
