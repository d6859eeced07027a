"""IDX files, and the data sets in this format that are downloaded."""

import gzip
import hashlib
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import repsim_energy as rs
from repsim_energy.data import published
from repsim_energy.data.idx import idx, read_idx
from repsim_energy.data.mnist import fashion_mnist, kmnist, mnist
from repsim_energy.errors import DataError, FileError, RepsimError, UsageError
from repsim_energy.testing import check_dataset

TRAIN, TEST = "train-images-idx3-ubyte", "t10k-images-idx3-ubyte"


def idx_bytes(array, code=8):
    """The content of an IDX file."""
    array = np.asarray(array)
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape) + (
        array.astype(np.uint8).tobytes()
    )


def write_pair(folder, stem, count, *, seed=0, ending=""):
    """Write images of 6x5 pixels and labels 0, 1, 2, 0, ...; return the images."""
    images = np.random.default_rng(seed).integers(0, 256, (count, 6, 5))
    pack = gzip.compress if ending == ".gz" else bytes
    folder.mkdir(exist_ok=True)
    (folder / f"{stem}-images-idx3-ubyte{ending}").write_bytes(pack(idx_bytes(images)))
    labels = np.arange(count) % 3
    (folder / f"{stem}-labels-idx1-ubyte{ending}").write_bytes(pack(idx_bytes(labels)))
    return torch.from_numpy(images.astype(np.uint8))[:, None]


@pytest.fixture
def both(tmp_path):
    """A folder of 12 training and 7 test images."""
    train = write_pair(tmp_path / "digits", "train", 12)
    test = write_pair(tmp_path / "digits", "t10k", 7, seed=1)
    return tmp_path / "digits", train, test


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_both_splits_are_read(ending, tmp_path):
    folder = tmp_path / "digits"
    train = write_pair(folder, "train", 12, ending=ending)
    test = write_pair(folder, "t10k", 7, seed=1, ending=ending)
    for split, pixels in {"train": train, "test": test}.items():
        images = idx(split, path=folder)
        assert torch.equal(images.images, pixels)
        assert images.labels.tolist() == [i % 3 for i in range(len(pixels))]
        assert (images.classes, images.name) == (("0", "1", "2"), "digits")
    check_dataset(idx, path=folder)


def test_a_file_is_decompressed_whatever_its_name_is(both):
    """Browsers decompress files and leave their names, and the other way round."""
    folder, train, test = both
    (folder / TRAIN).rename(folder / f"{TRAIN}.gz")
    (folder / TEST).write_bytes(gzip.compress((folder / TEST).read_bytes()))
    assert torch.equal(idx("train", path=folder).images, train)
    assert torch.equal(idx("test", path=folder).images, test)


def test_the_uncompressed_of_two_files_is_read(both):
    folder, train, _ = both
    (folder / f"{TRAIN}.gz").write_bytes(b"damaged")
    assert torch.equal(idx("train", path=folder).images, train)


def test_training_images_alone_are_all_for_training_unless_they_are_divided(tmp_path):
    pixels = write_pair(tmp_path / "digits", "train", 12)
    assert len(idx("train", path=tmp_path / "digits")) == 12
    assert len(idx("test", path=tmp_path / "digits")) == 0
    train, test = (idx(split, path=tmp_path / "digits", train=9) for split in ("train", "test"))
    assert torch.equal(torch.cat([train.images, test.images]), pixels)
    assert (len(train), test.labels.tolist()) == (9, [0, 1, 2])


def test_test_images_alone_have_to_be_divided(tmp_path):
    folder = tmp_path / "digits"
    pixels = write_pair(folder, "t10k", 10)
    with pytest.raises(UsageError, match=r"t10k files only, 10 images.*add train=8,.*train=10 for"):
        idx("train", path=folder)
    train, test = (idx(split, path=folder, train=8) for split in ("train", "test"))
    assert torch.equal(torch.cat([train.images, test.images]), pixels)
    assert len(train) == 8
    assert train.classes == test.classes
    assert [len(idx(split, path=folder, train=10)) for split in ("train", "test")] == [10, 0]
    for wrong in (0, -1, 11):
        with pytest.raises(UsageError, match=f"got train={wrong}, expected 1 to 10"):
            idx("train", path=folder, train=wrong)


def test_both_splits_are_not_divided(both):
    with pytest.raises(UsageError, match=r"files of both splits, got train=8.*use limit="):
        idx("train", path=both[0], train=8)


def test_classes_are_those_of_both_splits(both):
    folder, *_ = both
    labels = folder / "t10k-labels-idx1-ubyte"
    labels.write_bytes(idx_bytes(np.array([0, 1, 2, 3, 4, 4, 4])))
    for split in ("train", "test"):
        assert idx(split, path=folder).classes == ("0", "1", "2", "3", "4")


def swap(folder):
    images, labels = folder / TRAIN, folder / "train-labels-idx1-ubyte"
    images.rename(folder / "x")
    labels.rename(images)
    (folder / "x").rename(labels)


def change(name, edit):
    def apply(folder):
        path = folder / name
        path.write_bytes(edit(path.read_bytes()))

    return apply


FAULTS = {
    "swapped": (swap, FileError, "holds labels .*2049.*expected images .2051.; is it another"),
    "no idx file": (change(TRAIN, lambda _: b"\x89PNG...."), FileError, "is not an IDX file"),
    "empty": (change(TRAIN, lambda _: b""), FileError, "is not an IDX file"),
    "floats": (
        change(TRAIN, lambda _: idx_bytes(np.zeros((2, 2, 2)), 0x0D)),
        FileError,
        "holds numbers of type 0x0d",
    ),
    "color": (
        change(TRAIN, lambda _: idx_bytes(np.zeros((12, 6, 5, 3)))),
        FileError,
        "holds arrays with 4 axes",
    ),
    "truncated": (
        change(TRAIN, lambda content: content[:-1]),
        FileError,
        "has 375 bytes, expected 376 for 12x6x5 images; copy or download it again",
    ),
    "truncated header": (change(TRAIN, lambda content: content[:9]), FileError, "has 9 bytes"),
    "too long": (change(TRAIN, lambda content: content + b"0"), FileError, "has 377 bytes"),
    "truncated gzip": (
        change(TRAIN, lambda content: gzip.compress(content)[:-20]),
        FileError,
        "cannot be read",
    ),
    "damaged gzip": (
        change(TRAIN, lambda content: gzip.compress(content)[:40] + bytes(200)),
        FileError,
        "cannot be read",
    ),
    "labels of other images": (
        change("train-labels-idx1-ubyte", lambda _: idx_bytes(np.zeros(11))),
        DataError,
        "has 12 images but 'train-labels-idx1-ubyte' 11 labels",
    ),
    "images without labels": (
        lambda folder: (folder / "train-labels-idx1-ubyte").unlink(),
        UsageError,
        "has images of train but no 'train-labels-idx1-ubyte', expected both",
    ),
    "labels without images": (
        lambda folder: (folder / TEST).unlink(),
        UsageError,
        "has labels of t10k but no 't10k-images-idx3-ubyte', expected both",
    ),
    "no files": (
        lambda folder: [path.unlink() for path in folder.iterdir()],
        UsageError,
        "has no IDX files, expected train-images-idx3-ubyte and",
    ),
    "no folder": (shutil.rmtree, UsageError, "no folder at"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("split", ["train", "test"])
def test_files_that_do_not_fit_are_refused_in_one_line(fault, split, both):
    spoil, error, words = FAULTS[fault]
    spoil(both[0])
    with pytest.raises(error, match=words) as caught:
        idx(split, path=both[0])
    assert "\n" not in str(caught.value)


def test_a_spec_selects_and_divides(tmp_path):
    write_pair(tmp_path / "digits", "t10k", 30)
    data = rs.load_images(f"idx:path={tmp_path}/digits:train=20:classes=2/0:limit=8:size=10")
    assert (len(data.train), len(data.test), data.train.classes) == (8, 7, ("2", "0"))
    assert data.image_shape == (1, 10, 10)


def test_a_folder_of_idx_files_can_be_written_alone(both):
    folder, train, _ = both
    data = rs.load_images(f"{folder}:limit=6")
    assert (len(data.train), len(data.test)) == (6, 6)
    for path in (folder, str(folder)):
        assert torch.equal(rs.load_images(path).train.images, train)


NAMES = {"MNIST": mnist, "FashionMNIST": fashion_mnist, "KMNIST": kmnist}


@pytest.fixture(params=NAMES)
def server(request, tmp_path, monkeypatch):
    """A mirror of tiny files, whose MD5 sums are known."""
    name, folder = request.param, tmp_path / "server"
    write_pair(folder, "train", 12, ending=".gz")
    write_pair(folder, "t10k", 7, seed=1, ending=".gz")
    sums = {path.name: hashlib.md5(path.read_bytes()).hexdigest() for path in folder.iterdir()}  # noqa: S324
    mirrors = [(tmp_path / "gone").as_uri() + "/", folder.as_uri() + "/"]
    tiny = getattr(published, name)._replace(mirrors=mirrors, resources=[*sums.items()])
    monkeypatch.setattr(published, name, tiny)
    return NAMES[name], folder, tmp_path / "root" / name / "raw"


def test_files_are_downloaded_once_to_the_place_of_torchvision(server, tmp_path):
    load, folder, raw = server
    train = load("train", root=tmp_path / "root")
    assert sorted(path.name for path in raw.iterdir()) == [
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
    ]
    test = load("test", root=tmp_path / "root")
    assert (len(train), len(test), train.images.shape[1:]) == (12, 7, (1, 6, 5))
    check_dataset(load, root=tmp_path / "root")
    assert len(train.classes) == 10
    assert train.name == load.__name__
    shutil.rmtree(folder)
    assert load("train", root=tmp_path / "root").fingerprint == train.fingerprint


def test_files_with_another_sum_are_downloaded_again_or_refused(server, tmp_path):
    load, folder, raw = server
    whole = load("train", root=tmp_path / "root")
    (raw / f"{TRAIN}.gz").write_bytes(b"damaged")
    assert load("train", root=tmp_path / "root").fingerprint == whole.fingerprint
    (raw / f"{TRAIN}.gz").write_bytes(b"damaged")
    (folder / f"{TRAIN}.gz").write_bytes(gzip.compress(idx_bytes(np.zeros((12, 6, 5)))))
    with pytest.raises(RepsimError, match=r"cannot be downloaded.*give your own with idx:path="):
        load("train", root=tmp_path / "root")


def test_without_a_network_one_line_names_what_to_do(server, tmp_path):
    load, folder, _ = server
    shutil.rmtree(folder)
    with pytest.raises(RepsimError, match=rf"{load.__name__} cannot be downloaded to") as caught:
        load("train", root=tmp_path / "root")
    assert "put torchvision's files there, or give your own with idx:path=" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_classes_can_be_chosen_by_name(server, tmp_path):
    """A slash in a name would separate two names."""
    load, *_ = server
    assert not any(
        set(name) & set("/:,+") for name in load("train", root=tmp_path / "root").classes
    )


@pytest.fixture
def real_images():
    """The folder with ``images/mnist`` and ``images/fashion-mnist``."""
    folder = Path(os.environ.get("REPSIM_TEST_IMAGES", "/nowhere"))
    if not (folder / "images" / "mnist").is_dir():
        pytest.skip("REPSIM_TEST_IMAGES names no folder with images/mnist")
    return folder


@pytest.mark.parametrize(("name", "mean"), [("mnist", 0.1325), ("fashion-mnist", 0.2868)])
def test_real_files_are_read(name, mean, real_images):
    """Their sizes, mean pixels and numbers of images of each class are the known ones."""
    folder = real_images / "images" / name
    images = read_idx(folder / f"{TEST}.gz", 3)
    assert images.shape == (10_000, 28, 28)
    assert float(images.double().mean() / 255) == pytest.approx(mean, abs=2e-4)
    train, test = (idx(split, path=folder, train=8000) for split in ("train", "test"))
    assert (len(train), len(test), len(train.classes)) == (8000, 2000, 10)
    counts = torch.cat([train.labels, test.labels]).bincount()
    published = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert counts.tolist() == (published if name == "mnist" else [1000] * 10)


@pytest.mark.slow
def test_lenet5_reads_digits(real_images, fresh_cache):
    """At least 96% of 2,000 digits, trained on 8,000 others: docs/explanation/lecture.md."""
    dataset = f"idx:path={real_images / 'images' / 'mnist'}:train=8000"
    recipe = "paper:epochs=12:batch=32:optimizer=adam:lr=0.003:schedule=one_cycle"
    result = rs.compare("lenet5", dataset, seeds=1, recipe=recipe, jobs=1)
    assert result.test_accuracy.item() >= 0.96
