"""Similarities of layers on the same samples, with their null and their confidence intervals."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.intervals import half_similarities, interval_variables
from repsim_energy.comparison.measured import NETWORK_DIMS, Variables, paired
from repsim_energy.comparison.nulls.judged import Numbers, null_variables
from repsim_energy.comparison.nulls.of_activations import SampleNull
from repsim_energy.comparison.nulls.words import Null
from repsim_energy.comparison.pairs import Pairs, compare_pairs, pair_variables, warn_undefined
from repsim_energy.comparison.plan import Plan
from repsim_energy.comparison.plan_layers import Layers
from repsim_energy.interfaces import Metric

__all__ = ["LAYER_DIMS", "Index", "SamplePairs"]

LAYER_DIMS = (*NETWORK_DIMS, "layer")
"""Dimensions of a value per layer of a network."""

Index = tuple[int, ...]
Representations = Mapping[Index, NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class SamplePairs:
    """Comparison of all pairs of layers.

    Parameters
    ----------
    null : of the similarities
    samples : index of a layer -> what identifies its samples; pairs of different samples are NaN
    activations : index of a layer -> its activations for all samples
    called : index of a layer -> its name in warnings
    """

    plan: Plan
    metric: Metric
    null: Null
    layers: Layers
    samples: Callable[[Index], Hashable]
    activations: Callable[[Index], Tensor]
    called: Callable[[Index], str]

    def variables(
        self, representations: Representations, halves: Iterable[Representations]
    ) -> tuple[Variables, dict[str, str]]:
        """Return the variables and attributes of all pairs.

        Parameters
        ----------
        representations : index of a layer -> its representation
        halves : the same for each half-sample of the samples
        """
        pairs, null = self._compare(representations), self.null
        called = {index: self.called(index) for index in representations}
        warn_undefined(pairs, called)
        of_best: Numbers = {}
        if null.exact or null.drawn:
            labels = self.layers.labels
            against = SampleNull(null, self.metric, self.plan.shape, labels, self.activations)
            numbers, of_best = against.numbers(representations, pairs["similarity"])
            pairs |= numbers
        intervals, attributes = interval_variables(
            pairs["similarity"],
            half_similarities(self.metric, halves, self._shape, self.samples),
            self._exist(),
            self.metric.bounds,
            LAYER_DIMS,
        )
        variables = {
            **pair_variables(pairs, paired(LAYER_DIMS), null.word),
            **null_variables(of_best, paired(NETWORK_DIMS), null.word, "best_"),
            **intervals,
        }
        return variables, {**attributes, "null": null.word}

    @property
    def _shape(self) -> Index:
        return (*self.plan.shape, len(self.layers.labels))

    def _compare(self, representations: Representations) -> Pairs:
        """Return the similarities of all pairs that are of the same samples.

        Where positions are samples there is no null interval: metrics shuffle samples one by one,
        and those of an image are not independent.
        """
        wanted = self.null.exact or not self.null.drawn
        pairs = compare_pairs(
            self.metric, representations, self._shape, self.samples, intervals=wanted
        )
        for index in representations:
            if self.layers.sample_grid(index[1], self.layers.labels[index[3]]):
                for name in ("null_low", "null_high"):
                    pairs[name][index] = np.nan
        return pairs

    def _exist(self) -> NDArray[np.bool_]:
        """Return which layers of which networks are compared."""
        exist = np.zeros(self._shape, dtype=bool)
        for key in self.plan.keys:
            exist[key] = [label in self.layers.names[key.model] for label in self.layers.labels]
        return exist
