"""The functions for results as methods of an xarray data set: ``result.repsim``."""

from __future__ import annotations

import importlib
import importlib.util
from functools import partial
from typing import TYPE_CHECKING, Any

import xarray as xr

from repsim_energy.errors import not_installed, unknown_name
from repsim_energy.results.summary import summarize
from repsim_energy.results.tables import Statistic, pairs, profiles, table, to_dataframe

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RepsimAccessor"]


@xr.register_dataset_accessor("repsim")  # type: ignore[no-untyped-call]
class RepsimAccessor:
    """Tables and figures of a result.

    Parameters
    ----------
    result : of :func:`repsim_energy.compare` or :func:`repsim_energy.open_result`

    Examples
    --------
    >>> import torch
    >>> import repsim_energy as rs
    >>> result = rs.compare({"a": torch.rand(2, 1, 2, 2)}, torch.rand(20, 1, 6, 6))
    >>> result.repsim.to_dataframe("given").equals(rs.to_dataframe(result, "given"))
    True
    """

    def __init__(self, result: xr.Dataset) -> None:
        self._result = result

    def __repr__(self) -> str:
        return (
            "tables and figures of a result: .summary() .table() .pairs() .profiles() "
            ".to_dataframe(name) .plot.KIND()"
        )

    def summary(self, of: str = "similarity") -> xr.Dataset:
        """Return the similarities averaged over seeds, see :func:`repsim_energy.summarize`.

        Parameters
        ----------
        of : ``similarity`` or ``beyond_theory``
        """
        return summarize(self._result, of)

    def table(self, statistic: Statistic = "mean", of: str = "similarity") -> pd.DataFrame:
        """Return the similarities between models, see :func:`repsim_energy.table`.

        Parameters
        ----------
        statistic : ``mean``, ``std``, ``n``, ``low``, ``high``, ``ci_low``, ``ci_high`` or
            ``n_missing``
        of : ``similarity`` or ``beyond_theory``
        """
        return table(self._result, statistic, of)

    def pairs(self) -> pd.DataFrame:
        """Return the similarities of all pairs, see :func:`repsim_energy.pairs`."""
        return pairs(self._result)

    def profiles(self, stage: str | None = None, *, normalized: bool = False) -> pd.DataFrame:
        """Return the energy profiles, see :func:`repsim_energy.profiles`.

        Parameters
        ----------
        stage : ``init``, ``trained`` or ``change``; by default the stage that was compared
        normalized : whether each profile is divided by its largest value
        """
        return profiles(self._result, stage, normalized=normalized)

    def to_dataframe(self, name: str) -> pd.DataFrame:
        """Return a variable one value a row, see :func:`repsim_energy.to_dataframe`.

        The numbers of a figure are ``result.repsim.plot.table("profiles")``.

        Parameters
        ----------
        name : of a variable or a coordinate
        """
        return to_dataframe(self._result, name)

    @property
    def plot(self) -> Figures:
        """The functions of ``repsim_energy.plot``, such as ``result.repsim.plot.profiles()``."""
        return Figures(self._result)


class Figures:
    """The functions of ``repsim_energy.plot`` with a result as their first argument.

    That module, and with it matplotlib, is imported when a function is first used.

    Parameters
    ----------
    result : to draw
    """

    def __init__(self, result: xr.Dataset) -> None:
        self._result = result

    def __getattr__(self, kind: str) -> Any:
        if kind.startswith("_"):  # as notebooks ask of every object
            raise AttributeError(kind)
        plot = _plot()
        if kind not in plot.__all__:
            raise AttributeError(str(unknown_name("figure", kind, plot.__all__)))
        return partial(getattr(plot, kind), self._result)

    def __dir__(self) -> list[str]:
        return list(_plot().__all__)


def _plot() -> Any:
    """Return the module that draws, which is above this room and needs matplotlib."""
    if importlib.util.find_spec("matplotlib") is None:
        raise not_installed("figures need matplotlib", "plot")
    return importlib.import_module("repsim_energy.plot")
