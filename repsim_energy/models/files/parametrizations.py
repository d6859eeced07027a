"""Compute the weights that a network applies from the tensors that its file stores for them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repsim_energy.errors import FileError

__all__ = ["Effective", "effective_weights"]

PARAMETRIZED = re.compile(r"(?P<layer>.*?)parametrizations\.(?P<name>\w+)\.(?P<part>.+)")
"""Names that ``torch.nn.utils.parametrize`` gives the parts of a tensor."""

LORA = re.compile(r"(?P<layer>.*?)(base_layer\.)?lora_\w+(\..+)?")
"""Names that PEFT gives the low-rank matrices that are added to weights."""


@dataclass(frozen=True)
class Effective:
    """Tensors as the network applies them.

    Parameters
    ----------
    tensors : by name, without parts such as masks and norms
    unknown : name -> the parts of a tensor that cannot be computed from the file; ``tensors`` then
        has one of the parts under this name, of which only the shape is used
    """

    tensors: dict[str, Tensor]
    unknown: dict[str, list[str]]

    def check_known(self, name: str) -> None:
        """Refuse a tensor that cannot be computed from the file.

        Raises
        ------
        FileError
            If it cannot be computed; the error names its parts.
        """
        if name in self.unknown:
            parts = ", ".join(self.unknown[name])
            raise FileError(
                f"'{name}' cannot be computed from its parts {parts} in the file, expected the "
                "weights that the network applies; save those "
                "(torch.nn.utils.parametrize.remove_parametrizations), or pass the module in Python"
            )


def effective_weights(tensors: Mapping[str, Tensor]) -> Effective:
    r"""Return the weights that a network applies.

    Pruned weights are :math:`w \cdot m`, weights with weight norm :math:`g\, v / \lVert v \rVert`,
    and those with spectral norm :math:`w / (u^\top W v)` with the vectors of the file, as in
    evaluation mode. Other tensors are returned unchanged, in their order.

    Parameters
    ----------
    tensors : by their names in ``state_dict()``

    Examples
    --------
    >>> parts = {"0.weight_orig": torch.full((2,), 3.0), "0.weight_mask": torch.tensor([0.0, 1.0])}
    >>> effective_weights(parts).tensors
    {'0.weight': tensor([0., 3.])}
    """
    found = {n: t if t.layout is torch.strided else t.to_dense() for n, t in tensors.items()}
    for compute in (_compute_pruned, _compute_weight_norm, _compute_spectral_norm):
        for name in list(found):
            compute(found, name)
    unknown: dict[str, list[str]] = {}
    for name, parts in _parametrized(found).items():
        computed = _computed(found, parts)
        if computed is None:
            unknown[name] = list(parts.values())
        _replace(found, name, computed, list(parts.values()))
    for name, remaining in _incomplete(found).items():
        unknown[name] = remaining
        _replace(found, name, None, remaining)
    return Effective(found, unknown | _low_rank(found))


def _replace(found: dict[str, Tensor], name: str, value: Tensor | None, parts: list[str]) -> None:
    """Replace the parts of a tensor by the tensor, at the place of the first of them.

    Parameters
    ----------
    value : the tensor; ``None``, if it cannot be computed, stands for the largest of the parts
    """
    if value is None:
        value = max((found[part] for part in parts), key=torch.numel)
    items = list(found.items())
    found.clear()
    for key, tensor in items:
        if key in parts:
            found.setdefault(name, value)
        elif key != name:
            found[key] = tensor


def _compute_pruned(found: dict[str, Tensor], part: str) -> None:
    name = part.removesuffix("_orig")
    if name != part and f"{name}_mask" in found and part in found:
        masked = found[part] * found[f"{name}_mask"].to(found[part].dtype)
        _replace(found, name, masked, [part, f"{name}_mask"])


def _compute_weight_norm(found: dict[str, Tensor], part: str) -> None:
    name = part.removesuffix("_g")
    direction = found.get(f"{name}_v")
    if name != part and direction is not None and part in found:
        weight = _with_norm(found[part], direction)
        if weight is not None:
            _replace(found, name, weight, [part, f"{name}_v"])


def _with_norm(norm: Tensor, direction: Tensor) -> Tensor | None:
    """Return g v / ||v||, normed over all axes along which g has one entry, or ``None``."""
    if norm.ndim not in (0, direction.ndim):
        return None
    pairs = list(zip(norm.shape, direction.shape, strict=False))
    if any(g not in (1, v) for g, v in pairs) or sum(g > 1 for g, _ in pairs) > 1:
        return None
    axes = [axis for axis, (g, _) in enumerate(pairs) if g == 1]
    if len(axes) == direction.ndim and norm.ndim:
        axes = axes[1:]  # one filter: its own norm
    v = direction.double()
    length = v.norm() if not axes else torch.linalg.vector_norm(v, dim=axes, keepdim=True)
    weight: Tensor = v * (norm.double() / length)
    return weight.to(direction.dtype)


def _compute_spectral_norm(found: dict[str, Tensor], part: str) -> None:
    name = part.removesuffix("_orig")
    u, v = found.get(f"{name}_u"), found.get(f"{name}_v")
    if name != part and part in found and u is not None and v is not None:
        weight = _divide_by_spectral_norm(found[part], u, v)
        if weight is not None:
            _replace(found, name, weight, [part, f"{name}_u", f"{name}_v"])


def _divide_by_spectral_norm(weight: Tensor, u: Tensor, v: Tensor) -> Tensor | None:
    """Return w / (u W v) with the axis of ``u`` as rows of W, or ``None`` if shapes do not fit."""
    for axis in range(min(2, weight.ndim)):
        if weight.shape[axis] == len(u) and weight.numel() == len(u) * len(v):
            matrix = weight.double().movedim(axis, 0).flatten(1)
            largest: Tensor = u.double() @ matrix @ v.double()
            return weight.double().div(largest).to(weight.dtype)
    return None


def _parametrized(found: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Return tensor -> part of its parametrization -> name of the part in the file."""
    parts: dict[str, dict[str, str]] = {}
    for key in found:
        if match := PARAMETRIZED.fullmatch(key):
            name = match["layer"] + match["name"]
            parts.setdefault(name, {})[match["part"]] = key
    return parts


def _computed(found: Mapping[str, Tensor], parts: Mapping[str, str]) -> Tensor | None:
    """Return a tensor with one of torch's own parametrizations, ``None`` for others."""
    given = {part: found[key] for part, key in parts.items()}
    if set(given) == {"original0", "original1"}:
        return _with_norm(given["original0"], given["original1"])
    if set(given) == {"original", "0._u", "0._v"}:
        return _divide_by_spectral_norm(given["original"], given["0._u"], given["0._v"])
    return None


def _incomplete(found: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return tensor -> its parts, if some are missing, such as the mask of a pruned weight."""
    names = {key.removesuffix("_orig") for key in found if key.endswith("_orig")}
    names |= {key.removesuffix("_g") for key in found if key.endswith("_g")} & {
        key.removesuffix("_v") for key in found if key.endswith("_v")
    }
    endings = ("_orig", "_mask", "_g", "_u", "_v")
    return {name: [name + end for end in endings if name + end in found] for name in names}


def _low_rank(found: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return weight -> itself and the low-rank matrices that are added to it."""
    unknown: dict[str, list[str]] = {}
    for key in found:
        if match := LORA.fullmatch(key):
            for name in (f"{match['layer']}base_layer.weight", f"{match['layer']}weight"):
                if name in found:
                    unknown.setdefault(name, [name]).append(key)
    return unknown
