"""The rules that an architecture keeps to."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import torch
from torch import Tensor, nn

from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.interfaces import TrainedModel
from repsim_energy.models.filters.applied_filters import applied_filters
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.testing.contract import (
    Broken,
    Finding,
    Rules,
    demand,
    hold,
    same_bits,
    say_what_is_undescribed,
    titled,
)

__all__ = ["check_model"]

CASES = ((10, 3), (2, 1))
"""Numbers of classes and of channels that a network is built for."""


def check_model(
    build: Callable[..., nn.Module | TrainedModel],
    *,
    name: str | None = None,
    size: int = 32,
    **options: Any,
) -> list[Finding]:
    """Hold an architecture to what training, comparing and processes need of it.

    Parameters
    ----------
    build : ``callable(num_classes, in_channels, **options)``
    name : what to call it; by default the callable's own name
    size : rows and columns of the images it is tried on
    options : as a user would give them

    Raises
    ------
    ContractError
        Which rules are broken, and what to do about each.
    """
    model = _Model(partial(build, **options), size)
    what = titled("model", build, name)
    say_what_is_undescribed(what, build, 2)
    first = hold(what, {"is built for classes and channels": _built}, model)
    rules = GIVEN_RULES if isinstance(model.build(*CASES[0]), TrainedModel) else RULES
    return first + hold(what, rules, model)


@dataclass(frozen=True, eq=False)
class _Model:
    build: Callable[..., Any]
    size: int

    @cached_property
    def cases(self) -> list[tuple[int, int]]:
        """The classes and channels that it is built for; it may refuse all but color images."""
        taken = [CASES[0]]
        with suppress(RepsimError):
            self.build(*CASES[1])
            taken.append(CASES[1])
        return taken

    def new(self, seed: int, classes: int, channels: int) -> nn.Module:
        """Return a network whose initial weights are drawn from a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = self.build(classes, channels)
        module: nn.Module = built.module if isinstance(built, TrainedModel) else built
        return module

    def images(self, channels: int) -> Tensor:
        shape = (4, channels, self.size, self.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _built(model: _Model) -> None:
    built = model.build(*CASES[0])
    got = type(built).__name__
    demand(
        isinstance(built, nn.Module | TrainedModel),
        f"builds {got}, expected a torch.nn.Module or a TrainedModel",
    )


def _answers(model: _Model) -> None:
    for classes, channels in model.cases:
        net, images = model.new(0, classes, channels), model.images(channels)
        for mode in (True, False):
            answer = net.train(mode)(images)
            got = tuple(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
            demand(
                got == (4, classes),
                f"answers 4 images of {channels} channels with {got}, expected (4, {classes}): one "
                "number per class",
            )
            demand(bool(answer.isfinite().all()), "answers with NaN or infinite numbers")


def _answers_alike(model: _Model) -> None:
    net, images = model.new(0, *CASES[0]).eval(), model.images(CASES[0][1])
    with torch.no_grad():
        same = same_bits(net(images), net(images))
    demand(same, "answers the same images differently in evaluation; draw nothing at random there")


def _has_a_first_layer(model: _Model) -> None:
    for classes, channels in model.cases:
        try:
            net = model.new(0, classes, channels)
            image = (channels, model.size, model.size)
            name, _, problem, _ = first_layer(net, image)
            seen = applied_filters(net, name, image).shape[1]
        except UsageError as error:
            raise Broken(str(error)) from error
        demand(
            seen == channels,
            f"the layer '{name}' sees {seen} channels of images of {channels}; "
            f"let one get the image ({problem})",
        )


def _starts_from_the_seed(model: _Model) -> None:
    one, again, other = (model.new(seed, *CASES[0]).state_dict() for seed in (1, 1, 2))
    same = all(same_bits(one[key], again[key]) for key in one)
    demand(same, "has other weights from the same seed; draw them from torch's global generator")
    differs = any(not same_bits(one[key], other[key]) for key in one)
    demand(differs, "has the same weights from every seed; return a TrainedModel if it is trained")


def _shares_nothing(model: _Model) -> None:
    nets = [model.new(0, *CASES[0]) for _ in range(2)]
    places = [{p.data_ptr() for p in net.parameters()} for net in nets]
    demand(not places[0] & places[1], "two networks share weights; build new layers in each call")


def _learns(model: _Model) -> None:
    net = model.new(0, *CASES[0]).train()
    loss = nn.functional.cross_entropy(net(model.images(CASES[0][1])), torch.arange(4))
    loss.backward()
    moved = [p for p in net.parameters() if p.grad is not None and bool(p.grad.any())]
    demand(bool(moved), "no gradient reaches any weight; keep the answer attached to the weights")


def _can_be_told(model: _Model) -> None:
    try:
        pickle.dumps(model.build)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise Broken(
            f"cannot be handed to another process ({error}); define the function at the top of "
            "a module"
        ) from error


def _is_the_same_again(model: _Model) -> None:
    one, again = (model.new(seed, *CASES[0]).state_dict() for seed in (1, 2))
    same = one.keys() == again.keys() and all(same_bits(one[key], again[key]) for key in one)
    demand(same, "has other weights in another call; a TrainedModel is taken as it is")


RULES: Rules = {
    "answers images with a number per class": _answers,
    "answers the same twice in evaluation": _answers_alike,
    "has a first layer whose filters see the image": _has_a_first_layer,
    "starts from the weights that the seed gives": _starts_from_the_seed,
    "shares no weights with another of its kind": _shares_nothing,
    "can learn": _learns,
    "can be built in another process": _can_be_told,
}

GIVEN_RULES: Rules = {
    "is the same network every time": _is_the_same_again,
    "can be built in another process": _can_be_told,
}
"""For networks that were trained elsewhere."""
