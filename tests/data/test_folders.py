"""Image folders of users: splits, classes, stray files."""

import numpy as np
import pytest
import torch
from PIL import Image

import repsim_energy as rs
from repsim_energy.data.folder import folder
from repsim_energy.errors import DataError, RepsimWarning, UsageError
from repsim_energy.registry import load_dataset, load_registry


def write(path, value=0, shape=(6, 6, 3)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full(shape, value, np.uint8)).save(path)


def of_classes(root, *names, count=2):
    for number, name in enumerate(names):
        for i in range(count):
            write(root / name / f"{i}.png", 10 * number + i)


def load(text):
    return load_dataset(load_registry(), text)


@pytest.mark.parametrize("kept", [("b", "c"), ("c",), ("a", "c")])
def test_validation_classes_have_the_numbers_of_training(tmp_path, kept):
    of_classes(tmp_path / "train", "a", "b", "c")
    of_classes(tmp_path / "test", *kept)
    found = folder("test", path=tmp_path)
    assert found.classes == ("a", "b", "c")
    assert [found.classes[i] for i in found.labels] == [name for name in kept for _ in range(2)]


def test_validation_pictures_of_no_training_class_are_counted(tmp_path):
    of_classes(tmp_path / "train", "a", "b")
    of_classes(tmp_path / "test", "b", "other")
    with pytest.warns(RepsimWarning, match="2 files are left out .2 in 'other', no training class"):
        found = folder("test", path=tmp_path)
    assert found.labels.tolist() == [1, 1]
    of_classes(tmp_path / "second" / "train", "a", "b")
    of_classes(tmp_path / "second" / "test", "A", "B")
    with pytest.raises(DataError, match="has the classes A, B, expected those of training: a, b"):
        folder("test", path=tmp_path / "second")


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("training", "testing"),
        ("seg_train", "seg_test"),
        ("train", "val"),
        ("TRAIN", "Valid"),
        ("train", "validation"),
        ("seg_train/seg_train", "seg_test/seg_test"),
        ("training_set", "test_set"),
        ("Training_Set/Training_Set", "Test_Set/Test_Set"),
        ("train_images", "val_images"),
        ("images-train", "images-test"),
        ("TrainSet", "DevSet"),
        ("train2017", "val2017"),
        ("trn", "tst"),
    ],
)
def test_other_names_of_splits_are_known_and_said(tmp_path, train, test):
    of_classes(tmp_path / train, "a", "b")
    of_classes(tmp_path / test, "b")
    with pytest.warns(RepsimWarning, match=f"training on '{train}', testing on '{test}'"):
        found = folder("train", path=tmp_path)
    assert found.classes == ("a", "b")
    assert folder("test", path=tmp_path).labels.tolist() == [1, 1]


def test_a_class_whose_name_holds_the_word_of_a_split_is_a_class(tmp_path):
    of_classes(tmp_path, "train_station", "test_tube", "trainer")
    assert folder("train", path=tmp_path).classes == ("test_tube", "train_station", "trainer")


def test_a_folder_of_other_files_says_what_they_are(tmp_path):
    (tmp_path / "cat").mkdir()
    for i in range(3):
        (tmp_path / "cat" / f"{i}.gif").touch()
    with pytest.raises(DataError, match=r"no images in class folders, .*, but 3 \.gif; convert"):
        folder("train", path=tmp_path)


def test_folders_that_are_not_used_are_named(tmp_path):
    of_classes(tmp_path / "train", "a")
    of_classes(tmp_path / "test", "a")
    of_classes(tmp_path / "val", "a")
    with pytest.warns(RepsimWarning, match="testing on 'test'; not used: val"):
        folder("train", path=tmp_path)


def test_two_training_folders_are_refused(tmp_path):
    of_classes(tmp_path / "train", "a")
    of_classes(tmp_path / "training", "a")
    with pytest.raises(UsageError, match="has train and training, expected one"):
        folder("train", path=tmp_path)


def test_a_class_may_be_called_train(tmp_path):
    of_classes(tmp_path, "bus", "car", "train")
    assert folder("train", path=tmp_path).classes == ("bus", "car", "train")
    assert len(folder("test", path=tmp_path)) == 0


@pytest.mark.parametrize("name", [".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir"])
@pytest.mark.parametrize("empty", [True, False])
def test_what_systems_leave_in_folders_is_nothing(tmp_path, name, empty, recwarn):
    of_classes(tmp_path, "a", "b")
    (tmp_path / name).mkdir()
    (tmp_path / "a" / ".hidden").mkdir()
    if not empty:
        write(tmp_path / name / "0.png")
        write(tmp_path / "a" / ".hidden" / "0.png")
    for stray in ("Thumbs.db", ".DS_Store", "desktop.ini", "._0.png"):
        (tmp_path / "a" / stray).write_bytes(b"")
    found = folder("train", path=tmp_path)
    assert (found.classes, len(found)) == (("a", "b"), 4)
    assert not recwarn.list


def test_class_folders_without_pictures_are_named(tmp_path):
    of_classes(tmp_path, "a", "c")
    (tmp_path / "b").mkdir()
    with pytest.warns(RepsimWarning, match="no images in b, which are not counted as classes"):
        assert folder("train", path=tmp_path).classes == ("a", "c")


def test_what_is_left_out_is_counted_by_kind(tmp_path):
    of_classes(tmp_path, "a", "b")
    for name in ("a/x.gif", "a/y.avif", "b/z.GIF", "b/none", "b/labels.csv"):
        (tmp_path / name).write_bytes(b"")
    write(tmp_path / "loose.png")
    (tmp_path / "README.txt").write_text("beside the classes: no picture")
    with pytest.warns(RepsimWarning) as seen:
        found = folder("train", path=tmp_path)
    assert len(found) == 4
    (line,) = [str(one.message) for one in seen]
    assert "6 files are left out" in line
    for kind in ("2 .gif", "1 .avif", "1 without ending", "1 .csv", "1 beside the class folders"):
        assert kind in line


@pytest.mark.parametrize("ending", [".jfif", ".JPG", ".jpe", ".PNG", ".webp", ".ppm"])
def test_endings_of_pictures_that_are_read(tmp_path, ending):
    image = Image.fromarray(np.full((6, 6, 3), 80, np.uint8))
    (tmp_path / "a" / "b").mkdir(parents=True)
    kind = {".jfif": "JPEG", ".jpe": "JPEG", ".jpg": "JPEG"}.get(ending.lower(), ending[1:].upper())
    image.save(tmp_path / "a" / "b" / f"0{ending}", format=kind)
    assert folder("train", path=tmp_path).images.shape == (1, 3, 6, 6)


def test_pictures_without_classes_serve_all_but_training(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(8):
        pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    images = load(f"folder:path={tmp_path}").train
    assert (images.classes, len(images)) == ((), 8)
    banks = {"a": torch.randn(4, 3, 3, 3), "b": torch.randn(4, 3, 3, 3)}
    result = rs.compare(banks, f"folder:path={tmp_path}", stage="trained", seeds=1)
    assert np.isfinite(result.similarity.values[0, 0, 0, 0, 1, 0])
    with pytest.raises(UsageError, match="have no labels, expected some to train"):
        rs.compare("linear_cnn", f"folder:path={tmp_path}")
    with pytest.raises(UsageError, match="have no labels, expected some to shuffle"):
        load(f"folder:path={tmp_path}+random_labels")


def test_splits_of_pictures_without_classes(tmp_path):
    for split, count in (("train", 3), ("test", 2)):
        for i in range(count):
            write(tmp_path / split / f"{i}.png", i)
    assert [len(folder(split, path=tmp_path)) for split in ("train", "test")] == [3, 2]
    assert folder("train", path=tmp_path).classes == ()


def test_classes_are_chosen_before_the_limit(tmp_path):
    of_classes(tmp_path, *"abcdef", count=5)
    found = load(f"folder:path={tmp_path}:limit=8:classes=e/b").train
    assert found.classes == ("e", "b")
    assert found.labels.tolist().count(0) == found.labels.tolist().count(1) == 4
    with pytest.raises(UsageError, match="unknown class 'z'"):
        load(f"folder:path={tmp_path}:classes=z")


def test_gray_reads_the_one_channel_there_is(tmp_path):
    for i in range(3):
        write(tmp_path / "gray" / "a" / f"{i}.png", 50 * i, shape=(6, 6))
    found = load(f"folder:path={tmp_path / 'gray'}:gray=true").train
    assert found.images.shape == (3, 1, 6, 6)
    assert found.images[:, 0, 0, 0].tolist() == [0, 50, 100]
    write(tmp_path / "gray" / "a" / "color.png", (1, 2, 3))
    with pytest.raises(DataError, match="have colors, got gray=true"):
        load(f"folder:path={tmp_path / 'gray'}:gray=true")


def test_networks_of_one_channel_see_gray_pictures(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    for i in range(8):
        pixels = rng.integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "a" / f"{i}.png")
    banks = {"a": torch.randn(4, 1, 3, 3), "b": torch.randn(4, 1, 3, 3)}
    found = rs.compare(banks, f"folder:path={tmp_path}", stage="trained", seeds=1)
    expected = rs.compare(
        banks, load(f"folder:path={tmp_path}:gray=true"), stage="trained", seeds=1
    )
    np.testing.assert_array_equal(found.similarity, expected.similarity)
    write(tmp_path / "a" / "color.png", (1, 2, 3), shape=(8, 8, 3))
    with pytest.raises(rs.RepsimError, match="have 3 channels but the filters of 'a' see 1"):
        rs.compare(banks, f"folder:path={tmp_path}", stage="trained")
