"""A damaged file is refused, read as it was, or made again with a warning; never read wrongly."""

import gzip
import os
from functools import cache

import numpy as np
import pytest
import torch
import xarray as xr
from damaged import BAD, SECONDS, read_mutants
from mutants import FAULTS
from samples import both_splits, noise_images, numbered_pictures, small_cnn

from repsim_energy.data.basis_cache import keep_bases, stored_bases
from repsim_energy.data.deadleaves import _cached, deadleaves
from repsim_energy.data.idx import read_idx
from repsim_energy.data.npz import npz
from repsim_energy.data.pixel_cache import cached_pixels
from repsim_energy.interfaces import ModelSpec
from repsim_energy.models.crbm import _store, _stored
from repsim_energy.models.feature_files import read_features
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.results import Variable, assemble, open_result, save_result
from repsim_energy.scheduling.sums_file import Known, read_sums, write_sums
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


class ResultReadLazily(Result):
    @staticmethod
    def read(folder):
        with open_result(folder / "r.nc", lazy=True) as result:
            return result.load()


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


class PatchSums:
    """The checkpoint of sums over patches."""

    @staticmethod
    def make(folder):
        moments = patch_moments(noise_images(20, (1, 6, 6)).images, (3, 3))
        known = [Known(bytes([n]) * 32, bytes([n + 1]) * 32) for n in range(5)]
        write_sums(folder / "sums", known, moments)
        return [folder / "sums"]

    @staticmethod
    def read(folder):
        known, moments = read_sums(folder / "sums", (3, 3))
        return [[k.made_of + k.pixels for k in known], *vars(moments).values()]


class CrbmFilters:
    """Trained filters of the model crbm, which are trained again."""

    @staticmethod
    def make(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        _store("0" * 64, torch.randn(24, 1, 7, 7, generator=torch.Generator().manual_seed(0)))
        return [*(folder / "crbm").iterdir()]

    @staticmethod
    def read(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        return _stored("0" * 64)


class Bases:
    """Patch bases, which are measured again."""

    @staticmethod
    def make(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        images = noise_images(20, (1, 6, 6)).images
        keep_bases("0" * 64, [patch_moments(n, (3, 3)).basis() for n in (images, images[:9])])
        return [*(folder / "bases").iterdir()]

    @staticmethod
    def read(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        bases = stored_bases("0" * 64)
        return bases and [[*vars(basis).values()] for basis in bases]


class Pixels:
    """Decoded pixels of pictures, which are decoded again."""

    PIXELS = noise_images(20, (3, 8, 8)).images

    @classmethod
    def make(cls, folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        cls.read(folder)
        return [*(folder / "images").iterdir()]

    @classmethod
    def read(cls, folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        return cached_pixels(numbered_pictures(folder.parent / "pictures", cls.PIXELS), "1")


class Leaves:
    """Rendered images, which are rendered again."""

    @staticmethod
    def make(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        deadleaves("train", count=10)
        return [*(folder / "data").iterdir()]

    @staticmethod
    def read(folder):
        os.environ["REPSIM_CACHE"] = str(folder)
        (path,) = (folder / "data").iterdir()
        arrays = _cached(path.name)
        return arrays and list(arrays)


class DataSetOfArrays:
    SAVE = staticmethod(np.savez)

    @classmethod
    def make(cls, folder):
        images = noise_images(10, (6, 6, 3)).images.numpy()
        names = {"classes": np.array(["a", "b"])}
        for split in ("train", "test"):
            names |= {f"{split}_images": images, f"{split}_labels": np.arange(10) % 2}
        cls.SAVE(folder / "d.npz", **names)
        return [folder / "d.npz"]

    @staticmethod
    def read(folder):
        splits = [npz(split, path=folder / "d.npz") for split in ("train", "test")]
        return [[split.images, split.labels, split.classes] for split in splits]


class CompressedDataSet(DataSetOfArrays):
    SAVE = staticmethod(np.savez_compressed)


def some_features():
    return np.random.default_rng(0).random((20, 8), dtype=np.float32)


class Features:
    @staticmethod
    def make(folder):
        np.savez(folder / "f", x=some_features(), ids=np.arange(20))
        return [folder / "f.npz"]

    @staticmethod
    def read(folder):
        file = read_features(folder / "f.npz")
        return [file.layers, file.ids]


class CompressedMnist:
    """Files in the format of MNIST."""

    @staticmethod
    def make(folder):
        images = noise_images(20, (1, 8, 8)).images.numpy().tobytes()
        head = b"\0\0\x08\x03" + b"".join(size.to_bytes(4) for size in (20, 8, 8))
        (folder / "i.gz").write_bytes(gzip.compress(head + images))
        return [folder / "i.gz"]

    @staticmethod
    def read(folder):
        return read_idx(folder / "i.gz", 3)


class FeaturesOfNetcdf:
    """Without checksums."""

    @staticmethod
    def make(folder):
        features = xr.Dataset({"x": (("s", "d"), some_features())}, {"s": np.arange(20)})
        features.to_netcdf(folder / "f.nc", engine="netcdf4")
        return [folder / "f.nc"]

    @staticmethod
    def read(folder):
        file = read_features(folder / "f.nc")
        return [file.layers, file.ids]


CHECKED = [
    *(Result, ResultReadLazily, CachedRun, PatchSums, CrbmFilters, Bases, Pixels, Leaves),
    *(DataSetOfArrays, CompressedDataSet, CompressedMnist, Features),
]


@pytest.mark.parametrize("count", [180, FULL])
@pytest.mark.parametrize("reader", CHECKED, ids=lambda reader: reader.__name__)
def test_no_damage_is_read_as_something_else(reader, count):
    tally = read_mutants(reader, count)
    assert not {kind: n for kind, n in tally.counts.items() if kind in BAD}, tally.examples
    assert tally.counts.total() >= count


@pytest.mark.parametrize("count", [9, pytest.param(270, marks=pytest.mark.faults)])
def test_damage_of_a_result_without_a_checksum_is_refused_or_read_with_a_warning(count):
    """Each is first opened in a process of its own, so they are fewer."""
    tally = read_mutants(ResultOfXarray, count, len(FAULTS) * SECONDS)
    assert tally.counts.keys() <= {"refused", "warned"}, tally.examples


@pytest.mark.parametrize("count", [9, pytest.param(270, marks=pytest.mark.faults)])
def test_damage_of_features_in_netcdf_is_no_crash(count):
    """What is read as other features is printed: netCDF has no checksums."""
    tally = read_mutants(FeaturesOfNetcdf, count, len(FAULTS) * SECONDS)
    print(dict(tally.counts))
    found = {kind: n for kind, n in tally.counts.items() if kind in BAD and kind != "silent"}
    assert not found, tally.examples


@pytest.mark.faults
def test_damage_that_hdf5_finds_no_end_in_is_refused():
    """Among these are files in which HDF5 2.2.0 runs forever."""
    tally = read_mutants(ResultOfXarray, 0, len(FAULTS) * SECONDS, seeds=(74, 90, 150, 151))
    assert tally.counts.keys() <= {"refused", "warned"}, tally.examples
