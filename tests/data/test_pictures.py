"""Image files: decoded once, cached, mapped, never completely in memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from repsim_energy.data import picture_files as module
from repsim_energy.data.decoding import load_rgb
from repsim_energy.data.mapped import unchanged_file
from repsim_energy.data.picture_files import iter_image_batches
from repsim_energy.data.pictures import image_set_from_files
from repsim_energy.errors import DataError, FileError, RepsimError, RepsimWarning, UsageError

SHAPE = (3, 6, 8)


def read(path):
    return np.ascontiguousarray(np.asarray(load_rgb(path)).transpose(2, 0, 1))


@pytest.fixture
def photos(tmp_path):
    """Write twelve 8x6 images of three alternating classes; image i has i as its red."""
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{i:02}.png" for i in range(12)]
    for i, path in enumerate(files):
        pixels = rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)
        pixels[..., 0] = i
        Image.fromarray(pixels).save(path)
    return files


def image_set(files, read=read, **options):
    options = {"shape": SHAPE, "version": "1", **options}
    labels = [i % 3 for i in range(len(files))]
    return image_set_from_files(files, labels, ("a", "b", "c"), "photos", read, **options)


def cached(cache):
    return sorted((cache / "images").glob("*"))


class Counted:
    def __init__(self):
        self.files = []

    def __call__(self, path):
        self.files.append(path)
        return read(path)


def test_images_are_those_of_the_files_in_their_order(photos, fresh_cache, monkeypatch):
    monkeypatch.setattr(module, "BATCH_BYTES", 5 * 144)  # five at once: the last block is smaller
    found = image_set(photos)
    assert torch.equal(found.images, torch.stack([torch.from_numpy(read(p)) for p in photos]))
    assert found.labels.tolist() == [0, 1, 2] * 4
    assert (found.classes, found.name) == (("a", "b", "c"), "photos")


def test_classes_and_limit_are_chosen_before_anything_is_read(photos, fresh_cache):
    seen = Counted()
    found = image_set(photos, seen, keep=("c", "a"), limit=4)
    assert found.classes == ("c", "a")
    assert found.labels.tolist() == [1, 0, 1, 0]
    assert found.images[:, 0, 0, 0].tolist() == [0, 2, 3, 5]
    assert sorted(seen.files) == [photos[i] for i in (0, 2, 3, 5)]
    with pytest.raises(UsageError, match="did you mean 'a'"):
        image_set(photos, keep=("aa",))


def test_files_are_read_once_and_again_when_they_or_the_version_change(photos, fresh_cache):
    seen = Counted()
    first = image_set(photos, seen)
    assert torch.equal(image_set(photos, seen).images, first.images)
    assert len(seen.files) == 12
    image_set(photos, seen, version="2")
    assert len(seen.files) == 24
    Image.fromarray(np.zeros((6, 8, 3), np.uint8)).save(photos[3])
    assert image_set(photos, seen).images[3].sum() == 0
    assert len(seen.files) == 36
    os.utime(photos[4], ns=(0, 0))
    image_set(photos, seen)
    assert len(seen.files) == 48


@pytest.mark.parametrize("damage", [b"", b"text", None], ids=["empty", "foreign", "cut off"])
def test_a_damaged_file_in_the_cache_is_written_anew(photos, fresh_cache, damage):
    first = image_set(photos).images.clone()
    (path,) = cached(fresh_cache)
    path.write_bytes(path.read_bytes()[:-1] if damage is None else damage)
    with pytest.warns(RepsimWarning, match="are damaged; they are decoded again"):
        assert torch.equal(image_set(photos).images, first)


def test_a_broken_picture_is_named_and_leaves_nothing_behind(photos, fresh_cache):
    photos[7].write_bytes(photos[7].read_bytes()[:60])
    with pytest.raises(FileError, match="07.png' cannot be read as an image"):
        image_set(photos)
    photos[7].unlink()
    with pytest.raises(FileError, match=r"07.png' cannot be read \(No such file"):
        image_set(photos)
    assert cached(fresh_cache) == []


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux alone")
def test_names_that_are_no_text_are_names(tmp_path, fresh_cache):
    names = [tmp_path / os.fsdecode(name) for name in (b"\xff.png", b"\xfe.png")]
    for number, path in enumerate(names):
        Image.fromarray(np.full((6, 8, 3), number, np.uint8)).save(path)
    assert image_set(names).images[:, 0, 0, 0].tolist() == [0, 1]
    assert image_set(names[::-1]).images[:, 0, 0, 0].tolist() == [1, 0]


def write_by_torch(images):
    images[-1, 0, 0, 0] += 1


def write_by_numpy(images):
    images.numpy()[-1, 0, 0, 0] += 1


def write_and_resize(images):
    images.resize_(len(images) - 1, *images.shape[1:])


@pytest.mark.parametrize("write", [write_by_torch, write_by_numpy, write_and_resize])
@pytest.mark.parametrize("inference", [False, True])
def test_what_is_written_to_the_images_stays_in_memory(write, inference, photos, fresh_cache):
    with torch.inference_mode(inference):
        images = image_set(photos).images
        (path,) = cached(fresh_cache)
        before = path.read_bytes()
        assert unchanged_file(images) == path
        assert unchanged_file(images[:3]) is None
        write(images)
        assert unchanged_file(images) is None
    assert path.read_bytes() == before
    assert image_set(photos).images.sum() > 0


def test_no_files_are_no_images(fresh_cache):
    assert image_set([]).images.shape == (0, *SHAPE)
    assert cached(fresh_cache) == []


def test_pixels_that_the_disk_has_no_room_for_are_refused(photos, fresh_cache):
    shape = (3, 2**20, 2**20)
    with pytest.raises(UsageError, match=r"12 images take 39582.4 GB in .* REPSIM_CACHE") as error:
        image_set(photos, shape=shape)
    assert "\n" not in str(error.value)


def test_images_of_another_shape_are_refused(photos, fresh_cache):
    with pytest.raises(DataError, match=r"read as \(3, 6, 8\), expected \(3, 8, 6\)"):
        image_set(photos, shape=(3, 8, 6))
    Image.fromarray(np.zeros((5, 8, 3), np.uint8)).save(photos[3])
    with pytest.raises(DataError, match="03.png' was read as uint8"):
        image_set(photos)


@pytest.mark.parametrize("at_once", [1, 5, 12, 100])
def test_batches_are_the_same_images(photos, at_once):
    batches = list(iter_image_batches(photos, read, at_once))
    assert [len(batch) for batch in batches[:-1]] == [at_once] * (len(batches) - 1)
    assert torch.equal(torch.cat(batches), torch.stack([torch.from_numpy(read(p)) for p in photos]))
    with pytest.raises(UsageError, match="at least 1"):
        next(iter_image_batches(photos, read, 0))


def test_batches_are_read_one_ahead_and_not_more(photos):
    seen = Counted()
    batches = iter_image_batches(photos, seen, 3)
    next(batches)
    batches.close()
    assert 3 <= len(seen.files) <= 6


RED = np.full((4, 4, 3), (200, 30, 10), np.uint8)


def test_gray_cmyk_palette_and_transparent_pictures_become_rgb(tmp_path):
    gray = Image.fromarray(RED).convert("L")
    gray.save(tmp_path / "gray.jpg", quality=100)
    assert np.ptp(np.asarray(load_rgb(tmp_path / "gray.jpg")), axis=2).max() == 0
    Image.fromarray(RED).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=100)
    found = np.asarray(load_rgb(tmp_path / "cmyk.jpg")).astype(int)
    assert found.shape == (4, 4, 3)
    assert abs(found - RED).max() <= 3
    palette = Image.fromarray(RED).convert("P")
    expected = np.asarray(palette.convert("RGB"))
    palette.save(tmp_path / "opaque.png")
    palette.save(tmp_path / "palette.png", transparency=bytes([255] * 256))
    for name in ("opaque.png", "palette.png"):
        np.testing.assert_array_equal(np.asarray(load_rgb(tmp_path / name)), expected)


@pytest.mark.parametrize("alpha", [0, 51, 255])
def test_transparency_is_laid_on_white(tmp_path, alpha):
    layer = np.dstack([RED, np.full((4, 4), alpha, np.uint8)])
    Image.fromarray(layer).save(tmp_path / "a.png")
    found = np.asarray(load_rgb(tmp_path / "a.png")).astype(float)
    expected = 255 + (RED.astype(float) - 255) * alpha / 255
    assert abs(found - expected).max() <= 1


def test_more_than_eight_bits_are_refused_and_not_clipped(tmp_path):
    Image.fromarray(np.full((4, 4), 3000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(FileError, match="more than 8 bits per channel .* convert it"):
        load_rgb(tmp_path / "deep.png")


def test_truncated_and_foreign_files_are_named(tmp_path):
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(whole)
    content = whole.read_bytes()
    for number, damaged in enumerate((content[: len(content) // 2], content[:20], b"", b"text")):
        path = tmp_path / f"{number}.jpg"
        path.write_bytes(damaged)
        with pytest.raises(FileError, match=f"{number}.jpg' cannot be read as an image"):
            load_rgb(path)
    with pytest.raises(RepsimError, match="No such file"):
        load_rgb(tmp_path / "absent.jpg")


GROWTH = """
import sys, threading, time
from pathlib import Path
import numpy as np, torch
import repsim_energy as rs
from repsim_energy.data.selection import select
from repsim_energy.training import inputs

def read(path):
    return np.random.default_rng(int(path.name)).integers(0, 256, (3, 224, 224), dtype=np.uint8)

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(x.split()[1]) for x in lines if x.startswith("RssAnon")) / 1024

folder, count = Path(sys.argv[1]), 2000
files = [folder / str(i) for i in range(count)]
for file in files:
    file.touch()
torch.set_num_threads(1)
inputs.PART_BYTES //= 8  # small beside a set that is summed quickly
rs.patch_moments(torch.zeros(8, 3, 224, 224, dtype=torch.uint8), (7, 7))
at_rest, peak, done = anonymous(), [0.0], threading.Event()

def watch():
    while not done.wait(0.002):
        peak[0] = max(peak[0], anonymous())

watching = threading.Thread(target=watch)
watching.start()
images = rs.image_set_from_files(
    files, [0] * count, ("a",), "noise", read, shape=(3, 224, 224), version="1"
)
images = select(images, classes=("a",), limit=count)
images.fingerprint
moments = rs.patch_moments(images.images, (7, 7))
inputs.normalization_of(images)
done.set()
watching.join()
print(images.images.nbytes / 2**20, peak[0] - at_rest)
"""


@pytest.mark.process
@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux's /proc")
def test_a_set_is_written_chosen_hashed_and_summed_without_being_held(tmp_path, fresh_cache):
    found = subprocess.run(
        [sys.executable, "-c", GROWTH, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "MALLOC_ARENA_MAX": "2"},
    )
    assert found.returncode == 0, found.stderr
    size, growth = map(float, found.stdout.split())
    assert size > 250
    assert growth < 0.5 * size
