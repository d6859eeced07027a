"""Readers on damaged files: what each mutant of a file of theirs becomes, in a child process."""

import itertools
import shutil
import tempfile
import traceback
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import xarray as xr
from children import call_each
from mutants import FAULTS, mutants

from repsim_energy.errors import RepsimError, RepsimWarning

SECONDS = 5.0
"""Time in which a child has to read one mutant of every kind of fault."""


MEMORY = Path("/dev/shm")
"""Files in memory on Linux: thousands of them are written and removed."""


@dataclass
class Tally:
    """What became of mutants, and the first of those that nobody should meet.

    ``refused`` by an error of ours; ``warned`` about by name, and read or made again; ``again``:
    not there for its reader, who makes it again; ``same``: read as if undamaged; ``silent``: read
    as something else; ``raised``: an error that is not ours; ``crashed``; ``hung``.
    """

    counts: Counter = field(default_factory=Counter)
    examples: list = field(default_factory=list)

    def __add__(self, other):
        return Tally(self.counts + other.counts, (self.examples + other.examples)[:5])


BAD = ("silent", "raised", "crashed", "hung")


def read_mutants(reader, count, seconds=SECONDS, seeds=(), **env):
    """Return the :class:`Tally` of at least ``count`` mutants of the files of a reader.

    Parameters
    ----------
    reader : a module-level class with the static methods ``make(folder)``, which writes files and
        returns the paths to damage, and ``read(folder)``, which returns what can be compared
    seconds : time for one mutant of every kind
    seeds : of mutants of every kind, in place of those that ``count`` gives
    """
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        rounds = -(-count // len(FAULTS))
        items = [(reader, folder, seed) for seed in seeds or range(rounds)]
        tally = Tally()
        for outcome in call_each(_read_each_fault, items, seconds, **env):
            if outcome.kind == "returned":
                tally += outcome.value
            elif outcome.kind in ("crashed", "hung"):
                tally += Tally(Counter({outcome.kind: 1}), [outcome.text])
            else:
                raise AssertionError(outcome)
        return tally


def _read_each_fault(reader, folder, seed):
    paths, whole = _whole(reader, Path(folder, "whole"))
    path = paths[seed % len(paths)]
    content = path.read_bytes()
    tally = Tally()
    for name, damaged in mutants(content, len(FAULTS), seed):
        place = Path(folder, "damaged")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(Path(folder, "whole"), place, symlinks=True)
        (place / path.relative_to(Path(folder, "whole"))).write_bytes(damaged)
        kind, text = _outcome(reader, place, whole)
        described = [f"{path.name}, {name}, seed {seed}: {kind} {text}"] if kind in BAD else []
        tally += Tally(Counter({kind: 1}), described)
    return tally


_read = {}


def _whole(reader, folder):
    """Return the paths of a reader's files, and what it reads in them, once in a process."""
    if reader not in _read:
        if not folder.exists():
            folder.mkdir()
            _read[reader] = reader.make(folder)
            (folder.parent / "paths").write_text("\n".join(map(str, _read[reader])))
        paths = [Path(line) for line in (folder.parent / "paths").read_text().split("\n")]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            _read[reader] = paths, plain(reader.read(folder))
    return _read[reader]


def _outcome(reader, place, whole):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            value = plain(reader.read(place))
        except RepsimError:
            return "refused", ""
        except Exception:
            return "raised", traceback.format_exc(limit=-3)
    if any(issubclass(warning.category, RepsimWarning) for warning in caught):
        return "warned", ""
    if value is None:
        return "again", ""
    return ("same", "") if same(value, whole) else ("silent", "")


def plain(value):
    """Return a value of dictionaries, tuples, texts, numbers, arrays and data sets."""
    if isinstance(value, torch.Tensor):
        return value.detach().float().numpy() if value.dtype == torch.bfloat16 else value.numpy()
    if isinstance(value, dict):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [plain(entry) for entry in value]
    return value


def same(one, other):
    """Return whether two plain values are equal, types of arrays included, NaN equal to NaN."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(itertools.starmap(same, zip(one, other, strict=True)))
    if isinstance(one, np.ndarray):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and one.tobytes() == other.tobytes()
    if isinstance(one, xr.Dataset):
        return one.identical(other)
    return one == other or (one != one and other != other)
