"""Nulls of metrics on filters, drawn as random filter banks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.common_patch import Kernels
from repsim_energy.comparison.nulls.judged import (
    Numbers,
    best_values,
    exact_numbers,
    judge,
)
from repsim_energy.comparison.nulls.words import DRAWS, Null
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.stacks import values_in_stacks
from repsim_energy.errors import UndefinedSimilarityWarning, UsageError, warn
from repsim_energy.interfaces import FilterBank, Metric, PatchBasis
from repsim_energy.numerics.inference.random_banks import (
    neighbor_correlations,
    smoothed,
    theory_filters,
)
from repsim_energy.numerics.profiles.energy import energy_profile
from repsim_energy.numerics.profiles.fit import fit_profile

__all__ = ["comparisons_of", "drawable", "filter_numbers"]

SEED = 20260
"""Of the generators that draw banks."""

AT_ONCE = 2**22
"""Weights that are drawn and measured at once, which bounds the memory."""

Array = NDArray[np.float64]
Draw = Callable[[torch.Generator, int], Tensor]


def comparisons_of(plan: Plan) -> int:
    """Return how many pairs drawing a null takes."""
    kinds = len(plan.datasets) * len(plan.models)
    return DRAWS * kinds * (kinds + 1) // 2


def drawable(null: Null, plan: Plan, kernels: Kernels) -> Null:
    """Return the null as it is computed for these networks.

    No closed form holds for filters that are smaller than the patches, or gray: it is drawn.

    Raises
    ------
    UsageError
        For the null ``spectrum`` of such filters, and on images without labels.
    """
    placed = any(kernels.are_placed(key) for key in plan.keys)
    for data in plan.datasets if null.word == "spectrum" else ():
        if not data.train.classes:
            raise UsageError(
                f"got null=spectrum and '{data.label}' without labels, expected labels, because "
                "this null depends on the number of classes; give labels, or take null=smooth"
            )
    if placed and null.word == "spectrum":
        raise UsageError(
            "got null=spectrum and filters that are smaller than the patches, or gray, on whose "
            "components the theory does not hold; take null=smooth"
        )
    return replace(null, exact=False, drawn=True) if placed and null.exact else null


def filter_numbers(
    null: Null,
    metric: Metric,
    plan: Plan,
    kernels: Kernels,
    banks: Mapping[Key, Tensor],
    representations: Mapping[tuple[int, ...], Array],
    similarity: Array,
) -> Numbers:
    """Return null intervals, thresholds, p-values and scores of all pairs, as far as there are.

    Parameters
    ----------
    banks, representations : of each network whose filters are finite
    similarity : of all pairs, of shape ``plan.shape + plan.shape``

    Returns
    -------
    dict
        Arrays of the shape of ``similarity``
    """
    size = int(np.prod(plan.shape))
    flat = similarity.reshape(size, size)
    best = best_values(metric, flat)
    if null.exact:
        at = {int(np.ravel_multi_index(key, plan.shape)): r for key, r in representations.items()}
        numbers = exact_numbers(metric, flat, at, best)
    else:
        defined = np.isfinite(flat) & ~np.eye(size, dtype=bool)
        draws = _draw_all(null.word, metric, plan, kernels, banks if defined.any() else {})
        of = np.repeat(np.arange(size // plan.shape.seed), plan.shape.seed)
        numbers = judge(metric, flat, draws, of, best)
    return {name: values.reshape(similarity.shape) for name, values in numbers.items()}


def _draw_all(
    word: str,
    metric: Metric,
    plan: Plan,
    kernels: Kernels,
    banks: Mapping[Key, Tensor],
) -> Array:
    """Return (M, g, g) values of drawn banks, one kind of bank for each data set and model.

    A model with several seeds has a second set of draws, to be compared with the first.
    """
    models, bases = len(plan.models), kernels.bases
    of_kind: dict[int, list[Tensor]] = {}
    for key, bank in banks.items():
        of_kind.setdefault(key.dataset * models + key.model, []).append(bank)
    groups: dict[str, list[int]] = {}
    for kind in of_kind:
        groups.setdefault(bases[kind // models].basis_id, []).append(kind)
    size = len(plan.datasets) * models
    draws = np.full((DRAWS, size, size), np.nan)
    for kinds in groups.values():
        stacks = {}
        for kind in kinds:
            data, basis = plan.datasets[kind // models], bases[kind // models]
            draw = _drawing(word, of_kind[kind], basis, len(data.train.classes))
            as_inputs = partial(kernels.banks, Key(*divmod(kind, models), 0))
            at_once = max(1, AT_ONCE // of_kind[kind][0].numel())
            for copy in range(1 if len(of_kind[kind]) == 1 else 2):
                stacks[kind, copy] = _represented(metric, draw, as_inputs, at_once, (kind, copy))
        draws[:, np.array(kinds)[:, None], kinds] = _compared(metric, kinds, stacks)
    return draws


def _drawing(word: str, banks: Sequence[Tensor], basis: PatchBasis, classes: int) -> Draw | None:
    """Return the function that draws banks like those of the seeds of one model.

    It takes a generator and a number of draws n, and returns (n, k, c, kh, kw). The weights of each
    bank together have the same mean square as the measured ones. ``None`` if there is no such bank,
    because the theory does not describe the networks.
    """
    pooled = torch.cat([bank.detach().double() for bank in banks])
    size = float(pooled.square().mean().sqrt()) or 1.0  # also for filters that are all zero
    shape, dtype = tuple(banks[0].shape), banks[0].dtype
    if word == "spectrum":
        curve = fit_profile(energy_profile(pooled, basis), basis.eigenvalues.numpy()).profile
        if not np.isfinite(curve).all():
            return None

        def drawn(generator: torch.Generator, count: int) -> Tensor:
            banks = [
                theory_filters(shape[0], basis, curve, classes, generator) for _ in range(count)
            ]
            return torch.stack(banks)
    else:
        near = neighbor_correlations(pooled) if word == "smooth" else (0.0, 0.0)

        def drawn(generator: torch.Generator, count: int) -> Tensor:
            # One by one: a draw of all banks at once would be another stream of numbers.
            white = [
                torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(count)
            ]
            return smoothed(torch.stack(white), near)

    def scaled(generator: torch.Generator, count: int) -> Tensor:
        banks = drawn(generator, count)
        lengths = banks.square().flatten(1).mean(1).sqrt()
        return (banks * (size / lengths).view(-1, 1, 1, 1, 1)).to(dtype)

    return scaled


def _represented(
    metric: Metric,
    draw: Draw | None,
    as_inputs: Callable[[Tensor], Iterable[FilterBank]],
    at_once: int,
    number: tuple[int, int],
) -> list[Array] | None:
    """Return the representations of all draws of one kind, each time the same.

    Parameters
    ----------
    at_once : number of banks that are drawn and measured together
    number : of the generator: a kind, and which of its sets of draws
    """
    if draw is None:
        return None
    generator = torch.Generator().manual_seed(SEED + 2 * number[0] + number[1])
    counts = [min(at_once, DRAWS - start) for start in range(0, DRAWS, at_once)]
    drawn = (as_inputs(draw(generator, count)) for count in counts)
    return [metric.represent(bank) for banks in drawn for bank in banks]


def _compared(
    metric: Metric,
    kinds: Sequence[int],
    stacks: Mapping[tuple[int, int], list[Array] | None],
) -> Array:
    """Return (M, g, g) the values of draws of each kind with those of each kind."""
    values = np.full((DRAWS, len(kinds), len(kinds)), np.nan)
    known = [key for key, stack in stacks.items() if stack is not None]
    if len(known) < len(stacks):
        warn(
            "the theory describes no profile of some networks, so that their null is undefined",
            UndefinedSimilarityWarning,
        )
    place = {key: at for at, key in enumerate(known)}
    pairs = [
        (i, j, place[a, 0], place[b, int(i == j)])
        for i, a in enumerate(kinds)
        for j, b in enumerate(kinds)
        if i <= j and (a, 0) in place and (b, int(i == j)) in place
    ]
    if not pairs:
        return values
    i, j, first, second = np.array(pairs).T
    drawn = list(zip(*(stacks[key] for key in known), strict=True))
    values[:, i, j] = values[:, j, i] = values_in_stacks(metric, drawn, first, second)
    return values
