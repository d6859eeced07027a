"""Measurement of filters of any size on the patches of one size."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.examined import Patch, Place
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.reliability import parts_of
from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces import FilterBank, PatchBasis
from repsim_energy.models.patch_size import patch_size
from repsim_energy.numerics.memory import available_memory
from repsim_energy.numerics.profiles.energy import (
    profiles_of_banks,
    profiles_on_bases,
    unchecked_profile,
)
from repsim_energy.numerics.profiles.placements import LUMA, place_filters, placed_profile

__all__ = ["Kernels", "as_patch", "check_patches", "kernel_words", "span"]

SMALL_BYTES = 2**26
"""Filters at all places that are made without asking for free memory, which takes a millisecond."""

Pair = tuple[int, int]


def as_patch(patch: Any) -> Pair | None:
    """Return rows and columns of the option ``patch``, ``None`` for ``auto``.

    Raises
    ------
    UsageError
        For anything but ``auto``, text such as 7x7, and two whole numbers.
    """
    if isinstance(patch, str) and patch == "auto":
        return None
    pair = isinstance(patch, Sequence) and not isinstance(patch, str) and len(patch) == 2
    try:
        return patch_size("x".join(map(str, patch)) if pair else patch)
    except UsageError as error:
        raise UsageError(
            f"got patch={str(patch)[:40]}, expected auto, or height and width in pixels such as 7x7"
        ) from error


def span(patch: Patch) -> Pair:
    """Return the rows and columns of an image that filters span, with the holes of a dilation."""
    _, kh, kw, rows, columns = patch
    return rows * (kh - 1) + 1, columns * (kw - 1) + 1


def kernel_words(patch: Patch) -> str:
    """Return rows and columns of filters in words."""
    _, kh, kw, rows, columns = patch
    return f"{kh}x{kw}" + (f" dilated by {rows}x{columns}" if rows * columns > 1 else "")


def check_patches(plan: Plan, asked: Pair | None) -> None:
    """Refuse networks whose filters differ in size without ``patch``, or do not fit into it.

    Raises
    ------
    ShapeError
        With the smallest patch that contains all filters.
    """
    sizes = {m: patch for (_, m), patch in plan.patches.items()}
    spans = [span(patch) for patch in plan.patches.values()]
    smallest = f"patch={max(rows for rows, _ in spans)}x{max(columns for _, columns in spans)}"
    if asked is None:
        (m, first), *others = sizes.items()
        for other, patch in others:
            if patch[1:] != first[1:]:
                raise ShapeError(
                    f"'{plan.models[m].label}' sees {_with_channels(first)} patches and "
                    f"'{plan.models[other].label}' {_with_channels(patch)}, which have no "
                    f"components in common; place their filters in larger patches with {smallest}, "
                    "or compare models of one patch shape at a time"
                )
        return
    for m, patch in sizes.items():
        rows, columns = span(patch)
        if rows > asked[0] or columns > asked[1]:
            raise ShapeError(
                f"got patch={asked[0]}x{asked[1]}, and '{plan.models[m].label}' has filters of "
                f"{rows}x{columns} pixels, expected a patch that contains them; use {smallest}"
            )


def _with_channels(patch: Patch) -> str:
    c, kh, kw, rows, columns = patch
    return f"{kh}x{kw}x{c}" + (f" (dilated by {rows}x{columns})" if rows * columns > 1 else "")


@dataclass(frozen=True, eq=False)
class Kernels:
    """The sizes of filters in a comparison, and how filters of each are measured.

    Parameters
    ----------
    bases : patch basis of each data set
    sizes : (data set, model) -> the patch that the first layer sees
    patch : rows and columns of the patches of all, ``None`` where they are those of the filters
    prepare : returns filters as the metric compares them, such as divided by their norms
    """

    bases: Sequence[PatchBasis]
    sizes: Mapping[Place, Patch]
    patch: Pair | None = None
    prepare: Callable[[Tensor], Tensor] = lambda filters: filters

    def on(self, bases: Sequence[PatchBasis]) -> Kernels:
        """Return the same measurement on other bases, one for each data set."""
        return replace(self, bases=bases)

    def dilation(self, key: Key) -> Pair:
        """Return the distance between neighboring pixels that the filters of a network see."""
        return self.sizes[key[:2]][3:]

    def is_gray(self, key: Key) -> bool:
        """Return whether the filters of a network see the luma of color images."""
        return self.sizes[key[:2]][0] == 1 < self.bases[key.dataset].patch[0]

    def are_placed(self, key: Key) -> bool:
        """Return whether filters are measured by the pixels that they see, at all places."""
        return self.patch is not None or self.is_gray(key)

    def profile(self, key: Key, filters: Tensor) -> NDArray[np.float64]:
        """Return the energy profile of filters of a network, which have been prepared."""
        basis = self.bases[key.dataset]
        if not self.are_placed(key):
            return unchecked_profile(filters, basis)
        return placed_profile(filters, basis, self.dilation(key))

    def profiles_on(
        self, others: Sequence[Kernels], key: Key, filters: Tensor
    ) -> list[NDArray[np.float64]]:
        """Return the profiles of filters of a network on the bases of others of these kernels."""
        if self.are_placed(key):
            return [other.profile(key, filters) for other in others]
        return profiles_on_bases(filters, [other.bases[key.dataset] for other in others])

    def parts_of(self, key: Key, filters: Tensor) -> Callable[[Tensor], Iterable[FilterBank]]:
        """Return a function from (n, s) numbers of filters to n inputs of a metric."""
        if not self.are_placed(key):
            return parts_of(filters, self.bases[key.dataset])
        return lambda parts: (self.bank(key, filters[part]) for part in parts)

    def banks(self, key: Key, filters: Tensor) -> Iterable[FilterBank]:
        """Return n inputs of a metric for banks (n, k, c, kh, kw), which are prepared here.

        Those of filters at all places are large, and made when they are asked for.
        """
        prepared = [self.prepare(bank) for bank in filters]
        if self.are_placed(key) or len({bank.shape for bank in prepared}) > 1:
            return (self.bank(key, bank) for bank in prepared)
        basis = self.bases[key.dataset]
        profiles = profiles_of_banks(torch.stack(prepared), basis)
        return [FilterBank(bank, basis, one) for bank, one in zip(prepared, profiles, strict=True)]

    def bank(
        self, key: Key, filters: Tensor, profile: NDArray[np.float64] | None = None
    ) -> FilterBank:
        """Return the input of a metric.

        Parameters
        ----------
        filters : which have been prepared
        profile : of these filters; measured here if ``None``

        Raises
        ------
        UsageError
            If the filters at all places do not fit into memory.
        """
        if profile is None:
            profile = self.profile(key, filters)
        bank = FilterBank(filters, self.bases[key.dataset], profile)
        if not self.are_placed(key):
            return bank
        rows, columns = span(self.sizes[key[:2]])
        _, *patch = bank.basis.patch
        places = (patch[0] - rows + 1) * (patch[1] - columns + 1)
        needed = 16 * len(filters) * places * math.prod(bank.basis.patch)
        if needed > SMALL_BYTES and needed > (free := available_memory()):
            raise UsageError(
                f"{len(filters)} filters at {places} places take {needed / 2**30:.1f} GB of "
                f"memory, expected at most the {free / 2**30:.1f} GB that are free; use a smaller "
                "patch="
            )
        dilation = self.dilation(key)
        placed = place_filters(filters, (patch[0], patch[1]), dilation=dilation)
        if self.is_gray(key):
            placed = placed * torch.tensor(LUMA, dtype=placed.dtype).view(3, 1, 1)
        return replace(bank, filters=placed, originals=filters, dilation=dilation)

    def words(self) -> Iterable[tuple[int, str]]:
        """Yield the index of each model and the size of its filters in words."""
        return ((m, kernel_words(patch)) for (_, m), patch in self.sizes.items())
