"""Nulls of metrics on activations, drawn as shuffled or rotated samples of one network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.layers import batches_of
from repsim_energy.comparison.nulls.judged import Numbers, best_values, exact_numbers, judge
from repsim_energy.comparison.nulls.words import DRAWS, Null
from repsim_energy.comparison.plan import Key
from repsim_energy.interfaces import Activations, Direction, Metric, OperatesOn
from repsim_energy.progress import working

__all__ = ["KeepingMetric", "SampleNull"]

SEED = 20261
"""Of the generators that draw orders and rotations."""

Array = NDArray[np.float64]
Index = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class SampleNull:
    """Null of a metric on activations: one network of each pair has its samples changed.

    Every layer of a network is changed in the same way, so that the best of several layers has a
    null, too.

    Parameters
    ----------
    networks : numbers of data sets, models and seeds
    labels : of layers
    activations : returns those of a layer of a network for all samples, by its index
    """

    null: Null
    metric: Metric
    networks: Key
    labels: Sequence[str]
    activations: Callable[[Index], Tensor]

    def numbers(
        self,
        representations: Mapping[Index, Array],
        similarity: Array,
    ) -> tuple[Numbers, Numbers]:
        """Return the numbers of all pairs of layers, and of the best pair of two networks' layers.

        Parameters
        ----------
        representations : index of a layer of a network -> its representation
        similarity : of all pairs, of shape ``2 * (dataset, model, seed, layer)``

        Returns
        -------
        tuple
            Arrays of the shape of ``similarity``; and arrays of all pairs of networks, none if
            there is one layer or nothing was drawn
        """
        shape = (*self.networks, len(self.labels))
        size = int(np.prod(shape))
        flat = similarity.reshape(size, size)
        best = best_values(self.metric, flat)
        at = {int(np.ravel_multi_index(index, shape)): index for index in representations}
        members = {place: representations[index] for place, index in sorted(at.items())}
        numbers: Numbers = {}
        of_best: Numbers = {}
        if self.null.drawn and (not self.null.exact or shape[-1] > 1):
            draws = self._draw_all(at, members, flat)
            numbers = judge(self.metric, flat, draws, np.arange(size), best)
            if shape[-1] > 1:
                of_best = self._best(flat, draws, best)
        if self.null.exact:
            numbers = exact_numbers(self.metric, flat, members, best)
        return (
            {name: values.reshape(similarity.shape) for name, values in numbers.items()},
            {name: values.reshape(shape[:-1] * 2) for name, values in of_best.items()},
        )

    def _draw_all(
        self,
        at: Mapping[int, Index],
        members: Mapping[int, Array],
        similarity: Array,
    ) -> Array:
        """Return (M, q, q) values of all pairs, where the later one of a pair is changed."""
        draws = np.full((DRAWS, *similarity.shape), np.nan)
        with working("drawing the null", len(at), "layers") as advance:
            for j, index in at.items():
                others = [i for i in members if i < j and not np.isnan(similarity[i, j])]
                changes = self._changed(index, members[j])
                for m, changed in enumerate(changes if others else ()):
                    values = [self.metric.compare(members[i], changed) for i in others]
                    draws[m, others, j] = draws[m, j, others] = values
                advance(1)
        return draws

    def _changed(self, index: Index, representation: Array) -> Iterator[Array]:
        """Yield the representations of a layer after each change of its samples."""
        shuffle = getattr(self.metric, "shuffle", None)
        if shuffle is not None and self.null.word == "permutation":
            for m in range(DRAWS):
                yield shuffle(representation, np.random.default_rng([SEED, m]))
            return
        activations = self.activations(index)
        batch = getattr(self.metric, "batch", None)
        size = len(activations) if batch is None else batches_of(len(activations), batch)[1]
        for m in range(DRAWS):
            change = CHANGES[self.null.word](np.random.default_rng([SEED, m]))
            parts = [
                self.metric.represent(Activations(change(part))) for part in activations.split(size)
            ]
            yield parts[0] if batch is None else np.stack(parts)

    def _best(self, similarity: Array, draws: Array, best: Array | float) -> Numbers:
        """Return the numbers of the most similar pair of layers of every two networks."""
        layers = len(self.labels)
        count = len(similarity) // layers
        largest = np.fmax if self.metric.direction == "similarity" else np.fmin

        def reduced(values: Array, reduce: np.ufunc = largest) -> Array:
            parts = values.reshape(*values.shape[:-2], count, layers, count, layers)
            out: Array = reduce.reduce(reduce.reduce(parts, axis=-1), axis=-2)
            return out

        if isinstance(best, np.ndarray):
            low, high = reduced(best, np.fmin), reduced(best, np.fmax)
            best = np.where(np.isclose(low, high, rtol=1e-6, atol=0), high, np.nan)
        found, drawn = reduced(similarity), reduced(draws)
        numbers = judge(self.metric, found, drawn, np.arange(count), best)
        itself = np.eye(count, dtype=bool)
        kept = ("null_threshold", "p_value", "calibrated")
        return {
            "similarity": np.where(itself, np.nan, found),
            **{name: numbers[name] for name in kept},
        }


class KeepingMetric:
    """Metric that represents nothing and keeps the activations of one layer."""

    name = "none"
    operates_on: OperatesOn = "activations"
    direction: Direction = "similarity"
    bounds = (0.0, 1.0)
    invariances: frozenset[str] = frozenset()
    activations: Tensor

    def represent(self, subject: Activations) -> Array:
        """Keep the activations."""
        self.activations = subject.values
        return np.empty(0)

    def compare(self, a: Array, b: Array) -> float:
        """Return NaN."""
        return np.nan

    def null_interval(self, a: Array, b: Array) -> tuple[float, float]:
        """Return NaN."""
        return (np.nan, np.nan)


def _shuffling(generator: np.random.Generator) -> Callable[[Tensor], Tensor]:
    """Return the function that puts samples in a random order, a new one at each call."""
    return lambda samples: samples[torch.from_numpy(generator.permutation(len(samples)))]


def _rotating(generator: np.random.Generator) -> Callable[[Tensor], Tensor]:
    r"""Return the function that rotates samples at random about their mean.

    .. math:: X \mapsto 1\bar x^\top + R (X - 1\bar x^\top),\qquad R 1 = 1

    R is a random orthogonal matrix of the differences from the mean, by the Haar measure. The mean
    of the features and the eigenvalues of the centered Gram matrix stay the same.
    """

    def rotate(samples: Tensor) -> Tensor:
        n = len(samples)
        square = torch.from_numpy(generator.standard_normal((n - 1, n - 1)).astype(np.float32))
        square = square.double() if samples.dtype == torch.float64 else square
        q, r = torch.linalg.qr(square)
        q = q * r.diagonal().sign()  # without it QR prefers some rotations
        flat = samples.flatten(1)
        mean = flat.mean(0)
        # The reflection H that takes the first axis to the direction of the mean.
        axis = torch.full((n,), n**-0.5, dtype=square.dtype)
        axis[0] -= 1
        axis /= axis.norm()

        def reflected(x: Tensor) -> Tensor:
            return x - 2 * torch.outer(axis, axis @ x)

        turned = reflected(flat - mean)
        turned[1:] = q @ turned[1:]
        return (reflected(turned) + mean).view(samples.shape)

    return rotate


CHANGES = {"permutation": _shuffling, "rotation": _rotating}
"""Name of a null -> generator -> change of the samples of a batch."""
