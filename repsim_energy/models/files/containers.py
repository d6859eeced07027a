"""Which part of a file holds the weights of a network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from repsim_energy.errors import FileError, UsageError, unknown_name

__all__ = ["choose_weights"]

CONTAINERS = frozenset(
    ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "net_state_dict",
     "network_state_dict", "weights", "module", "params", "params_ema", "model_ema", "ema",
     "ema_model", "ema_state_dict", "state_dict_ema", "model_ema_state_dict", "student", "teacher",
     "generator", "discriminator", "g_ema", "g", "d")
)  # fmt: skip
"""Keys under which training scripts keep the weights of a network."""

OTHERS = (
    "optim", "scheduler", "sched", "scaler", "callback", "loop", "rng", "hyper", "config", "args",
    "momentum_buffer", "exp_avg", "criterion", "loss",
)  # fmt: skip
"""What keys of other things than weights contain, such as ``optimizer_state_dict``."""


def choose_weights(content: Any, chosen: str | None, where: str) -> dict[str, Tensor]:
    """Return the named tensors of one network in what a file holds.

    Containers such as ``state_dict`` or ``model`` are opened, one in another; parts of a network
    that stand in mappings of their own get dotted names.

    Parameters
    ----------
    content : what was read
    chosen : the container to take where there are several, such as ``model_ema``; containers in
        containers are separated by dots
    where : the file, for messages

    Raises
    ------
    UsageError
        Where several containers hold weights and none is chosen, or the chosen one is not there.
    FileError
        Where there are no named tensors.
    """
    if not isinstance(content, Mapping):
        raise FileError(
            f"'{where}' holds {_kind(content)}, expected named tensors; save state_dict()"
        )
    if chosen is not None:
        content = _chosen(content, chosen, where)
    while inner := _containers(content):
        if len(inner) > 1:
            options = ", ".join(inner)
            raise UsageError(
                f"'{where}' holds weights under {options}; choose with weights={next(iter(inner))}"
            )
        content = next(iter(inner.values()))
    tensors = dict(_flat(content))
    if not tensors:
        raise FileError(f"'{where}' holds no named tensors, expected a state_dict; save that")
    return tensors


def _chosen(content: Mapping[Any, Any], chosen: str, where: str) -> Mapping[Any, Any]:
    """Return the container of a name, or the tensors behind that prefix."""
    while True:
        inner = content.get(chosen)
        if isinstance(inner, Mapping) and any(_flat(inner)):
            if len(_containers(inner)) < 2 or chosen not in inner:
                return inner
            content = inner  # a container of several, one of them of the same name
            continue
        behind = {
            name.removeprefix(f"{chosen}."): tensor
            for name, tensor in _flat(content)
            if name.startswith(f"{chosen}.")
        }
        if behind:
            return behind
        known = _containers(content)
        if len(known) != 1:
            raise unknown_name(f"weights of '{where}'", chosen, known or _parts(content))
        content = next(iter(known.values()))


def _parts(content: Mapping[Any, Any]) -> set[str]:
    return {name.partition(".")[0] for name, _ in _flat(content) if "." in name}


def _containers(content: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """Return the parts of a mapping that hold the weights of a network, if it does not itself."""
    if _is_state_dict(content):
        return {}
    found = {str(key): part for key, part in content.items() if isinstance(part, Mapping)}
    kept = {key: part for key, part in found.items() if not _is_other(key)}
    known = {k: p for k, p in kept.items() if k.lower() in CONTAINERS and any(_flat(p))}
    alike = {k: p for k, p in kept.items() if _is_state_dict(p) or _containers(p)}
    return {k: p for k, p in kept.items() if k in known or k in alike}


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    """Return whether tensors stand here under the dotted names of ``state_dict()``."""
    return any(isinstance(v, Tensor) and "." in str(k) for k, v in content.items())


def _is_other(key: str) -> bool:
    return any(word in key.lower() for word in OTHERS)


def _flat(content: Mapping[Any, Any], before: str = "") -> Iterator[tuple[str, Tensor]]:
    """Give all tensors under dotted names, without optimizers and the like."""
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{before}{key}", value
        elif isinstance(value, Mapping) and not _is_other(str(key)):
            yield from _flat(value, f"{before}{key}.")


def _kind(content: Any) -> str:
    if isinstance(content, Tensor):
        return f"one tensor {tuple(content.shape)} without a name"
    return f"a {type(content).__name__}"
