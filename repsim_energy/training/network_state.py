"""State of a network between two steps of its training, from which it goes on to the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.numerics.generators import generator_states, restore_generators
from repsim_energy.training.average import Average
from repsim_energy.training.history import Record

__all__ = ["State", "attributes_of", "restore_attributes", "restore_network", "state_of_network"]

State = dict[str, Any]

OF_ALL_MODULES = frozenset(vars(nn.Module()))
"""Attributes that every module has."""


def state_of_network(
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average,
    record: Record,
    device: torch.device,
) -> State:
    """Return the state of a training between two steps."""
    return {
        "module": module.state_dict(),
        "buffers": dict(module.named_buffers()),  # also those that state_dict leaves out
        "attributes": attributes_of(module),
        "optimizer": optimizer.state_dict(),
        "average": average.state(),
        "record": record.state(),
        "generators": generator_states(device),
    }


def restore_network(
    state: State,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Average,
    record: Record,
    device: torch.device,
) -> None:
    """Put a training that has not taken a step into a state of :func:`state_of_network`."""
    module.load_state_dict(state["module"])
    with torch.no_grad():
        for name, buffer in module.named_buffers():
            buffer.copy_(state["buffers"][name])
    restore_attributes(module, state["attributes"], device)
    optimizer.load_state_dict(state["optimizer"])
    average.restore(state.get("average"))
    record.restore(state["record"], device)
    restore_generators(state["generators"], device)


def attributes_of(module: nn.Module) -> dict[str, dict[str, Any]]:
    """Return the numbers, texts and tensors that modules hold as plain attributes.

    A network may count its steps in one. Other objects are not stored.
    """
    return {
        name: {
            attribute: value.detach() if isinstance(value, Tensor) else value
            for attribute, value in vars(part).items()
            if attribute not in OF_ALL_MODULES
            and isinstance(value, bool | int | float | str | Tensor)
        }
        for name, part in module.named_modules()
    }


def restore_attributes(
    module: nn.Module, known: Mapping[str, Mapping[str, Any]], device: torch.device
) -> None:
    """Set the attributes that :func:`attributes_of` returned."""
    for name, part in module.named_modules():
        for attribute, value in known[name].items():
            setattr(part, attribute, value.to(device) if isinstance(value, Tensor) else value)
