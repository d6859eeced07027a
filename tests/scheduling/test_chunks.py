"""Moments chunk by chunk: those of the images, in every bit, wherever and however often begun."""

import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

import repsim_energy as rs
from repsim_energy.errors import DataError, FileError, RepsimError, RepsimWarning, UsageError
from repsim_energy.files.array_files import read_npy
from repsim_energy.files.seals import unsealed
from repsim_energy.scheduling import chunk_identity
from repsim_energy.scheduling import chunks as chunks_module
from repsim_energy.scheduling.chunk_identity import made_of

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


def read(path):
    return torch.from_numpy(np.load(path, allow_pickle=False)).permute(0, 3, 1, 2)


@pytest.fixture
def begun(monkeypatch):
    """The names of the files that are read, as they are."""
    names = []

    def counting(load):
        def counted(path, **options):
            names.append(Path(path).name)
            return load(path, **options)

        return counted

    monkeypatch.setattr(np, "load", counting(np.load))
    monkeypatch.setattr(chunks_module, "read_npy", counting(read_npy))
    return names


def summed(chunks, kept, **options):
    return rs.patch_moments_of_chunks(chunks, PATCH, checkpoint=kept, **options)


@pytest.fixture
def kept(tmp_path):
    return tmp_path / "photos.sums"


@pytest.mark.parametrize("as_functions", [False, True])
def test_what_was_added_is_not_added_again_after_a_failure(
    images, files, begun, kept, as_functions
):
    missing = files[2].read_bytes()
    files[2].unlink()
    chunks = [partial(read, path) for path in files] if as_functions else files
    with pytest.raises(RepsimError, match="chunk 2 .*could not be summed .FileNotFoundError"):
        summed(chunks, kept)
    files[2].write_bytes(missing)
    found = summed(chunks, kept)
    assert same(found, rs.patch_moments(images, PATCH))
    assert begun == ["0.npy", "1.npy", "2.npy", "2.npy"]
    assert same(summed(chunks, kept), found)
    assert len(begun) == 4


def test_more_chunks_go_on_and_fewer_are_refused(images, files, begun, kept):
    summed(files[:2], kept)
    before = kept.read_bytes()
    with pytest.raises(UsageError, match="holds sums of 2 chunks, got 1; delete it .* another"):
        summed(files[:1], kept)
    assert kept.read_bytes() == before
    assert same(summed(files, kept), rs.patch_moments(images, PATCH))
    assert begun == ["0.npy", "1.npy", "2.npy"]


SIZE = 6


def cut(path):
    return read(path)[..., :SIZE]


def of_paths(paths):
    return lambda: torch.cat([read(path) for path in paths])


def batches(images):
    return lambda: ((part, 0) for part in images.split(2))


def chunk_of(kind, files, images):
    """A chunk of each kind, of the images of one folder."""
    return {
        "path": lambda: files[0],
        "text": lambda: str(files[0]),
        "partial": lambda: partial(read, files[0]),
        "keyword": lambda: partial(read, path=str(files[0])),
        "list": lambda: of_paths(files),
        "tensor": lambda: lambda: images,
        "default": lambda: lambda images=images: images,
        "batches": lambda: batches(images),
        "object": lambda: Loader(files[0]),
        "method": lambda: Loader(files[0]).load,
    }[kind]()


KINDS = (
    "path",
    "text",
    "partial",
    "keyword",
    "list",
    "tensor",
    "default",
    "batches",
    "object",
    "method",
)


class Loader:
    """An object that says nothing of what it will return."""

    def __init__(self, path):
        self.path = path

    def load(self):
        return read(self.path)

    __call__ = load


@pytest.mark.parametrize("kind", KINDS)
def test_chunks_of_another_folder_are_refused(images, files, tmp_path, kept, kind):
    first, others = chunk_of(kind, files, images), []
    for path in files:
        others.append(tmp_path / "other" / path.name)
        others[-1].parent.mkdir(exist_ok=True)
        np.save(others[-1], 255 - np.load(path, allow_pickle=False))
    second = chunk_of(kind, others, 255 - images)
    found = summed([first], kept)
    before = kept.read_bytes()
    with pytest.raises(UsageError, match=r"images: those of chunk 0.* differ; delete it") as error:
        summed([second], kept)
    assert "\n" not in str(error.value)
    assert kept.read_bytes() == before
    assert same(summed([chunk_of(kind, files, images)], kept), found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_images_in_another_place_are_known_again(images, files, tmp_path, kept, kind):
    found = summed([chunk_of(kind, files, images)], kept)
    moved = [path.rename(tmp_path / f"moved-{path.name}") for path in files]
    assert same(summed([chunk_of(kind, moved, images.clone())], kept), found)


def test_files_whose_content_changed_are_refused(files, kept):
    found = summed([partial(read, path) for path in files], kept)
    content = files[1].read_bytes()
    files[1].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(files[1], ns=(0, 10**18))
    with pytest.raises(UsageError, match="chunk 1 differ"):
        summed([partial(read, path) for path in files], kept)
    files[1].write_bytes(content)
    assert same(summed([partial(read, path) for path in files], kept), found)


def test_a_function_that_changed_is_refused(files, kept, monkeypatch):
    found = summed([partial(cut, files[0])], kept)
    monkeypatch.setitem(globals(), "SIZE", 5)
    with pytest.raises(UsageError, match="chunk 0 differ"):
        summed([partial(cut, files[0])], kept)
    monkeypatch.undo()
    assert same(summed([partial(cut, files[0])], kept), found)
    with pytest.raises(UsageError, match="chunk 0 differ"):
        summed([partial(lambda path: read(path)[..., 1:7], files[0])], kept)


def test_a_chunk_that_notes_what_it_does_is_read_again(images, files, begun, kept):
    calls = []

    def noting(path):
        calls.append(path)
        return read(path)

    found = summed([partial(noting, path) for path in files], kept)
    assert same(summed([partial(noting, path) for path in files], kept), found)
    assert begun == ["0.npy", "1.npy", "2.npy"] * 2
    assert same(found, rs.patch_moments(images, PATCH))


def test_what_says_too_little_or_is_too_much_is_not_looked_at(monkeypatch):
    nested = []
    nested.append(nested)
    for unclear in (nested, Path.cwd(), iter([1]), np.array([object()]), Loader):
        assert made_of(partial(identity, unclear)) is None
    assert made_of(partial(identity, torch.zeros(1000))) is not None
    monkeypatch.setattr(chunk_identity, "MAX_PARTS", 50)
    assert made_of(partial(identity, torch.zeros(1000))) is not None
    assert made_of(partial(identity, torch.zeros(10**5))) is None
    assert made_of(partial(identity, [1] * 50)) is None


@pytest.mark.process
def test_chunks_are_known_again_by_other_processes(images, files, begun, kept):
    chunks = [partial(read, path) for path in files]
    summed(chunks[:1], kept)
    assert same(summed(chunks, kept, scheduler="local:2"), rs.patch_moments(images, PATCH))
    assert same(summed(chunks, kept), rs.patch_moments(images, PATCH))
    assert begun == ["0.npy"]  # the others were read in processes, none of them twice


def test_a_checkpoint_of_something_else_is_refused(files, tmp_path, kept):
    summed(files, kept)
    with pytest.raises(UsageError, match="holds sums of patch .3, 3., expected .5, 5."):
        rs.patch_moments_of_chunks(files, (5, 5), checkpoint=kept)
    earlier = unsealed(kept.read_bytes(), kept, "")
    network = save({"conv1.weight": torch.ones(2, 3, 3, 3)})
    for content in (earlier, network, b"no sums", b""):
        kept.write_bytes(content)
        with pytest.raises(FileError, match="no checkpoint of .* delete it to start again"):
            summed(files, kept)
        assert kept.read_bytes() == content
    for place in (tmp_path / "no" / "folder", tmp_path):
        with pytest.raises(UsageError, match="cannot be written|is a folder"):
            summed(files, place)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes are POSIX's")
def test_a_pipe_is_no_checkpoint(files, kept):
    os.mkfifo(kept)
    with pytest.raises(UsageError, match="is a device, pipe or socket"):
        summed(files, kept)


def test_a_full_disk_costs_the_checkpoint_and_not_the_sums(images, files, kept, files_of_at_most):
    with files_of_at_most(100), pytest.warns(RepsimWarning, match="File too large.*goes on"):
        found = summed(files, kept)
    assert same(found, rs.patch_moments(images, PATCH))
    assert not [path for path in kept.parent.iterdir() if path not in files]


def test_no_chunks_are_refused():
    with pytest.raises(DataError, match="at least one"):
        rs.patch_moments_of_chunks([], PATCH)
