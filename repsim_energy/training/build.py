"""Construction of untrained networks from a seed."""

from __future__ import annotations

from functools import partial
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor, nn

from repsim_energy.errors import RepsimError, UsageError, reason_of
from repsim_energy.interfaces import Dataset, ModelSpec, TrainedModel
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.models.filters.layers import see_transformed_patches
from repsim_energy.numerics.generators import seeded
from repsim_energy.options import call_builder
from repsim_energy.training.answers import answered
from repsim_energy.training.isolation import training_settings

__all__ = ["NETWORK_ERRORS", "build", "called", "remedy_of"]

NETWORK_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    AssertionError,
    LookupError,
    ArithmeticError,
    NameError,
)
"""Errors that the code of a network raises on images that it was not made for."""


def remedy_of(error: BaseException) -> str:
    """Return a remedy for an error of a network."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in str(error):
        return "make room in memory, or use a smaller model, batch= or jobs="
    if isinstance(error, RuntimeError) and "device" in str(error):
        return "give device='cpu', or keep all tensors of the network in its parameters and buffers"
    if isinstance(error, RuntimeError | ValueError | IndexError | AssertionError):
        return "try another size= or model"
    return "expected a network that takes images (n, c, h, w) alone; mend its forward"


def called(spec: ModelSpec) -> str:
    """Return the name of a model in errors, with its distribution if a plugin offers it."""
    of = [f" of {origin}" for origin in spec.origins[:1] if not origin.is_built_in]
    return "".join([f"model '{spec.label}'", *of])


_handed_out: WeakValueDictionary[int, Tensor] = WeakValueDictionary()
"""Parameters of new networks that still exist, by their identity."""


@training_settings()
def build(spec: ModelSpec, data: Dataset, seed: int) -> nn.Module | TrainedModel:
    """Return a new network for a data set, its initial weights drawn from the seed.

    Raises
    ------
    UsageError
        If the network cannot be built, is not a module, or shares weights with an earlier one.
    """
    with seeded(seed):
        built = _call(spec, data)
        if not data.train.classes and not isinstance(built, TrainedModel):
            raise UsageError(
                f"images of '{data.label}' have no labels, expected some to train {called(spec)} "
                "on; give labels (a folder for each class), or networks that are trained already"
            )
        _check_weights(built.module if isinstance(built, TrainedModel) else built, spec)
        if isinstance(built, nn.Module):
            _check_new(built, spec)
            if spec.answer:
                built.register_forward_hook(partial(_choose, spec))
    if data.train.transform is not None:
        if isinstance(built, TrainedModel):
            raise UsageError(
                f"model '{spec.label}' is trained already and cannot see the transformed patches "
                f"of '{data.label}', expected an architecture"
            )
        see_transformed_patches(
            built, data.train.transform, first_layer(built, data.image_shape).name
        )
    return built


def _call(spec: ModelSpec, data: Dataset) -> nn.Module | TrainedModel:
    """Call the architecture, which must return a network and leave the default dtype alone."""
    given = (max(1, len(data.train.classes)), int(data.train.images.shape[1]))
    try:
        built = call_builder(spec.build, *given, data.train)
    except RepsimError:
        raise
    except Exception as error:
        raise UsageError(
            f"{called(spec)} cannot be built ({reason_of(error)}); check its options"
        ) from error
    if torch.get_default_dtype() != torch.float32:
        changed = torch.get_default_dtype()
        torch.set_default_dtype(torch.float32)
        raise UsageError(
            f"{called(spec)} sets torch's default dtype to {changed} while it is built, "
            "expected it to be left alone; give the network its dtype with .to(dtype=...)"
        )
    if not isinstance(built, nn.Module | TrainedModel):
        raise UsageError(f"{called(spec)} built {type(built).__name__}, expected a torch.nn.Module")
    return built


def _check_weights(module: nn.Module, spec: ModelSpec) -> None:
    """Refuse a network whose weights or layers cannot be read."""
    if isinstance(module, torch.jit.ScriptModule):
        raise UsageError(
            f"{called(spec)} is a TorchScript module, expected the torch.nn.Module that it was "
            "made from, whose layers and weights can be read"
        )
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise UsageError(
                f"{called(spec)} has no weights '{name}' yet, as its layer is a lazy one, expected "
                "a network with weights; show it a batch of images first"
            )
        if parameter.is_meta:
            raise UsageError(
                f"{called(spec)} has no weights '{name}', which are on the device meta, expected a "
                "network with weights; load them"
            )


def _check_new(module: nn.Module, spec: ModelSpec) -> None:
    """Refuse a network that shares weights with an earlier one, which would be trained twice."""
    parameters = list(module.parameters())
    if any(_handed_out.get(id(parameter)) is parameter for parameter in parameters):
        raise UsageError(
            f"{called(spec)} returned a network with the weights of an earlier one, expected "
            "new ones each time; build all layers inside of the function, or give the trained "
            "module itself in place of the function"
        )
    for parameter in parameters:
        _handed_out[id(parameter)] = parameter


def _choose(spec: ModelSpec, _: nn.Module, inputs: tuple[Any, ...], answer: object) -> Tensor:
    """Return the chosen entry of the output of a network."""
    how = "name another entry with answer="
    return answered(answer, len(inputs[0]), called(spec), spec.answer, how)
