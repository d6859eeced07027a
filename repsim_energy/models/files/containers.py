"""Find the state dict of one network in the content of a checkpoint."""

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
"""Keys under which training scripts store the state dict of a network."""

OTHERS = (
    "optim", "scheduler", "sched", "scaler", "callback", "loop", "rng", "hyper", "config", "args",
    "momentum_buffer", "exp_avg", "criterion", "loss",
)  # fmt: skip
"""Parts of keys of other entries than weights, such as ``optimizer_state_dict``."""


def choose_weights(content: Any, container: str | None, where: str) -> dict[str, Tensor]:
    """Return the state dict of one network in the content of a file.

    Containers such as ``state_dict`` or ``model`` are opened, also one in another. Nested mappings
    of tensors become dotted names.

    Parameters
    ----------
    content : of the file
    container : the container to use if there are several, such as ``model_ema``; dots separate
        containers in containers
    where : the path of the file, for errors

    Raises
    ------
    UsageError
        If several containers hold weights and none is named, or the named one is missing.
    FileError
        If there are no named tensors.
    """
    if not isinstance(content, Mapping):
        raise FileError(
            f"'{where}' holds {_describe(content)}, expected named tensors; save state_dict()"
        )
    if container is not None:
        content = _named_container(content, container, where)
    while inner := _containers(content):
        if len(inner) > 1:
            options = ", ".join(inner)
            raise UsageError(
                f"'{where}' holds weights under {options}, expected one of them; choose with "
                f"weights={next(iter(inner))}"
            )
        content = next(iter(inner.values()))
    tensors = dict(_flatten(content))
    if not tensors:
        raise FileError(f"'{where}' holds no named tensors, expected a state_dict; save that")
    return tensors


def _named_container(content: Mapping[Any, Any], name: str, where: str) -> Mapping[Any, Any]:
    """Return the container of a name, or the tensors whose names have it as prefix."""
    while True:
        inner = content.get(name)
        if isinstance(inner, Mapping) and any(_flatten(inner)):
            if len(_containers(inner)) < 2 or name not in inner:
                return inner
            content = inner  # it holds several containers, one of them of the same name
            continue
        prefixed = {
            key.removeprefix(f"{name}."): tensor
            for key, tensor in _flatten(content)
            if key.startswith(f"{name}.")
        }
        if prefixed:
            return prefixed
        containers = _containers(content)
        if len(containers) != 1:
            raise unknown_name(f"weights of '{where}'", name, containers or _prefixes(content))
        content = next(iter(containers.values()))


def _prefixes(content: Mapping[Any, Any]) -> set[str]:
    return {name.partition(".")[0] for name, _ in _flatten(content) if "." in name}


def _containers(content: Mapping[Any, Any]) -> dict[str, Mapping[Any, Any]]:
    """Return the entries of a mapping that hold weights, none if it is a state dict itself."""
    if _is_state_dict(content):
        return {}
    mappings = {str(key): value for key, value in content.items() if isinstance(value, Mapping)}
    mappings = {key: value for key, value in mappings.items() if not _is_other(key)}
    known = {k: v for k, v in mappings.items() if k.lower() in CONTAINERS and any(_flatten(v))}
    alike = {k: v for k, v in mappings.items() if _is_state_dict(v) or _containers(v)}
    return {k: v for k, v in mappings.items() if k in known or k in alike}


def _is_state_dict(content: Mapping[Any, Any]) -> bool:
    """Return whether a mapping holds tensors under dotted names, as ``state_dict()`` does."""
    return any(isinstance(v, Tensor) and "." in str(k) for k, v in content.items())


def _is_other(key: str) -> bool:
    return any(word in key.lower() for word in OTHERS)


def _flatten(content: Mapping[Any, Any], prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Yield all tensors under dotted names, without those of optimizers and the like."""
    for key, value in content.items():
        if isinstance(value, Tensor):
            yield f"{prefix}{key}", value
        elif isinstance(value, Mapping) and not _is_other(str(key)):
            yield from _flatten(value, f"{prefix}{key}.")


def _describe(content: Any) -> str:
    if isinstance(content, Tensor):
        return f"one tensor {tuple(content.shape)} without a name"
    return f"a {type(content).__name__}"
