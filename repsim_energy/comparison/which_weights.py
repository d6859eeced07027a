"""Coordinates that identify the weights of a result: specs, hashes of files and filters."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from torch import Tensor

from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.results import Variable

__all__ = ["filters_sha256", "weight_coords"]


def filters_sha256(filters: Tensor) -> str:
    r"""Return the SHA-256 of an array of filters.

    Hashed are the dtype and the shape as text, such as ``"float32 64,3,3,3\n"``, and then the
    numbers, little-endian, the last axis running fastest. Zeros are hashed without their sign.

    Examples
    --------
    >>> import torch
    >>> data = b"float32 1,1,1,2\n" + bytes.fromhex("0000803f 00000040")
    >>> filters_sha256(torch.tensor([[[[1.0, 2.0]]]])) == hashlib.sha256(data).hexdigest()
    True
    """
    array = filters.detach().cpu().numpy()
    head = f"{array.dtype.name} {','.join(map(str, array.shape))}\n".encode()
    little = np.ascontiguousarray(array + 0, dtype=array.dtype.newbyteorder("<"))
    return hashlib.sha256(head + little.tobytes()).hexdigest()


def weight_coords(plan: Plan, networks: Mapping[Key, Network]) -> dict[str, Variable]:
    """Return the coordinates of a result that identify its networks.

    They are the spec of each model and, for networks trained elsewhere, the SHA-256 of the file, of
    the compared filters, and of the filters before training if they are known.
    """
    shape = plan.shape[:2]
    files = [""] * shape[1]
    found = {stage: np.full(shape, "", dtype="U64") for stage in ("trained", "init")}
    for d, m in plan.trained:
        files[m] = plan.trained[d, m].file_sha256
        for stage, digests in found.items():
            if stage in networks[Key(d, m, 0)].filters:
                digests[d, m] = filters_sha256(networks[Key(d, m, 0)].filters[stage])
    both = ("dataset", "model")
    return {
        "model_spec": Variable(
            ("model",),
            [spec.spec for spec in plan.models],
            "name and options of the model as typed, empty for objects of Python",
            "",
        ),
        "file_sha256": Variable(
            ("model",), files, "SHA-256 of the file of weights, empty where there is none", ""
        ),
        "filters_sha256": Variable(
            both,
            found["trained"],
            "SHA-256 of the filters, empty for networks trained by the toolkit",
            "",
        ),
        "init_sha256": Variable(
            both,
            found["init"],
            "SHA-256 of the filters before training, empty where they were not given",
            "",
        ),
    }
