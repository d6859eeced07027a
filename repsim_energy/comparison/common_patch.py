"""Measurement of filters of any size on the patches of one size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from repsim_energy.comparison.examined import Patch, Place
from repsim_energy.comparison.placed_bank import PlacedBank
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.comparison.reliability import parts_of
from repsim_energy.errors import ShapeError, UsageError
from repsim_energy.interfaces import FilterBank, PatchBasis
from repsim_energy.models.patch_size import patch_size
from repsim_energy.numerics.profiles.energy import (
    profiles_of_banks,
    profiles_on_bases,
    unchecked_profile,
)
from repsim_energy.numerics.profiles.filter_sizes import fill_patches
from repsim_energy.numerics.profiles.placements import placed_profile, placed_profiles

__all__ = ["Kernels", "as_patch", "check_patches", "kernel_words", "span"]

AT_ONCE = 2**22
"""Numbers of the filters of parts of a bank that are measured at once."""

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
        basis = self.bases[key.dataset]
        if not self.are_placed(key) or fill_patches(filters, basis):
            return parts_of(filters, basis)
        at_once = max(1, AT_ONCE // filters.numel())
        return lambda parts: (
            bank for some in parts.split(at_once) for bank in self._alike(key, filters[some])
        )

    def banks(self, key: Key, filters: Tensor) -> list[FilterBank]:
        """Return n inputs of a metric for banks (n, k, c, kh, kw), which are prepared here."""
        prepared = [self.prepare(bank) for bank in filters]
        if len({bank.shape for bank in prepared}) > 1:
            return [self.bank(key, bank) for bank in prepared]
        return self._alike(key, torch.stack(prepared))

    def _alike(self, key: Key, banks: Tensor) -> list[FilterBank]:
        """Return n inputs of a metric for banks (n, k, c, kh, kw), which have been prepared."""
        basis = self.bases[key.dataset]
        if self.are_placed(key):
            profiles = placed_profiles(banks, basis, self.dilation(key))
        else:
            profiles = profiles_of_banks(banks, basis)
        return [self.bank(key, bank, one) for bank, one in zip(banks, profiles, strict=True)]

    def bank(
        self, key: Key, filters: Tensor, profile: NDArray[np.float64] | None = None
    ) -> FilterBank:
        """Return the input of a metric.

        Parameters
        ----------
        filters : which have been prepared
        profile : of these filters; measured here if ``None``
        """
        if profile is None:
            profile = self.profile(key, filters)
        basis = self.bases[key.dataset]
        if not self.are_placed(key):
            return FilterBank(filters, basis, profile)
        return PlacedBank(filters, basis, profile, self.dilation(key))

    def words(self) -> Iterable[tuple[int, str]]:
        """Yield the index of each model and the size of its filters in words."""
        return ((m, kernel_words(patch)) for (_, m), patch in self.sizes.items())
