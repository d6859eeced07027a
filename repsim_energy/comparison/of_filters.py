"""Comparison of first-layer filters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.beyond import beyond_variables
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
from repsim_energy.comparison.nulls.of_filters import check_classes, comparisons_of, filter_numbers
from repsim_energy.comparison.nulls.words import Null, choose_null
from repsim_energy.comparison.pairs import compare_pairs, pair_variables, warn_undefined
from repsim_energy.comparison.patch_bases import patch_bases
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
from repsim_energy.comparison.runs import run_variables
from repsim_energy.errors import RepsimWarning
from repsim_energy.interfaces import FilterBank, Metric, PatchBasis
from repsim_energy.results import component_coords
from repsim_energy.scheduling.chunks import moments_of_images
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
    """

    plan: Plan
    metric: Metric
    stage: str
    null: Null
    bases: list[PatchBasis]

    @classmethod
    def prepare(
        cls, plan: Plan, metric: Metric, scheduler: Scheduler, stage: str, null: str
    ) -> FilterComparison:
        """Choose the stage, compute the patch bases, and check that the comparison is possible."""
        check_pairs(plan, numbers=3 * NUMBERS_PER_PAIR)  # the same beyond the theory
        chosen = choose_null(null, metric, comparisons_of(plan))
        check_classes(chosen, plan)
        check_draws(comparisons_of(plan) if chosen.drawn else 0)
        stage = choose_stage(stage, plan)
        return cls(
            plan, metric, stage, chosen, patch_bases(plan, partial(moments_of_images, scheduler))
        )

    def finish(self, networks: Mapping[Key, Network]) -> Measured:
        """Compare the networks."""
        plan, bases = self.plan, self.bases
        banks, failures = self._finite_filters(networks)
        profiles = measure_profiles(networks, bases)
        representations: dict[tuple[int, ...], NDArray[np.float64]] = {
            key: self.metric.represent(
                FilterBank(bank, bases[key.dataset], profiles[key][self.stage])
            )
            for key, bank in banks.items()
        }
        ids = [basis.basis_id for basis in bases]
        if len(set(ids)) > 1:
            warnings.warn(
                "the data sets have different patch bases, so profiles are compared within each "
                "data set alone; pairs across them are NaN",
                RepsimWarning,
                stacklevel=4,
            )
        null = self.null
        pairs = compare_pairs(
            self.metric,
            representations,
            plan.shape,
            lambda index: ids[index[0]],
            intervals=not null.drawn,
        )
        warn_undefined(pairs, {key: f"'{plan.label(key)}'" for key in banks})
        if null.exact or null.drawn:
            pairs |= filter_numbers(
                null, self.metric, plan, bases, banks, representations, pairs["similarity"]
            )
        variables: Variables = {
            **pair_variables(pairs, paired(NETWORK_DIMS), null.word),
            **profile_variables(plan, profiles, bases, self.stage),
            **snapshot_variables(plan, networks, bases, self.stage),
            **basis_variables(bases),
            **run_variables(plan, networks),
        }
        variables |= beyond_variables(plan, variables, ids, self.stage)
        warn_equal_starts(plan, networks)
        warn_near_initialization(plan, networks, variables["init_similarity"].values, self.stage)
        attributes = {
            "stage": self.stage,
            "null": null.word,
            "centered": str(bases[0].centered).lower(),
        }
        coords = self._coords(networks) | component_coords(variables["components"].values)
        measured = Measured(variables, coords, attributes, failures)
        return with_metric_variables(measured, self.metric, representations, NETWORK_DIMS)

    def _finite_filters(
        self, networks: Mapping[Key, Network]
    ) -> tuple[dict[Key, Tensor], tuple[str, ...]]:
        """Return the finite filters, and a line for each network whose filters are not finite."""
        finite, failures = {}, []
        for key, network in networks.items():
            filters = network.at(self.stage)
            if filters is not None and filters.isfinite().all():
                finite[key] = filters
            else:
                failures.append(
                    f"{self.plan.label(key)}: the filters of layer '{network.layer}' hold NaN or "
                    "infinite numbers; its pairs are NaN"
                )
        return finite, tuple(failures)

    def _coords(self, networks: Mapping[Key, Network]) -> Coords:
        plan, bases = self.plan, self.bases
        layers = ((m, network.layer) for (_, m, _), network in networks.items())
        foldings = ((m, folding.description) for (_, m), folding in plan.folds.items())
        return {
            **network_coords(plan, networks),
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
