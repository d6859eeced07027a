"""Rules for architectures and trained models."""

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
from repsim_energy.interfaces import ImageSet, TrainedModel
from repsim_energy.models.filters.applied_filters import applied_filters
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.options import call_builder, is_fitted
from repsim_energy.testing.contract import (
    Finding,
    Rules,
    RuleViolation,
    check_rules,
    display_name,
    require,
    same_bits,
    warn_of_undescribed_options,
)

__all__ = ["check_model"]

CASES = ((10, 3), (2, 1))
"""Numbers of classes and channels that networks are built from."""


def check_model(
    build: Callable[..., nn.Module | TrainedModel],
    *,
    name: str | None = None,
    size: int = 32,
    **options: Any,
) -> list[Finding]:
    """Check an architecture against the rules, or a trained model against fewer.

    Parameters
    ----------
    build : ``callable(num_classes, in_channels, **options)``, with a third parameter ``images``
        if it is fitted to the training images
    name : of the model in messages; by default the name of the callable
    size : height and width of the images that are passed through the network
    options : of the callable

    Returns
    -------
    list of Finding
        One for each rule.

    Raises
    ------
    RuleViolation
        If a rule is broken; the message names each broken rule with a remedy.

    Examples
    --------
    >>> from repsim_energy.registry import load_registry, resolve_model
    >>> spec = resolve_model(load_registry(installed=False), "lenet5")
    >>> all(finding.problem is None for finding in check_model(spec.build))
    True
    """
    model = _Model(partial(build, **options), size)
    what = display_name("model", build, name)
    warn_of_undescribed_options(what, build, 2 + is_fitted(model.build))
    first = check_rules(what, {"is built from the numbers of classes and channels": _built}, model)
    rules = GIVEN_RULES if isinstance(model.built(*CASES[0]), TrainedModel) else RULES
    return first + check_rules(what, rules, model)


@dataclass(frozen=True, eq=False)
class _Model:
    build: Callable[..., Any]
    size: int

    def built(self, classes: int, channels: int) -> Any:
        """Call the architecture, with noise images if it is fitted to images."""
        pixels = (128 + 40 * self.images(channels)).clamp(0, 255).to(torch.uint8)
        names = tuple(map(str, range(classes)))
        noise = ImageSet(pixels, torch.arange(4) % classes, names, "noise")
        return call_builder(self.build, classes, channels, noise)

    @cached_property
    def cases(self) -> list[tuple[int, int]]:
        """Numbers of classes and channels; gray images may be refused."""
        cases = [CASES[0]]
        with suppress(RepsimError):
            self.built(*CASES[1])
            cases.append(CASES[1])
        return cases

    def new(self, seed: int, classes: int, channels: int) -> nn.Module:
        """Return a network whose initial weights are drawn from a seed."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            built = self.built(classes, channels)
        module: nn.Module = built.module if isinstance(built, TrainedModel) else built
        return module

    def images(self, channels: int) -> Tensor:
        shape = (4, channels, self.size, self.size)
        return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _built(model: _Model) -> None:
    built = model.built(*CASES[0])
    got = type(built).__name__
    require(
        isinstance(built, nn.Module | TrainedModel),
        f"builds {got}, expected a torch.nn.Module or a TrainedModel",
    )


def _returns_class_scores(model: _Model) -> None:
    for classes, channels in model.cases:
        net, images = model.new(0, classes, channels), model.images(channels)
        for mode in (True, False):
            output = net.train(mode)(images)
            got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            require(
                got == (4, classes),
                f"returns {got} for 4 images of {channels} channels, expected (4, {classes}): one "
                "number per image and class",
            )
            require(
                bool(output.isfinite().all()),
                "returns NaN or infinite numbers, expected finite ones",
            )


def _is_deterministic(model: _Model) -> None:
    net, images = model.new(0, *CASES[0]).eval(), model.images(CASES[0][1])
    with torch.no_grad():
        same = same_bits(net(images), net(images))
    require(
        same,
        "returns other numbers for the same images in evaluation mode; draw random numbers in "
        "training mode only",
    )


def _has_a_first_layer(model: _Model) -> None:
    for classes, channels in model.cases:
        try:
            net = model.new(0, classes, channels)
            image = (channels, model.size, model.size)
            name, _, problem, _ = first_layer(net, image)
            seen = applied_filters(net, name, image).shape[1]
        except UsageError as error:
            raise RuleViolation(str(error)) from error
        require(
            seen == channels,
            f"the layer '{name}' receives {seen} channels of images of {channels}; "
            f"pass the image to a layer directly ({problem})",
        )


def _starts_from_the_seed(model: _Model) -> None:
    one, again, other = (model.new(seed, *CASES[0]).state_dict() for seed in (1, 1, 2))
    same = all(same_bits(one[key], again[key]) for key in one)
    require(same, "has other weights from the same seed; draw them from torch's global generator")
    differs = any(not same_bits(one[key], other[key]) for key in one)
    require(differs, "has the same weights from every seed; return a TrainedModel if it is trained")


def _shares_nothing(model: _Model) -> None:
    nets = [model.new(0, *CASES[0]) for _ in range(2)]
    places = [{p.data_ptr() for p in net.parameters()} for net in nets]
    require(not places[0] & places[1], "two networks share weights; build new layers in each call")


def _receives_a_gradient(model: _Model) -> None:
    net = model.new(0, *CASES[0]).train()
    loss = nn.functional.cross_entropy(net(model.images(CASES[0][1])), torch.arange(4))
    loss.backward()
    moved = [p for p in net.parameters() if p.grad is not None and bool(p.grad.any())]
    require(bool(moved), "no gradient reaches any weight; do not detach the output")


def _can_be_pickled(model: _Model) -> None:
    try:
        pickle.dumps(model.build)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RuleViolation(
            f"cannot be pickled ({error}); define the function at the top level of a module"
        ) from error


def _has_the_same_weights(model: _Model) -> None:
    one, again = (model.new(seed, *CASES[0]).state_dict() for seed in (1, 2))
    same = one.keys() == again.keys() and all(same_bits(one[key], again[key]) for key in one)
    require(same, "has other weights in the second call; load them from a file, or fix the seed")


RULES: Rules = {
    "returns one finite number per image and class": _returns_class_scores,
    "is deterministic in evaluation mode": _is_deterministic,
    "has a first layer that receives the image": _has_a_first_layer,
    "draws its initial weights from torch's global generator": _starts_from_the_seed,
    "shares no weights with a second network": _shares_nothing,
    "receives a gradient in its weights": _receives_a_gradient,
    "can be pickled for another process": _can_be_pickled,
}

GIVEN_RULES: Rules = {
    "has the same weights in every call": _has_the_same_weights,
    "can be pickled for another process": _can_be_pickled,
}
"""Rules for a TrainedModel."""
