"""A damaged file is refused, read as it was, or made again with a warning; never read wrongly."""

import os
from functools import cache

import numpy as np
import pytest
import torch
from damaged import BAD, read_mutants
from samples import both_splits, noise_images, small_cnn

from repsim_energy.interfaces import ModelSpec
from repsim_energy.results import Variable, assemble, open_result, save_result
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.run_cache import read_stored
from repsim_energy.training.training import Training

pytestmark = pytest.mark.process

FULL = pytest.param(10_000, marks=pytest.mark.faults)


def a_result():
    dims = ("dataset", "model", "seed", "dataset_ref", "model_ref", "seed_ref")
    labels = {"dataset": ["d"], "model": ["a", "b"], "seed": list(range(20))}
    coords = {**labels, **{f"{dim}_ref": values for dim, values in labels.items()}}
    values = np.random.default_rng(0).random((1, 2, 20, 1, 2, 20))
    similarity = Variable(dims, values, "similarity")
    return assemble({"similarity": similarity}, coords, {"none": None}, {"metric": "energy"})


class Result:
    @staticmethod
    def make(folder):
        save_result(a_result(), folder / "r.nc")
        return [folder / "r.nc"]

    @staticmethod
    def read(folder):
        return open_result(folder / "r.nc")


class ResultOfXarray(Result):
    """Without a checksum: read with a warning that it has none."""

    @staticmethod
    def make(folder):
        a_result().to_netcdf(folder / "r.nc", engine="netcdf4")
        return [folder / "r.nc"]


class CachedRun:
    """A finished training: its manifest, its filters and history, and its network."""

    @staticmethod
    def make(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        run = a_training().run(torch.device("cpu"))
        return sorted(run.folder.iterdir())

    @staticmethod
    def read(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        run = a_training().stored()
        if run is None:
            return None
        return [run.tensors(), *read_stored(run.key), run.network().state_dict()]


@cache
def a_training():
    data = both_splits(noise_images(20, (1, 6, 6)))
    model = ModelSpec("tiny", small_cnn, {"name": "tiny"})
    return Training(model, data, 0, Recipe(lr=0.05, batch=10, steps=2, snapshots=2))


CHECKED = [Result, CachedRun]


@pytest.mark.parametrize("count", [180, FULL])
@pytest.mark.parametrize("reader", CHECKED, ids=lambda reader: reader.__name__)
def test_no_damage_is_read_as_something_else(reader, count):
    tally = read_mutants(reader, count)
    assert not {kind: n for kind, n in tally.counts.items() if kind in BAD}, tally.examples
    assert tally.counts.total() >= count
