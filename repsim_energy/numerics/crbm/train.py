"""Training of convolutional restricted Boltzmann machines by contrastive divergence."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from repsim_energy.errors import TrainingError, UsageError
from repsim_energy.numerics.crbm.layer import Crbm, pooled_probabilities, pooled_sample
from repsim_energy.numerics.settings import own_settings
from repsim_energy.numerics.threads import one_thread
from repsim_energy.progress import working

__all__ = ["CrbmOptions", "CrbmTraining", "statistics", "train_crbm"]

SPARSITY_RATE = 0.2
"""Step of the hidden biases towards the target activation."""

INITIAL_DEVIATION = 0.01
"""Standard deviation of the initial weights."""

FIRST_STEPS = 50
"""Steps with the momentum 0.5; it is 0.9 later."""

RATED_STEPS = 50
"""Last steps, over which activation and reconstruction error are averaged."""


@dataclass(frozen=True)
class CrbmOptions:
    """Options of a layer and of its training.

    Parameters
    ----------
    filters : number of filters, each with a hidden map
    patch : height and width of the filters
    pool : side of the blocks of probabilistic max pooling
    sparsity : mean activation of hidden units that training leads to
    steps : number of gradient steps
    lr : step size, for gradients divided by the target activation
    decay : factor of the weight decay
    """

    filters: int = 24
    patch: tuple[int, int] = (9, 9)
    pool: int = 2
    sparsity: float = 0.03
    steps: int = 1000
    lr: float = 0.03
    decay: float = 0.03

    def __post_init__(self) -> None:
        """Refuse options outside of their range."""
        for name in ("filters", "pool", "steps"):
            if getattr(self, name) < 1:
                raise UsageError(f"got {name}={getattr(self, name)}, expected at least 1")
        limit = 1 / self.pool**2
        if not 0 < self.sparsity < limit:
            raise UsageError(
                f"got sparsity={self.sparsity}, expected a number between 0 and {limit:.3g}, as at "
                f"most one of {self.pool}x{self.pool} units is active; use 0.03, or a smaller pool="
            )
        if not 0 < self.lr < math.inf:
            raise UsageError(f"got lr={self.lr}, expected a positive number such as 0.03")
        if not 0 <= self.decay < math.inf:
            raise UsageError(f"got decay={self.decay}, expected a number from 0 such as 0.03")


@dataclass(frozen=True, eq=False)
class CrbmTraining:
    """A trained layer and measurements of its training.

    Parameters
    ----------
    layer : after training
    activation : (k,), mean activation of each hidden map over the last steps
    error : mean squared error of the reconstruction over the last steps, relative to the mean
        square of the visible units
    """

    layer: Crbm
    activation: Tensor
    error: float


def statistics(layer: Crbm, visible: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    r"""Return the derivatives of the mean of :math:`-E(v, h)` by filters and biases.

    They are sums over positions and means over the images. With the probabilities of hidden units
    in the place of the units, they are the derivatives of the negative free energy.

    Parameters
    ----------
    layer : the parameters
    visible : (n, c, h, w)
    hidden : (n, k, H, W), units or probabilities

    Returns
    -------
    (k, c, kh, kw), (k,) and (c,), as the filters and biases
    """
    n, (c, kh, kw) = len(visible), layer.filters.shape[1:]
    patches = functional.unfold(visible, (kh, kw)).transpose(0, 1).reshape(c * kh * kw, -1)
    units = hidden.transpose(0, 1).flatten(1)
    filters = (units @ patches.T).reshape(layer.filters.shape) / n
    centered = visible - layer.visible_bias[:, None, None] if layer.real else visible
    return filters, units.sum(1) / n, centered.sum((0, 2, 3)) / n


@own_settings()
def train_crbm(
    draw: Callable[[torch.Generator], Tensor],
    options: CrbmOptions,
    *,
    real: bool,
    seed: int = 0,
    label: str = "training crbm",
) -> CrbmTraining:
    r"""Train a layer by contrastive divergence with one step of Gibbs sampling (CD-1).

    For a batch of visible units, hidden ones are drawn, visible units are replaced by their mean
    given those, and the gradient is the difference of the :func:`statistics` of both, with
    probabilities of hidden units. Visible units near the border, which fewer hidden units reach
    than those in the middle, keep their values in the reconstruction. The model is thus one of the
    middle given the border. Without that, filters gather in the corners.

    Each hidden bias also takes a step of 0.2 (1 - q / p), where q is the mean activation of its
    map in the batch and p the target. This is the sparsity regularization of Lee et al. (2009),
    who update the bias alone, with the step in units of 1 / p. Gradients are divided by p, too, so
    that filters of rarely active units learn as fast. Targets far below 0.03 need a smaller step
    size. The step size is constant for half of the steps and then falls to 0. The computation
    runs in one thread, so that its result does not depend on their number.

    Parameters
    ----------
    draw : ``generator`` -> (n, c, h, w) visible units, a new batch each time, of a size with
        hidden maps of whole blocks
    options : of the layer and its training
    real : whether visible units are real; otherwise they are binary, or probabilities
    seed : of all random numbers
    label : of the training, in reports of progress

    Raises
    ------
    TrainingError
        If a number overflows.
    """
    generator = torch.Generator().manual_seed(seed)
    with one_thread(), working(label, options.steps, "steps") as advance:
        batch = draw(generator)
        layer = _initial(batch, options, real, generator)
        state = tuple(map(torch.zeros_like, _parameters(layer)))
        rated = []
        for step in range(options.steps):
            gradient, activation, error = _cd_gradient(layer, batch, generator)
            layer, state = _stepped(layer, state, gradient, activation, options, step)
            if step >= options.steps - RATED_STEPS:
                rated.append((activation, error))
            batch = draw(generator)
            advance(1)
    if not all(bool(values.isfinite().all()) for values in _parameters(layer)):
        raise TrainingError(f"{label} overflows with lr={options.lr}; use a smaller lr=")
    activations, errors = zip(*rated, strict=True)
    return CrbmTraining(layer, torch.stack(activations).mean(0), sum(errors) / len(errors))


def _parameters(layer: Crbm) -> tuple[Tensor, Tensor, Tensor]:
    return layer.filters, layer.hidden_bias, layer.visible_bias


def _initial(batch: Tensor, options: CrbmOptions, real: bool, generator: torch.Generator) -> Crbm:
    """Return a layer with small weights whose hidden units have the target activation."""
    c, p = batch.shape[1], options.sparsity
    shape = (options.filters, c, *options.patch)
    filters = INITIAL_DEVIATION * torch.randn(shape, generator=generator, dtype=torch.float32)
    bias = math.log(p / (1 - options.pool**2 * p))
    means = batch.mean((0, 2, 3))
    visible = means if real else means.clamp(1e-3, 1 - 1e-3).logit()
    hidden = torch.full((options.filters,), bias, dtype=torch.float32)
    return Crbm(filters, hidden, visible, options.pool, real)


def _cd_gradient(
    layer: Crbm, visible: Tensor, generator: torch.Generator
) -> tuple[tuple[Tensor, ...], Tensor, float]:
    """Return the gradient by CD-1 per hidden unit, mean activations and the relative error."""
    probabilities, _ = pooled_probabilities(layer.hidden_input(visible), layer.pool)
    hidden = pooled_sample(probabilities, layer.pool, generator)
    inner = _inner(layer, hidden)
    again = torch.where(inner, layer.visible_mean(hidden), visible)
    theirs, _ = pooled_probabilities(layer.hidden_input(again), layer.pool)
    units = hidden.shape[2] * hidden.shape[3]
    pairs = zip(
        statistics(layer, visible, probabilities), statistics(layer, again, theirs), strict=True
    )
    middle = inner.expand_as(visible)
    error = (visible - again)[middle].square().mean() / visible[middle].square().mean()
    activation = probabilities.mean((0, 2, 3))
    return tuple((one - other) / units for one, other in pairs), activation, float(error)


def _inner(layer: Crbm, hidden: Tensor) -> Tensor:
    """Return (h, w) whether as many hidden units as in the middle reach a visible unit."""
    kh, kw = layer.filters.shape[2:]
    h, w = (side + kernel - 1 for side, kernel in zip(hidden.shape[2:], (kh, kw), strict=True))
    inner = torch.zeros((h, w), dtype=torch.bool)
    inner[kh - 1 : h - kh + 1, kw - 1 : w - kw + 1] = True
    return inner


def _stepped(
    layer: Crbm,
    state: tuple[Tensor, ...],
    gradient: tuple[Tensor, ...],
    activation: Tensor,
    options: CrbmOptions,
    step: int,
) -> tuple[Crbm, tuple[Tensor, ...]]:
    """Return the layer and the moving sums of its gradients after a step."""
    p = options.sparsity
    momentum = 0.5 if step < FIRST_STEPS else 0.9
    lr = options.lr * min(1.0, 2 * (1 - step / options.steps))
    filters, hidden, visible = gradient
    slopes = (filters / p - options.decay * layer.filters, hidden / p, visible)
    moved = tuple(momentum * s + lr * slope for s, slope in zip(state, slopes, strict=True))
    return (
        replace(
            layer,
            filters=layer.filters + moved[0],
            hidden_bias=layer.hidden_bias + moved[1] + SPARSITY_RATE * (1 - activation / p),
            visible_bias=layer.visible_bias + moved[2],
        ),
        moved,
    )
