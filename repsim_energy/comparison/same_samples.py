"""Rows of several files of features in the same order of samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from repsim_energy.errors import UsageError, first_few
from repsim_energy.models.feature_files import FeatureFile

__all__ = ["in_one_order"]

MAX_NAMED = 3
"""Maximum number of samples that an error names."""


def in_one_order(files: Sequence[FeatureFile]) -> list[FeatureFile]:
    """Return the files with their rows in the order of the first one that has ids.

    Raises
    ------
    UsageError
        If files have other samples, different numbers of them, or if one that is accepted in its
        order stands beside several orders.
    """
    named = [file for file in files if file.ids is not None]
    for file in named[1:]:
        _refuse_other_samples(named[0], file)
    counts = {str(file.path): file.count for file in files}
    if len(set(counts.values())) > 1:
        listed = ", ".join(f"{count} in '{path}'" for path, count in counts.items())
        raise UsageError(
            f"got different numbers of samples, {listed}, expected the same samples in every file"
        )
    orders = {file.ids for file in named}
    if len(orders) > 1 and len(named) < len(files):
        raise UsageError(
            "got ids=order beside files whose ids are in different orders, expected one order; "
            "leave ids=order out, or save the files in one order"
        )
    return [_reordered(file, named[0]) if file.ids is not None else file for file in files]


def _refuse_other_samples(first: FeatureFile, other: FeatureFile) -> None:
    """Refuse two files whose ids are not the same set."""
    a, b = first.ids or (), other.ids or ()
    only = [[x for x in mine if x not in theirs] for mine, theirs in ((a, {*b}), (b, {*a}))]
    if only[0] or only[1]:
        parts = [
            f"{len(ids)} of {file.count} are in '{file.path}' alone"
            + (f" ({first_few(ids, MAX_NAMED)})" if ids else "")
            for file, ids in zip((first, other), only, strict=True)
        ]
        raise UsageError(
            f"ids of samples differ: {' and '.join(parts)}, expected the same samples in both; "
            "save features of the same samples"
        )


def _reordered(file: FeatureFile, first: FeatureFile) -> FeatureFile:
    if file.ids == first.ids:
        return file
    assert file.ids is not None
    assert first.ids is not None
    place = {text: row for row, text in enumerate(file.ids)}
    rows = np.array([place[text] for text in first.ids])
    layers = {name: array[rows] for name, array in file.layers.items()}
    return dataclasses.replace(file, layers=layers, ids=first.ids)
