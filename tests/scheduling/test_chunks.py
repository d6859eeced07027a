"""Moments chunk by chunk: those of the images, in every bit, wherever and however often begun."""

from functools import partial

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import DataError, FileError, RepsimError, UsageError

PATCH = (3, 3)


@pytest.fixture
def images(rng):
    return torch.randint(0, 256, (20, 3, 8, 8), dtype=torch.uint8, generator=rng)


@pytest.fixture
def files(images, tmp_path):
    """The images in files of different lengths, (n, h, w, c)."""
    paths = []
    for number, part in enumerate(images.split([7, 1, 12])):
        paths.append(tmp_path / f"{number}.npy")
        np.save(paths[-1], part.permute(0, 2, 3, 1).numpy())
    return paths


def same(a, b):
    return a.count == b.count and torch.equal(a.total, b.total) and torch.equal(a.second, b.second)


def identity(batch):
    return batch


@pytest.mark.parametrize("scheduler", [None, pytest.param("local:2", marks=pytest.mark.process)])
def test_files_and_functions_give_the_moments_of_the_images(images, files, scheduler):
    chunks = [files[0], str(files[1]), partial(identity, images[8:].clone())]
    found = rs.patch_moments_of_chunks(iter(chunks), PATCH, scheduler=scheduler)
    assert same(found, rs.patch_moments(images, PATCH))


def test_floats_are_added_in_the_order_of_the_chunks(images):
    batches = list((images.float() / 255).split(3))
    chunks = [partial(identity, batch) for batch in batches]
    found = rs.patch_moments_of_chunks(chunks, PATCH)
    assert same(found, rs.patch_moments(iter(batches), PATCH))


def test_what_was_added_is_not_added_again_after_a_failure(images, files, tmp_path):
    begun = []

    def counted(path):
        begun.append(path.name)
        return torch.from_numpy(np.load(path)).permute(0, 3, 1, 2)

    missing, kept = files[2].read_bytes(), tmp_path / "sums.safetensors"
    files[2].unlink()
    chunks = [partial(counted, path) for path in files]
    with pytest.raises(RepsimError, match="chunk 2 could not be summed .FileNotFoundError"):
        rs.patch_moments_of_chunks(chunks, PATCH, checkpoint=kept)
    files[2].write_bytes(missing)
    found = rs.patch_moments_of_chunks(chunks, PATCH, checkpoint=kept)
    assert same(found, rs.patch_moments(images, PATCH))
    assert begun == ["0.npy", "1.npy", "2.npy", "2.npy"]
    assert same(rs.patch_moments_of_chunks(chunks, PATCH, checkpoint=kept), found)
    assert len(begun) == 4


def test_a_checkpoint_of_something_else_is_refused(files, tmp_path):
    kept = tmp_path / "sums.safetensors"
    rs.patch_moments_of_chunks(files, PATCH, checkpoint=kept)
    with pytest.raises(UsageError, match="holds sums of patch .3, 3., expected .5, 5."):
        rs.patch_moments_of_chunks(files, (5, 5), checkpoint=kept)
    kept.write_bytes(b"no sums")
    with pytest.raises(FileError, match="delete it to begin anew"):
        rs.patch_moments_of_chunks(files, PATCH, checkpoint=kept)
    with pytest.raises(UsageError, match="cannot be written"):
        rs.patch_moments_of_chunks(files, PATCH, checkpoint=tmp_path / "no" / "folder")


def test_no_chunks_are_refused():
    with pytest.raises(DataError, match="at least one"):
        rs.patch_moments_of_chunks([], PATCH)
