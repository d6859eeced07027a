"""Images from files, and errors in one line."""

from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from repsim_energy.data import torchvision_sets
from repsim_energy.data.folder import folder
from repsim_energy.data.npz import npz
from repsim_energy.data.torchvision_sets import cifar10
from repsim_energy.errors import (
    DataError,
    FileError,
    RepsimError,
    RepsimWarning,
    ShapeError,
    UsageError,
)
from repsim_energy.numerics.patches.moments import patch_moments
from repsim_energy.scheduling import patch_moments_of_chunks


def test_npz_is_read_channel_first(pictures_npz):
    train, test = npz("train", path=pictures_npz), npz("test", path=pictures_npz)
    raw = np.load(pictures_npz, allow_pickle=False)
    assert train.classes == ("a", "b", "c")
    assert (len(train), len(test)) == (60, 30)
    np.testing.assert_array_equal(train.images[5, 2].numpy(), raw["train_images"][5, :, :, 2])


def write(path, **arrays):
    np.savez(path, **arrays)
    return path


IMAGES = np.zeros((4, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"images": IMAGES}, DataError, "no array 'train_images'"),
        ({"train_images": IMAGES}, DataError, "no array 'train_labels'"),
        ({"train_images": IMAGES[0], "train_labels": [0] * 4}, ShapeError, "or one image; give"),
        ({"train_images": IMAGES[0, 0], "train_labels": [0] * 4}, ShapeError, "expected"),
        ({"train_images": IMAGES, "train_labels": [0.5] * 4}, DataError, "whole numbers"),
        (
            {"train_images": IMAGES.astype(int), "train_labels": [0] * 4},
            DataError,
            "uint8 or float",
        ),
        ({"train_images": IMAGES, "train_labels": [-1] * 4}, DataError, "run from -1"),
        ({"train_images": IMAGES, "train_labels": [0] * 3}, UsageError, "one label per image"),
        ({"train_images": np.array([None]), "train_labels": [0]}, FileError, "without pickle"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arrays, error, words, tmp_path):
    with pytest.raises(error, match=words):
        npz("train", path=write(tmp_path / "x.npz", **arrays))


@pytest.mark.parametrize("kind", ["<f4", ">f4", ">f8", "u1"])
def test_arrays_of_any_byte_order_are_read(kind, tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3)).astype(kind)
    path = write(tmp_path / "x.npz", train_images=images, train_labels=np.zeros(4, ">i2"))
    if kind == "u1":
        found = npz("train", path=path)
    else:
        with pytest.warns(RepsimWarning, match="from 0 to 255, all whole numbers: read as bytes"):
            found = npz("train", path=path)
    np.testing.assert_array_equal(found.images.numpy().transpose(0, 2, 3, 1), images)
    np.save(tmp_path / "x.npy", images)
    moments = patch_moments_of_chunks([tmp_path / "x.npy"], (3, 3))
    native = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(images.dtype.newbyteorder("=")))
    assert torch.equal(moments.second, patch_moments(native, (3, 3)).second)


def test_damaged_and_missing_files_are_refused(pictures_npz, tmp_path):
    content = pictures_npz.read_bytes()
    for damaged in (content[:-300], content[:50], b"", b"text"):
        path = tmp_path / "damaged.npz"
        path.write_bytes(damaged)
        with pytest.raises(FileError, match="cannot be read"):
            npz("train", path=path)
    with pytest.raises(UsageError, match="no file at"):
        npz("train", path=tmp_path / "absent.npz")


def test_a_missing_test_split_is_empty(tmp_path):
    path = write(tmp_path / "x.npz", train_images=IMAGES, train_labels=[0, 1, 0, 1])
    assert len(npz("test", path=path)) == 0


def test_folders_are_read_with_and_without_splits(photos):
    train = folder("train", path=photos)
    assert train.classes == ("cat", "dog")
    assert train.images.shape == (12, 3, 10, 12)
    pixels = np.array(Image.open(photos / "train" / "dog" / "0.png"))
    np.testing.assert_array_equal(train.images[6].permute(1, 2, 0), pixels)
    assert len(folder("test", path=photos)) == 12
    assert len(folder("test", path=photos / "train")) == 0
    assert folder("train", path=photos, limit=4).labels.tolist() == [0, 0, 1, 1]
    assert folder("train", path=photos, size=6).images.shape == (12, 3, 6, 6)


def test_folders_that_do_not_fit_are_refused(photos, tmp_path):
    Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(photos / "train" / "cat" / "odd.png")
    with pytest.raises(DataError, match="size="):
        folder("train", path=photos)
    assert len(folder("train", path=photos, size=8)) == 13
    (photos / "train" / "cat" / "broken.png").write_bytes(b"no image")
    with pytest.raises(FileError, match="cannot be read as an image"):
        folder("train", path=photos, size=8)
    with pytest.raises(UsageError, match="no folder"):
        folder("train", path=tmp_path / "absent")
    (tmp_path / "bare").mkdir()
    with pytest.raises(DataError, match="class folders"):
        folder("train", path=tmp_path / "bare")


def test_a_download_that_fails_names_what_to_do(monkeypatch, tmp_path):
    def no_network(*_):
        raise URLError("no network")

    monkeypatch.setattr(torchvision_sets, "download", no_network)
    with pytest.raises(RepsimError, match=r"put torchvision's files there, or give your own"):
        cifar10("train", root=tmp_path)


def test_real_images_have_their_published_spectrum(cifar_subset):
    import json
    from pathlib import Path

    train = npz("train", path=cifar_subset)
    assert (len(train), len(npz("test", path=cifar_subset)), len(train.classes)) == (5170, 1017, 10)
    found = patch_moments(train.images, (3, 3)).basis().eigenvalues
    expected = json.loads((Path(__file__).parent / "cifar10_spectrum.json").read_text())["3x3x3"]
    torch.testing.assert_close(
        found / found.sum(), torch.tensor(expected).double(), rtol=1e-5, atol=1e-9
    )
