"""Checks of ten training steps, against the stored result of the same steps in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from repsim_energy.doctor.checks import Check, Deviations, relative_difference
from repsim_energy.doctor.inputs import smooth_images
from repsim_energy.doctor.stored import stored
from repsim_energy.doctor.ten_steps import RECIPE, SEEDS, data, network
from repsim_energy.interfaces import ModelSpec
from repsim_energy.models.filters.layers import find_first_conv, read_filters
from repsim_energy.training.build import build
from repsim_energy.training.ensemble import train_together
from repsim_energy.training.inputs import layouts_of, normalization_of
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.training import Training

__all__ = ["checks"]

SPEC = ModelSpec("ten steps", network, None)

MAX_DEVIATION, MAX_DEVIATION_BFLOAT16 = 2e-5, 0.2
"""Relative to the largest change of a filter.

In float32 up to 1e-6 was observed, on processors with and without AVX2 and AVX-512 and on a GPU;
TF32 would give 0.007. In bfloat16, 0.03 was observed.
"""


def checks(device: torch.device) -> list[Check]:
    """Return the checks of training on a device."""
    stored_result = "the stored result of the same steps in float64"
    alone, together = partial(_alone, RECIPE, device), partial(_together, device)
    reduced = partial(_alone, replace(RECIPE, precision="bfloat16"), device)
    listed = [
        Check("ten training steps", stored_result, MAX_DEVIATION, alone),
        Check("ten training steps in bfloat16", stored_result, MAX_DEVIATION_BFLOAT16, reduced),
        Check("ten training steps, two seeds at once", stored_result, MAX_DEVIATION, together),
        Check(
            "gradients of strided 1x1 convolutions",
            "sums in float64",
            1e-4,
            partial(_strided, device),
        ),
    ]
    if device.type == "cpu":
        shared = partial(_alone, RECIPE, device, SEEDS[:1])
        listed += [
            Check("initial weights of a seed", "stored ones", 1e-6, _initial),
            Check("ten training steps, all threads", stored_result, MAX_DEVIATION, shared, True),
        ]
    return listed


def _initial() -> Deviations:
    for seed in SEEDS:
        yield f"seed {seed}", relative_difference(_filters(_new(seed)), _stored(seed)["init"])


def _stored(seed: int) -> dict[str, Any]:
    result: dict[str, Any] = stored()["ten_steps"][SEEDS.index(seed)]
    return result


def _new(seed: int) -> nn.Module:
    module = build(SPEC, data(), seed)
    assert isinstance(module, nn.Module)
    return module


def _filters(module: nn.Module) -> Tensor:
    return read_filters(find_first_conv(module).module)


def _alone(recipe: Recipe, device: torch.device, seeds: Sequence[int] = SEEDS) -> Deviations:
    for seed in seeds:
        run = Training(SPEC, data(), seed, recipe).run(device)
        actual = {"init": run.initial, "trained": run.trained, "loss": run.history.loss}
        yield from _compare(seed, {**actual, "test_loss": run.history.evaluations[0, 0]})


def _together(device: torch.device) -> Deviations:
    modules = [_new(seed) for seed in SEEDS]
    initial = [_filters(module) for module in modules]
    train, test = data().train, data().test
    histories = train_together(
        modules, "0", train, test, normalization_of(train), RECIPE, SEEDS, device
    )
    for seed, module, init, history in zip(SEEDS, modules, initial, histories, strict=True):
        if isinstance(history, Exception):
            raise history
        actual = {"init": init, "trained": _filters(module), "loss": history.loss}
        yield from _compare(seed, {**actual, "test_loss": history.evaluations[0, 0]})


def _strided(device: torch.device) -> Deviations:
    """Compare gradients in the layouts in which such layers are trained."""
    images = torch.from_numpy(smooth_images(8, 15, 56, 56, seed=6)).float() / 255
    for channels in (4, 8, 15):
        layer = nn.Conv2d(channels, 8, 1, 2, bias=False)
        layout = layouts_of(layer)[0]
        inputs = images[:, :channels].to(device).contiguous(memory_format=layout)
        outputs = layer.to(device, memory_format=layout)(inputs)  # type: ignore[call-overload]
        outputs.square().sum().backward()
        seen, answer = inputs[:, :, ::2, ::2].double().cpu(), 2 * outputs.double().cpu()
        expected = torch.einsum("nohw,nihw->oi", answer, seen)
        assert layer.weight.grad is not None
        gradient = layer.weight.grad[:, :, 0, 0].double().cpu()
        yield f"{channels} channels", relative_difference(gradient, expected.detach())


def _compare(seed: int, actual: Mapping[str, Tensor]) -> Deviations:
    """Compare the changes of the filters, relative to the largest one, and the losses."""
    expected = {name: np.array(values) for name, values in _stored(seed).items()}
    change = actual["trained"].double() - actual["init"].double()
    yield (
        f"filters, seed {seed}",
        relative_difference(change, expected["trained"] - expected["init"]),
    )
    yield f"training loss, seed {seed}", relative_difference(actual["loss"], expected["loss"])
    yield (
        f"loss on test images, seed {seed}",
        relative_difference(actual["test_loss"], expected["test_loss"]),
    )
