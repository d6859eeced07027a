"""New networks, as untrained as their seed makes them."""

from __future__ import annotations

import torch
from torch import nn

from repsim_energy.errors import RepsimError, UsageError, reason_of
from repsim_energy.interfaces import Dataset, ModelSpec, TrainedModel
from repsim_energy.models.first_layer import first_layer
from repsim_energy.models.layers import see_transformed_patches

__all__ = ["NETWORK_ERRORS", "build", "called", "image_shape"]

NETWORK_ERRORS = (
    RuntimeError,
    ValueError,
    TypeError,
    IndexError,
    AttributeError,
    AssertionError,
)
"""What a network's own code raises on images that it was not made for."""


def called(spec: ModelSpec) -> str:
    """Return what to call a model in an error; one of a plugin with where it comes from."""
    origin = (spec.identity or {}).get("distribution", "")
    built_in = not origin or origin.startswith("repsim-energy ")
    return f"model '{spec.label}'" + ("" if built_in else f" of {origin}")


def image_shape(data: Dataset) -> tuple[int, int, int]:
    """Return the (c, h, w) of a data set's images."""
    _, c, h, w = data.train.images.shape
    return c, h, w


def build(spec: ModelSpec, data: Dataset, seed: int) -> nn.Module | TrainedModel:
    """Return a new network for a data set, its initial weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            built = spec.build(len(data.train.classes), int(data.train.images.shape[1]))
        except RepsimError:
            raise
        except Exception as error:
            raise UsageError(
                f"{called(spec)} cannot be built ({reason_of(error)}); check its options"
            ) from error
    if not isinstance(built, nn.Module | TrainedModel):
        raise UsageError(f"{called(spec)} built {type(built).__name__}, expected a torch.nn.Module")
    if data.train.transform is not None:
        if isinstance(built, TrainedModel):
            raise UsageError(
                f"model '{spec.label}' is trained already and cannot see the transformed patches "
                f"of '{data.label}', expected an architecture"
            )
        see_transformed_patches(
            built, data.train.transform, first_layer(built, image_shape(data)).name
        )
    return built
