"""CIFAR: the images that torchvision would read, without unpickling what a file names."""

import hashlib
import io
import os
import pickle
import tarfile

import numpy as np
import pytest
import torch
from torchvision import datasets

from repsim_energy.data import torchvision_sets
from repsim_energy.data.torchvision_sets import cifar10, cifar100
from repsim_energy.errors import FileError

NUMPY_1 = (b"numpy._core.multiarray", b"numpy.core.multiarray")


def batch(seed, labels="labels", columns=3072, dtype=np.uint8):
    pixels = np.random.default_rng(seed).integers(0, 256, (20, columns)).astype(dtype)
    content = {"batch_label": "a", labels: [7 * i % 10 for i in range(20)], "data": pixels}
    return pickle.dumps(content | {"filenames": ["x.png"] * 20}, protocol=2)


def files(**changes):
    names = {"num_cases_per_batch": 20, "label_names": list("jihgfedcba"), "num_vis": 3072}
    found = {f"data_batch_{i}": batch(i) for i in (1, 2, 3, 4, 5)}
    found |= {"test_batch": batch(6), "batches.meta": pickle.dumps(names, protocol=2)}
    return {name: content.replace(*NUMPY_1) for name, content in (found | changes).items()}


def archive_of(contents, others=()):
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for name, content in [*others, *((f"tiny/{n}", c) for n, c in contents.items())]:
            entry = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


@pytest.fixture
def published(monkeypatch):
    """Return a function that publishes files as CIFAR-10 or CIFAR-100, and their archive."""

    def publish(contents, archive=b"", name="CIFAR10", key="label_names", meta="batches.meta"):
        sums = {n: hashlib.md5(content).hexdigest() for n, content in contents.items()}
        tests = [n for n in sums if n.startswith("test")]

        class Tiny(getattr(datasets, name)):
            base_folder, filename = "tiny", "tiny.tar.gz"
            tgz_md5 = hashlib.md5(archive).hexdigest()
            train_list = [[n, sums[n]] for n in sums if n not in (*tests, meta)]  # noqa: RUF012
            test_list = [[n, sums[n]] for n in tests]  # noqa: RUF012

        Tiny.meta = {"filename": meta, "key": key, "md5": sums[meta]}
        monkeypatch.setattr(torchvision_sets.published, name, Tiny)
        return Tiny

    return publish


def written(folder, contents):
    (folder / "tiny").mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / "tiny" / name).write_bytes(content)


def same_as_torchvision(found, cls, folder, train):
    expected = cls(str(folder), train=train)
    images = torch.from_numpy(expected.data).permute(0, 3, 1, 2).contiguous()
    assert torch.equal(found.images, images)
    assert found.images.is_contiguous()
    assert found.labels.tolist() == expected.targets
    assert found.labels.dtype == torch.int64
    assert list(found.classes) == expected.classes


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("numpy", ["1", "2"])
def test_images_labels_and_names_are_those_of_torchvision(published, tmp_path, split, numpy):
    contents = files()
    if numpy == "2" and NUMPY_1[0] in batch(0):
        contents = {name: content.replace(*NUMPY_1[::-1]) for name, content in contents.items()}
    cls = published(contents)
    written(tmp_path, contents)
    found = cifar10(split, root=tmp_path)
    assert len(found) == (100 if split == "train" else 20)
    same_as_torchvision(found, cls, tmp_path, split == "train")


def test_cifar100_has_its_fine_labels(published, tmp_path):
    names = pickle.dumps({"fine_label_names": list("abcdefghij"), "coarse_label_names": ["x"]}, 2)
    contents = {n: batch(i, "fine_labels") for i, n in enumerate(("train", "test"))}
    contents["meta"] = names
    cls = published(contents, name="CIFAR100", key="fine_label_names", meta="meta")
    written(tmp_path, contents)
    same_as_torchvision(cifar100("train", root=tmp_path), cls, tmp_path, True)


def test_pickles_of_python_2_are_read(published, tmp_path):
    """As the published ones: bytes as texts, and arrays without functions that encode."""
    pixels = bytes(range(256)) * 12 * 20
    content = (
        b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x01aU\x06labels](" + b"K\x03" * 20 + b"eU\x04data"
        b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x14M\x00\x0c\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R"
        b"(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T"
        + len(pixels).to_bytes(4, "little")
        + pixels
        + b"tbu."
    )
    cls = published(files(test_batch=content))
    written(tmp_path, files(test_batch=content))
    found = cifar10("test", root=tmp_path)
    same_as_torchvision(found, cls, tmp_path, False)
    assert found.labels.tolist() == [3] * 20


def test_an_archive_is_read_and_its_files_are_stored(published, tmp_path):
    contents = files()
    archive = archive_of(contents)
    (tmp_path / "tiny.tar.gz").write_bytes(archive)
    cls = published(contents, archive)
    first = cifar10("train", root=tmp_path)
    assert {p.name: p.read_bytes() for p in (tmp_path / "tiny").iterdir()} == contents
    (tmp_path / "tiny.tar.gz").unlink()
    second = cifar10("train", root=tmp_path)
    assert first.fingerprint == second.fingerprint
    same_as_torchvision(second, cls, tmp_path, True)


def member(name, kind=tarfile.REGTYPE, target=""):
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def test_members_of_an_archive_are_written_nowhere_else(published, tmp_path):
    """Paths that leave the folder, links to files outside, devices, and names twice."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.write_bytes(b"secret")
    hostile = [
        (member("../escaped"), b"x"),
        (member(str(tmp_path / "absolute")), b"x"),
        (member("tiny/../../escaped"), b"x"),
        (member("tiny", tarfile.SYMTYPE, str(tmp_path)), b""),
        (member("tiny/test_batch", tarfile.SYMTYPE, str(outside)), b""),
        (member("tiny/data_batch_2", tarfile.LNKTYPE, "../outside"), b""),
        (member("tiny/data_batch_3", tarfile.FIFOTYPE), b""),
        (member("tiny/data_batch_4", tarfile.CHRTYPE), b""),
        (member("tiny/test_batch"), b"another one"),
        (member("tiny/CON"), b"x"),
        (member("tiny/new\nline"), b"x"),
    ]
    contents = files()
    archive = archive_of(contents, hostile)
    (root / "tiny.tar.gz").write_bytes(archive)
    published(contents, archive)
    assert len(cifar10("train", root=root)) == 100
    assert {p.name for p in (root / "tiny").iterdir()} == contents.keys()
    assert sorted(os.listdir(tmp_path)) == ["outside", "root"]
    assert outside.read_bytes() == b"secret"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"test_batch": batch(0, columns=3071)}, "another array than images"),
        ({"test_batch": batch(0, dtype=np.int16)}, "another array than images"),
        ({"test_batch": pickle.dumps({"data": 3, "labels": []}, 2)}, "no images or no labels"),
        ({"test_batch": pickle.dumps([1], 2)}, "expected a dictionary"),
        ({"test_batch": b""}, "not a pickle"),
        ({"test_batch": batch(0)[:500]}, "not a pickle"),
        ({"batches.meta": pickle.dumps({"label_names": ["a"]}, 2)}, "expected one below 1"),
        ({"batches.meta": pickle.dumps({"label_names": 3}, 2)}, "names no classes"),
        ({"batches.meta": pickle.dumps({"label_names": np.ones(2)}, 2)}, "names no classes"),
    ],
)
def test_other_content_is_refused(published, tmp_path, change, words):
    contents = files(**change)
    published(contents)
    written(tmp_path, contents)
    with pytest.raises(FileError, match=words) as caught:
        cifar10("test", root=tmp_path)
    assert "\n" not in str(caught.value)


def test_archives_that_lack_files_are_refused(published, tmp_path):
    contents = files()
    archive = archive_of({n: c for n, c in contents.items() if n != "data_batch_5"})
    for content, words in ((archive, "no 'data_batch_5'"), (archive[:3000], "is damaged")):
        (tmp_path / "tiny.tar.gz").write_bytes(content)
        published(contents, content)
        with pytest.raises(FileError, match=words):
            cifar10("train", root=tmp_path)
