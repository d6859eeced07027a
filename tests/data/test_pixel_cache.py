"""Images in folders are decoded once, and again after any change of a file."""

import os
import shutil
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from samples import EveryReport

from repsim_energy.data import decoding, picture_files, pictures, pixel_cache
from repsim_energy.data import folder as module
from repsim_energy.data.folder import folder
from repsim_energy.data.mapped import unchanged_file
from repsim_energy.errors import DataError, FileError, RepsimWarning, UsageError
from repsim_energy.progress import reporting


@pytest.fixture
def decoded(monkeypatch):
    """Return a list that records the names of decoded images."""
    names, read = [], decoding.load_rgb

    def counted(path):
        names.append(Path(path).name)
        return read(path)

    monkeypatch.setattr(decoding, "load_rgb", counted)
    return names


def pixels_of(path, split="train"):
    files = sorted((path / split).rglob("*.png"))
    return torch.stack([torch.from_numpy(np.array(Image.open(f))).permute(2, 0, 1) for f in files])


def kept_in(cache):
    return sorted((cache / "images").iterdir())


def is_decoded_anew(path, decoded, **options):
    decoded.clear()
    folder("train", path=path, **options)
    return len(decoded) == 13  # all twelve, and the first for its shape


def test_pictures_are_decoded_once_and_mapped_afterwards(photos, fresh_cache, decoded):
    for split in ("train", "test"):
        first, second = folder(split, path=photos), folder(split, path=photos)
        assert torch.equal(first.images, pixels_of(photos, split))
        assert first.fingerprint == second.fingerprint
        assert unchanged_file(second.images) in kept_in(fresh_cache)
    assert len(decoded) == 2 * 13 + 2  # the first picture says which shape is expected
    assert len(kept_in(fresh_cache)) == 2


def test_what_is_asked_for_decides_what_is_kept(photos, fresh_cache, decoded):
    assert is_decoded_anew(photos, decoded)
    assert is_decoded_anew(photos, decoded, size=6)
    assert is_decoded_anew(photos, decoded, size=7)
    for options in ({}, {"size": 6}, {"size": 7}):
        assert not is_decoded_anew(photos, decoded, **options)
    some = folder("train", path=photos, classes=("dog",), limit=3)
    assert torch.equal(some.images, pixels_of(photos)[6:9])


def test_another_version_of_pillow_decodes_anew(photos, fresh_cache, decoded, monkeypatch):
    assert is_decoded_anew(photos, decoded)
    monkeypatch.setattr(module, "DECODER", "Pillow 0")
    assert is_decoded_anew(photos, decoded)


def test_files_that_changed_are_decoded_anew(photos, fresh_cache, decoded):
    file = photos / "train" / "cat" / "3.png"
    assert is_decoded_anew(photos, decoded)
    Image.fromarray(np.full((10, 12, 3), 7, np.uint8)).save(file)
    assert is_decoded_anew(photos, decoded)
    assert folder("train", path=photos).images[3].unique().tolist() == [7]
    os.utime(file, ns=(0, 0))
    assert is_decoded_anew(photos, decoded)
    file.unlink()
    assert len(folder("train", path=photos)) == 11


@pytest.mark.skipif(os.name != "posix", reason="elsewhere the time of change can be set back")
def test_content_that_changed_under_the_old_time_is_seen(photos, fresh_cache):
    file = photos / "train" / "cat" / "3.png"
    folder("train", path=photos)
    before = file.stat()
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(file)
    content = file.read_bytes()
    file.write_bytes(content + bytes(before.st_size - len(content)))  # what follows is not read
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert folder("train", path=photos).images[3].unique().tolist() == [0]


def test_the_same_relative_path_elsewhere_is_another_folder(photos, fresh_cache, monkeypatch):
    other = photos.parent / "elsewhere" / "photos"
    shutil.copytree(photos, other)
    swapped = other / "train" / "cat" / "0.png"
    Image.fromarray(np.zeros((10, 12, 3), np.uint8)).save(swapped)
    for place in (photos, other):
        monkeypatch.chdir(place.parent)
        assert torch.equal(folder("train", path=Path("photos")).images, pixels_of(place))


@pytest.mark.parametrize("damage", ["flipped", "cut off", "longer", "foreign", "other shape"])
def test_what_is_damaged_in_the_cache_is_made_anew(photos, fresh_cache, decoded, damage):
    expected = folder("train", path=photos).images.clone()
    (path,) = kept_in(fresh_cache)
    content = path.read_bytes()
    if damage == "other shape":
        np.save(path, np.zeros((3, 3), np.uint8))
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes(
            {
                "flipped": flipped,
                "cut off": content[:-1],
                "longer": content + b"x",
                "foreign": b"text",
            }[damage]
        )
    with pytest.warns(RepsimWarning, match="are damaged; they are decoded again"):
        assert is_decoded_anew(photos, decoded)
    assert torch.equal(folder("train", path=photos).images, expected)
    assert path.read_bytes() == content


def test_a_cache_that_cannot_be_written_costs_time_and_no_pictures(
    photos, fresh_cache, decoded, files_of_at_most, monkeypatch
):
    expected, said = pixels_of(photos), "12 images are decoded again each time, because they cannot"

    def check(reason):
        decoded.clear()
        with pytest.warns(RepsimWarning, match=f"{said}.*{reason}") as seen:
            found = folder("train", path=photos)
        assert len(seen) == 1
        assert len(decoded) >= 13
        assert torch.equal(found.images, expected)

    with files_of_at_most(500):
        check("File too large")
    assert kept_in(fresh_cache) == []
    with monkeypatch.context() as full:
        full.setattr(pixel_cache.shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
        check("has 0.0 GB left")
        full.setattr(pixel_cache, "available_memory", lambda: 10.0)
        with pytest.raises(UsageError, match="has 0.0 GB left; choose fewer"):
            folder("train", path=photos)
    (fresh_cache.parent / "file").touch()
    monkeypatch.setenv("REPSIM_CACHE", str(fresh_cache.parent / "file"))
    check("cannot be created .* set REPSIM_CACHE")


def test_a_cache_for_reading_alone_serves_what_it_holds(photos, fresh_cache, decoded, monkeypatch):
    folder("train", path=photos)

    def refuse(*_):
        raise UsageError("the folder cannot be written")

    monkeypatch.setattr(pixel_cache, "cache_folder", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not is_decoded_anew(photos, decoded)
    with pytest.warns(RepsimWarning, match="decoded again each time.* cannot be written"):
        folder("test", path=photos)


def test_two_at_once_both_get_whole_pictures(photos, fresh_cache):
    together = Barrier(4)

    def load(_):
        together.wait(30)
        return folder("train", path=photos).images.clone()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(load, range(4)))
    assert all(torch.equal(images, pixels_of(photos)) for images in found)
    assert len(kept_in(fresh_cache)) == 1


def test_broken_and_unlike_pictures_are_named_and_nothing_is_kept(photos, fresh_cache):
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(photos / "train" / "dog" / "2.png")
    with pytest.raises(DataError, match=r"differ in size: .*cat/0.png' is \(10, 12\), .*dog/2.png"):
        folder("train", path=photos)
    (photos / "train" / "dog" / "2.png").write_bytes(b"no picture")
    with pytest.raises(FileError, match="2.png' cannot be read as an image"):
        folder("train", path=photos)
    assert kept_in(fresh_cache) == []


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_what_a_link_points_to_decides(photos, fresh_cache, decoded):
    link = photos / "train" / "cat" / "0.png"
    target = photos.parent / "target.png"
    link.rename(target)
    link.symlink_to(target)
    assert is_decoded_anew(photos, decoded)
    assert not is_decoded_anew(photos, decoded)
    Image.fromarray(np.full((10, 12, 3), 9, np.uint8)).save(target)
    assert is_decoded_anew(photos, decoded)


def test_reading_is_reported_and_mapping_is_not(photos, fresh_cache, monkeypatch):
    monkeypatch.setattr(picture_files, "MAX_BATCH_IMAGES", 5)
    heard = EveryReport(monkeypatch)
    for _ in range(2):
        with reporting(heard):
            folder("train", path=photos)
    assert heard.counts(f"reading images of {photos.name}") == [0, 5, 10, 12, 12]
    read = [one for one in heard.pieces if one.label != f"listing {photos.name}, train"]
    assert {(one.total, one.unit) for one in read} == {(12, "images")}
    assert len(read) == 5
    count = len(heard.pieces)
    folder("test", path=photos)
    assert len(heard.pieces) == count


def test_a_reader_may_return_a_transposed_view(photos, fresh_cache):
    """As of PIL's (h, w, c) pixels, which is the shortest way to (c, h, w)."""
    files = sorted((photos / "train").rglob("*.png"))
    found = pictures.image_set_from_files(
        files,
        [0] * len(files),
        ["any"],
        "views",
        lambda path: np.asarray(decoding.load_rgb(path)).transpose(2, 0, 1),
        shape=(3, 10, 12),
        version="1",
    )
    assert torch.equal(found.images, pixels_of(photos))
