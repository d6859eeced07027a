"""Report page of results, with a section for each."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import xarray as xr

from repsim_energy.errors import UsageError
from repsim_energy.files.storage import check_writable
from repsim_energy.report.html import check_jinja2, write_page
from repsim_energy.report.section import section_of
from repsim_energy.results import list_groups, open_result

__all__ = ["write_report"]


def write_report(
    results: xr.Dataset | str | Path | Sequence[xr.Dataset | str | Path],
    path: str | Path,
    *,
    figures: bool = True,
) -> None:
    """Write results as one HTML page that needs no network and no other file.

    The page describes the comparison in words, and has the table of similarities with their
    null intervals, energy profiles with the images of their components, the runs, provenance, and
    the commands that make results and page again. Numbers can be copied as CSV.

    Parameters
    ----------
    results : results of :func:`repsim_energy.compare`, files of ``repsim compare -o``, or one of
        these
    path : of the page, such as ``report.html``; its folder must exist
    figures : whether to draw the figures of ``repsim_energy.plot``, which need the extra ``plot``

    Raises
    ------
    UsageError
        If there is no result, a result has no similarities, the path cannot be written or is one
        of the results, or Jinja2 or matplotlib (for figures) is not installed.
    FileError
        If a file of results is damaged or of another kind.
    RepsimError
        If writing fails, for example on a full disk. What the path held before is unchanged.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import torch
    >>> import repsim_energy as rs
    >>> bank = torch.arange(8.0).reshape(2, 1, 2, 2)
    >>> result = rs.compare({"a": bank, "b": bank**2}, torch.rand(20, 1, 6, 6))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     rs.write_report(result, f"{folder}/report.html", figures=False)
    ...     Path(f"{folder}/report.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    single = isinstance(results, xr.Dataset | str | Path)
    given = [results] if single else _listed(results)
    path = Path(path)
    files = [Path(result) for result in given if isinstance(result, str | Path)]
    _refuse_sources(path, files)
    check_writable(path)
    check_jinja2()
    sections = [
        section_of(result, number, source, with_figures=figures)
        for number, (source, result) in enumerate(_opened(given), start=1)
    ]
    command = _command(files, path, figures) if len(files) == len(given) else ""
    data = [section.data for section in sections]
    write_page(path, "page.html", data, sections=sections, command=command)


def _listed(results: Any) -> list[Any]:
    """Return the results as a list of at least one."""
    given = list(results) if isinstance(results, Iterable) else [results]
    if not given:
        raise UsageError("got no result, expected results of compare or .nc files; name at least 1")
    return given


def _refuse_sources(path: Path, files: Sequence[Path]) -> None:
    """Refuse to write the page over a result."""
    for file in files:
        if os.path.exists(path) and os.path.exists(file) and path.samefile(file):
            raise UsageError(
                f"output '{path}' is one of the results, expected another file, such as "
                f"'{path.with_suffix('.html').name}'; nothing is changed"
            )


def _opened(given: Sequence[Any]) -> Iterator[tuple[str, xr.Dataset]]:
    """Yield each result with the name of its file, and of its group in a file of several."""
    for result in given:
        if isinstance(result, str | Path):
            name = Path(result).name
            groups = list_groups(result)
            for group in groups:
                yield f"{name}, {group}", open_result(result, group)
            if not groups:
                yield name, open_result(result)
        elif isinstance(result, xr.Dataset):
            yield "", result
        else:
            raise UsageError(
                f"got a result of type {type(result).__name__}, expected the xarray.Dataset that "
                "compare returns or the path of a .nc file"
            )


def _command(files: Sequence[Path], path: Path, figures: bool) -> str:
    names = [file.name for file in files]
    option = [] if figures else ["--no-figures"]
    return shlex.join(["repsim", "report", *names, *option, "-o", path.name])
