"""Comparison of first-layer filters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.beyond import beyond_variables
from repsim_energy.comparison.common_patch import Kernels, as_patch
from repsim_energy.comparison.filter_banks import bank_variables, finite_filters
from repsim_energy.comparison.intervals import (
    choose_groups,
    half_similarities,
    interval_variables,
)
from repsim_energy.comparison.measured import (
    NETWORK_DIMS,
    Coords,
    Measured,
    Variables,
    dataset_coord,
    model_coord,
    network_coords,
    paired,
)
from repsim_energy.comparison.memory import NUMBERS_PER_PAIR, check_draws, check_pairs
from repsim_energy.comparison.metric_variables import with_metric_variables
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.nulls.of_filters import comparisons_of, drawable, filter_numbers
from repsim_energy.comparison.nulls.words import Null, choose_null
from repsim_energy.comparison.own_theory import OwnTheory, own_theories
from repsim_energy.comparison.pair_summary import (
    ALL,
    Groups,
    PairsLike,
    group_coords,
    groups_of_pairs,
    summary_variables,
)
from repsim_energy.comparison.pairs import Pairs, compare_pairs, pair_variables, warn_undefined
from repsim_energy.comparison.patch_bases import KnownBases, patch_bases
from repsim_energy.comparison.placed_nulls import with_placed_nulls
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.profiles import (
    STAGES,
    basis_variables,
    choose_stage,
    measure_profiles,
    profile_variables,
    snapshot_variables,
    warn_equal_starts,
    warn_near_initialization,
)
from repsim_energy.comparison.reliability import prepared_filters
from repsim_energy.comparison.runs import run_variables
from repsim_energy.errors import UsageError, warn
from repsim_energy.interfaces import Metric, PatchBasis
from repsim_energy.numerics.threads import one_thread
from repsim_energy.results import component_coords
from repsim_energy.scheduling.schedulers import Scheduler

__all__ = ["FilterComparison"]


@dataclass(frozen=True, eq=False)
class FilterComparison:
    """Comparison by a metric on filters, prepared before any network is trained.

    Parameters
    ----------
    stage : ``init``, ``trained`` or ``change``, at which filters are compared
    null : of the similarities
    bases : patch basis of each data set
    kernels : sizes of the filters, and how those of each size are measured on the bases
    halves : the same on the bases of half-samples of the images
    groups : of models, between which similarities are summarized; ``None`` for all pairs
    """

    plan: Plan
    metric: Metric
    stage: str
    null: Null
    bases: list[PatchBasis]
    kernels: Kernels
    halves: Sequence[Kernels]
    groups: Groups | None = None

    @classmethod
    def prepare(
        cls,
        plan: Plan,
        metric: Metric,
        scheduler: Scheduler,
        stage: str,
        patch: str | Sequence[int] = "auto",
        resamples: int | None = None,
        null: str = "auto",
        known: KnownBases | None = None,
        pairs: PairsLike = ALL,
    ) -> FilterComparison:
        """Choose the stage, compute the patch bases, and check that the comparison is possible.

        Parameters
        ----------
        resamples : number of groups of images, of which half-samples are compared
        known : patch bases that are not computed again; new ones are added
        pairs : as in :func:`~repsim_energy.compare`
        """
        size = as_patch(patch)
        channels, *own = next(iter(plan.patches.values()))[:3]
        components = channels * math.prod(size or own)
        smallest = min(len(data.train) for data in plan.datasets)
        groups = choose_groups(resamples, smallest, components, len(plan.keys))
        summarized = groups_of_pairs(pairs, plan)
        if summarized is None:
            check_pairs(plan, numbers=3 * NUMBERS_PER_PAIR + groups)  # the same beyond the theory
            chosen = choose_null(null, metric, comparisons_of(plan))
        elif null != "auto":
            raise UsageError(
                f"got null={null}, which describes single pairs, and pairs= for a summary without "
                "them; leave one of them out"
            )
        else:
            chosen = Null("metric")
        stage = choose_stage(stage, plan)
        bases = patch_bases(plan, scheduler, groups, size, known)
        kernels = Kernels(
            [b.whole for b in bases], plan.patches, size, partial(prepared_filters, metric)
        )
        halves = [kernels.on(half) for half in zip(*(b.halves for b in bases), strict=True)]
        chosen = drawable(chosen, plan, kernels)
        check_draws(comparisons_of(plan) if chosen.drawn else 0)
        return cls(plan, metric, stage, chosen, list(kernels.bases), kernels, halves, summarized)

    def finish(self, networks: Mapping[Key, Network]) -> Measured:
        """Compare the networks.

        Products of filters are small: threads would wait for each other for longer than they
        compute, for seconds where other programs run.
        """
        with one_thread():
            plan, bases, kernels = self.plan, self.bases, self.kernels
            finite, failures = finite_filters(plan, networks, self.stage)
            banks = {key: kernels.prepare(bank) for key, bank in finite.items()}
            profiles = measure_profiles(networks, kernels)
            theories = own_theories(networks, kernels)
            representations: dict[tuple[int, ...], NDArray[np.float64]] = {
                key: self.metric.represent(kernels.bank(key, bank, profiles[key][self.stage]))
                for key, bank in banks.items()
            }
            pairs, described = self._of_pairs(banks, representations, theories)
            variables: Variables = {
                **pairs,
                **profile_variables(plan, profiles, bases, self.stage, theories),
                **snapshot_variables(plan, networks, kernels, self.stage),
                **basis_variables(bases),
                **run_variables(plan, networks),
                **bank_variables(
                    self.metric, kernels, plan.shape, finite, banks, reliable=bool(self.halves)
                ),
            }
            variables |= beyond_variables(
                plan, variables, kernels, theories, self.stage, pairs=self.groups is None
            )
            warn_equal_starts(plan, networks)
            warn_near_initialization(
                plan, networks, variables["init_similarity"].values, self.stage
            )
            attributes = {
                "stage": self.stage,
                "centered": str(bases[0].centered).lower(),
                **described,
            }
            if kernels.patch is not None:
                attributes["patch"] = "x".join(map(str, kernels.patch))
            coords = self._coords(networks) | component_coords(variables["components"].values)
            measured = Measured(variables, coords, attributes, failures)
            return with_metric_variables(measured, self.metric, representations, NETWORK_DIMS)

    def _of_pairs(
        self,
        banks: Mapping[Key, Tensor],
        representations: Mapping[tuple[int, ...], NDArray[np.float64]],
        theories: Mapping[Key, OwnTheory],
    ) -> tuple[Variables, dict[str, str]]:
        """Return the similarities of all pairs with null and confidence intervals, or a summary."""
        if self.groups is not None:
            ids = [basis.basis_id for basis in self.bases]
            bounds = ",".join(map(str, map(float, self.metric.bounds)))
            found = summary_variables(self.plan, self.metric, self.groups, representations, ids)
            return found, {"bounds": bounds}
        pairs = self._pairs(banks, representations, theories)
        intervals, described = self._intervals(banks, pairs["similarity"])
        variables = pair_variables(pairs, paired(NETWORK_DIMS), self.null.word)
        return {**variables, **intervals}, {"null": self.null.word, **described}

    def _pairs(
        self,
        banks: Mapping[Key, Tensor],
        representations: Mapping[tuple[int, ...], NDArray[np.float64]],
        theories: Mapping[Key, OwnTheory],
    ) -> Pairs:
        """Return the similarities of all pairs, and their null."""
        plan, null = self.plan, self.null
        ids = [basis.basis_id for basis in self.bases]
        if len(set(ids)) > 1:
            warn(
                "the data sets have different patch bases, so profiles are compared within each "
                "data set alone; pairs across them are NaN"
            )
        pairs = compare_pairs(
            self.metric,
            representations,
            plan.shape,
            lambda index: ids[index[0]],
            intervals=not null.drawn,
        )
        warn_undefined(pairs, {key: f"'{plan.label(key)}'" for key in banks})
        if not (null.exact or null.drawn):
            return with_placed_nulls(pairs, self.metric, theories, self.kernels)
        similarity = pairs["similarity"]
        return pairs | filter_numbers(
            null, self.metric, plan, self.kernels, banks, representations, similarity
        )

    def _intervals(
        self, banks: Mapping[Key, Tensor], similarity: NDArray[np.float64]
    ) -> tuple[Variables, dict[str, str]]:
        """Return the confidence intervals of the mean similarities."""
        profiles = {
            key: self.kernels.profiles_on(self.halves, key, bank) for key, bank in banks.items()
        }
        halves: Iterator[dict[tuple[int, ...], NDArray[np.float64]]] = (
            {
                key: self.metric.represent(half.bank(key, bank, profiles[key][h]))
                for key, bank in banks.items()
            }
            for h, half in enumerate(self.halves)
        )
        found = half_similarities(
            self.metric, halves, self.plan.shape, lambda index: self.bases[index[0]].basis_id
        )
        exists = np.zeros(self.plan.shape, dtype=bool)
        exists[tuple(zip(*self.plan.keys, strict=True))] = True
        return interval_variables(similarity, found, exists, self.metric.bounds, NETWORK_DIMS)

    def _coords(self, networks: Mapping[Key, Network]) -> Coords:
        plan, bases, kernels = self.plan, self.bases, self.kernels
        layers = ((m, network.layer) for (_, m, _), network in networks.items())
        foldings = ((m, folding.description) for (_, m), folding in plan.folds.items())
        meaning = "rows and columns of the filters of the first layer"
        sizes = (
            {} if kernels.patch is None else {"kernel": model_coord(plan, kernels.words(), meaning)}
        )
        return {
            **network_coords(plan, networks),
            **sizes,
            **group_coords(self.groups),
            "stage": list(STAGES),
            "component": list(range(math.prod(bases[0].patch))),
            "basis_id": dataset_coord((b.basis_id for b in bases), "identifier of the patch basis"),
            "components_without_variance": dataset_coord(
                (b.without_variance for b in bases), "components left out of all profiles", "1"
            ),
            "patch_products": dataset_coord(
                (",".join(sorted(b.products)) for b in bases),
                "arithmetic of the matrix products behind the basis",
            ),
            "first_layer": model_coord(plan, layers, "layer whose filters were read"),
            "folded": model_coord(plan, foldings, "batch norm folded into the filters"),
        }
