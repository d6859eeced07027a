"""The weights that a network applies, where its file holds the parts they are computed from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repsim_energy.errors import FileError

__all__ = ["Effective", "effective_weights"]

PARAMETRIZED = re.compile(r"(?P<layer>.*?)parametrizations\.(?P<name>\w+)\.(?P<part>.+)")
"""How ``torch.nn.utils.parametrize`` names the parts of a tensor."""

LORA = re.compile(r"(?P<layer>.*?)(base_layer\.)?lora_\w+(\..+)?")
"""Low-rank changes that are added to the weights of a layer, as PEFT names them."""


@dataclass(frozen=True)
class Effective:
    """Tensors as the network applies them.

    Parameters
    ----------
    tensors : name -> tensor; parts such as masks and norms are gone
    unknown : name -> the parts of a tensor that cannot be computed from the file; the tensor of
        that name is then one of its parts, with which only its shape is known
    """

    tensors: dict[str, Tensor]
    unknown: dict[str, list[str]]

    def refuse_unknown(self, name: str) -> None:
        """Refuse a tensor that cannot be computed.

        Raises
        ------
        FileError
            That names the parts in the file.
        """
        if name in self.unknown:
            parts = ", ".join(self.unknown[name])
            raise FileError(
                f"'{name}' cannot be computed from the file alone, which holds its parts {parts}; "
                "hand over the module itself in Python, or save the weights that it applies "
                "(torch.nn.utils.parametrize.remove_parametrizations)"
            )


def effective_weights(tensors: Mapping[str, Tensor]) -> Effective:
    r"""Return the weights that a network applies.

    Pruned weights are :math:`w \cdot m`, weight-normed ones :math:`g\, v / \lVert v \rVert`,
    spectral-normed ones :math:`w / (u^\top W v)` with the vectors of the file, as in a network
    that is not training. Tensors without such parts stay as they are, in their order.

    Parameters
    ----------
    tensors : name -> tensor, as ``state_dict()`` names them

    Examples
    --------
    >>> parts = {"0.weight_orig": torch.full((2,), 3.0), "0.weight_mask": torch.tensor([0.0, 1.0])}
    >>> effective_weights(parts).tensors
    {'0.weight': tensor([0., 3.])}
    """
    found = {n: t if t.layout is torch.strided else t.to_dense() for n, t in tensors.items()}
    for step in (_pruned, _weight_normed, _spectral_normed):
        for name in list(found):
            step(found, name)
    unknown: dict[str, list[str]] = {}
    for name, parts in _parametrizations(found).items():
        computed = _computed(found, parts)
        if computed is None:
            unknown[name] = list(parts.values())
        _replace(found, name, computed, list(parts.values()))
    for name, left in _left_over(found).items():
        unknown[name] = left
        _replace(found, name, None, left)
    return Effective(found, unknown | _low_rank(found))


def _replace(found: dict[str, Tensor], name: str, value: Tensor | None, parts: list[str]) -> None:
    """Put a tensor where the first of its parts stands; the largest part stands for an unknown."""
    if value is None:
        value = max((found[part] for part in parts), key=torch.numel)
    items = list(found.items())
    found.clear()
    for key, tensor in items:
        if key in parts:
            found.setdefault(name, value)
        elif key != name:
            found[key] = tensor


def _pruned(found: dict[str, Tensor], part: str) -> None:
    name = part.removesuffix("_orig")
    if name != part and f"{name}_mask" in found and part in found:
        masked = found[part] * found[f"{name}_mask"].to(found[part].dtype)
        _replace(found, name, masked, [part, f"{name}_mask"])


def _weight_normed(found: dict[str, Tensor], part: str) -> None:
    name = part.removesuffix("_g")
    direction = found.get(f"{name}_v")
    if name != part and direction is not None and part in found:
        weight = _rescaled(found[part], direction)
        if weight is not None:
            _replace(found, name, weight, [part, f"{name}_v"])


def _rescaled(length: Tensor, direction: Tensor) -> Tensor | None:
    """Return g v / ||v||, the norm over all axes along which g has one entry."""
    if length.ndim not in (0, direction.ndim):
        return None
    pairs = list(zip(length.shape, direction.shape, strict=False))
    if any(g not in (1, v) for g, v in pairs) or sum(g > 1 for g, _ in pairs) > 1:
        return None
    axes = [axis for axis, (g, _) in enumerate(pairs) if g == 1]
    if len(axes) == direction.ndim and length.ndim:
        axes = axes[1:]  # one filter: its own norm
    v = direction.double()
    norm = v.norm() if not axes else torch.linalg.vector_norm(v, dim=axes, keepdim=True)
    weight: Tensor = v * (length.double() / norm)
    return weight.to(direction.dtype)


def _spectral_normed(found: dict[str, Tensor], part: str) -> None:
    name = part.removesuffix("_orig")
    u, v = found.get(f"{name}_u"), found.get(f"{name}_v")
    if name != part and part in found and u is not None and v is not None:
        weight = _divided(found[part], u, v)
        if weight is not None:
            _replace(found, name, weight, [part, f"{name}_u", f"{name}_v"])


def _divided(weight: Tensor, u: Tensor, v: Tensor) -> Tensor | None:
    """Return w / (u W v), W the matrix with the axis of ``u`` first."""
    for axis in range(min(2, weight.ndim)):
        if weight.shape[axis] == len(u) and weight.numel() == len(u) * len(v):
            matrix = weight.double().movedim(axis, 0).flatten(1)
            largest: Tensor = u.double() @ matrix @ v.double()
            return weight.double().div(largest).to(weight.dtype)
    return None


def _parametrizations(found: Mapping[str, Tensor]) -> dict[str, dict[str, str]]:
    """Return tensor -> part of its parametrization -> name of the part in the file."""
    parts: dict[str, dict[str, str]] = {}
    for key in found:
        if match := PARAMETRIZED.fullmatch(key):
            name = match["layer"] + match["name"]
            parts.setdefault(name, {})[match["part"]] = key
    return parts


def _computed(found: Mapping[str, Tensor], parts: Mapping[str, str]) -> Tensor | None:
    """Return the tensor of a parametrization that torch itself defines, else nothing."""
    given = {part: found[key] for part, key in parts.items()}
    if set(given) == {"original0", "original1"}:
        return _rescaled(given["original0"], given["original1"])
    if set(given) == {"original", "0._u", "0._v"}:
        return _divided(given["original"], given["0._u"], given["0._v"])
    return None


def _left_over(found: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return the tensors of which only some parts are there, such as a weight without its mask."""
    names = {key.removesuffix("_orig") for key in found if key.endswith("_orig")}
    names |= {key.removesuffix("_g") for key in found if key.endswith("_g")} & {
        key.removesuffix("_v") for key in found if key.endswith("_v")
    }
    ends = ("_orig", "_mask", "_g", "_u", "_v")
    return {name: [name + end for end in ends if name + end in found] for name in names}


def _low_rank(found: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """Return the weights to which a low-rank change is to be added."""
    unknown: dict[str, list[str]] = {}
    for key in found:
        if match := LORA.fullmatch(key):
            for name in (f"{match['layer']}base_layer.weight", f"{match['layer']}weight"):
                if name in found:
                    unknown.setdefault(name, [name]).append(key)
    return unknown
