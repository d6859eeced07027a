"""Images and labels in memory: equal sets from every layout, or an error with all readings."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Subset, TensorDataset

import repsim_energy as rs
from repsim_energy.comparison.given import as_datasets
from repsim_energy.data.arrays import image_set_of
from repsim_energy.data.npz import npz
from repsim_energy.errors import DataError, RepsimWarning, ShapeError, UsageError
from repsim_energy.registry import load_registry

REGISTRY = load_registry(plugins=False)
RNG = np.random.default_rng(0)
COLOR = RNG.integers(0, 256, (10, 3, 12, 8), dtype=np.uint8)
GRAY = COLOR[:, :1]
LABELS = np.arange(10) % 3


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def taken(data):
    (found,) = as_datasets(REGISTRY, data)
    return found.train


@pytest.mark.parametrize(
    "given",
    [
        COLOR,
        COLOR.transpose(0, 2, 3, 1),
        np.asfortranarray(COLOR),
        read_only(COLOR),
        COLOR.astype(np.int32),
        COLOR.astype(np.int64).transpose(0, 2, 3, 1),
        COLOR.astype(np.uint16),
        COLOR.astype(">i4"),
        torch.from_numpy(COLOR),
        torch.from_numpy(COLOR).permute(0, 2, 3, 1),
        torch.from_numpy(COLOR).int(),
        torch.from_numpy(COLOR).contiguous(memory_format=torch.channels_last),
    ],
)
@pytest.mark.parametrize(
    "labels",
    [
        LABELS,
        LABELS[:, None],
        LABELS.tolist(),
        torch.from_numpy(LABELS),
        LABELS.astype(np.uint8),
        np.eye(3)[LABELS],
        torch.eye(3)[LABELS].bool(),
        LABELS.astype(np.float32),
        np.eye(3, dtype=int)[LABELS],
        LABELS.astype(np.int32)[:, None],
    ],
)
def test_every_layout_gives_the_same_images_and_labels(given, labels):
    found = taken((given, labels))
    assert torch.equal(found.images, torch.from_numpy(COLOR))
    assert torch.equal(found.labels, torch.from_numpy(LABELS))
    assert found.classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "given", [GRAY, GRAY[:, 0], GRAY.transpose(0, 2, 3, 1), GRAY[:, 0].tolist()]
)
def test_gray_images_have_one_channel(given):
    assert torch.equal(image_set_of(given, LABELS, name="x").images, torch.from_numpy(GRAY))


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ((9, 3, 32, 32), (3, 32, 32)),
        ((9, 32, 32, 3), (3, 32, 32)),
        ((9, 32, 32, 4), (4, 32, 32)),
        ((9, 12, 32, 32), (12, 32, 32)),
        ((9, 32, 32, 12), (12, 32, 32)),
        ((9, 3, 4, 4), (3, 4, 4)),
        ((9, 4, 4, 3), (3, 4, 4)),
        ((9, 28, 28), (1, 28, 28)),
        ((9, 1, 28, 28), (1, 28, 28)),
        ((9, 20, 30, 1), (1, 20, 30)),
    ],
)
def test_the_only_plausible_layout_is_taken(shape, found):
    assert image_set_of(np.zeros(shape, np.uint8), name="x").images.shape == (9, *found)


@pytest.mark.parametrize("shape", [(3, 12, 12), (12, 12, 3), (1, 28, 28)])
def test_as_many_labels_as_gray_images_say_what_is_meant(shape):
    found = image_set_of(np.zeros(shape, np.uint8), [0] * shape[0], name="x")
    assert found.images.shape == (shape[0], 1, *shape[1:])


@pytest.mark.parametrize(
    ("shape", "meanings"),
    [
        ((9, 12, 12, 12), ("9 images of 12x12 with 12 channels", "or of 12x12 with 12")),
        ((9, 12, 20, 30), ("9 images of 20x30 with 12 channels", "or of 12x20 with 30")),
        ((9, 3, 3, 3), ("9 images of 3x3 with 3 channels",)),
        ((9, 1, 28, 1), ("of 28x1 with 1 channels, or of 1x28 with 1",)),
        ((3, 12, 12), ("3 gray images of 12x12, or one image",)),
        ((12, 12, 3), ("12 gray images of 12x3, or one image",)),
        ((9, 784), ("9 images with their 784 pixels in a row",)),
        ((9, 1, 3, 8, 8), ("expected (n, c, h, w)",)),
    ],
)
def test_several_possible_layouts_are_refused_and_listed(shape, meanings):
    with pytest.raises(ShapeError) as error:
        image_set_of(np.zeros(shape, np.uint8), name="x")
    assert all(meaning in str(error.value) for meaning in meanings)
    assert "\n" not in str(error.value)


def test_channels_in_the_last_axis_are_refused_where_they_are_said_to_be_first():
    images = torch.zeros(4, 12, 12, 3, dtype=torch.uint8)
    given = rs.ImageSet(images, torch.zeros(4, dtype=torch.int64), ("a",), "mine")
    with pytest.raises(DataError, match=r"\(4, 12, 12, 3\), which is \(n, h, w, c\)"):
        taken(given)
    with pytest.raises(ShapeError, match=r"which is \(n, h, w, c\), .* permute"):
        rs.patch_moments(images, (3, 3))


def test_floats_of_bytes_are_bytes_and_others_are_said():
    as_floats = image_set_of(COLOR / 255, name="x").images
    assert as_floats.is_floating_point()
    with pytest.warns(RepsimWarning, match="from 0 to 255, all whole numbers: read as bytes"):
        assert torch.equal(
            image_set_of(COLOR.astype(np.float32), name="x").images, torch.from_numpy(COLOR)
        )
    with pytest.warns(RepsimWarning, match="divided by 255"):
        found = image_set_of(COLOR * 0.999, name="x").images
    torch.testing.assert_close(found, as_floats * 0.999)
    with pytest.warns(RepsimWarning, match="neither 0..1 nor 0..255: used unchanged"):
        image_set_of(COLOR / 100, name="x")
    normalized = image_set_of(COLOR / 50.0 - 2, name="x").images
    assert normalized.min() == -2


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (np.ones((10, 3)), "several numbers other than 0 in a row"),
        (np.zeros((10, 3)), "one label per image"),
        (LABELS / 2, "expected whole numbers"),
        (LABELS[:5], "one label per image"),
        (np.zeros((10, 2, 1)), "one label per image"),
        (np.full(10, np.nan), "expected whole numbers"),
    ],
)
def test_labels_that_are_not_one_per_image_are_refused(labels, words):
    with pytest.raises(UsageError, match=words):
        image_set_of(COLOR, labels, name="x")


@pytest.mark.parametrize("kind", [list, np.array])
def test_labels_that_are_texts_are_refused_with_what_to_do(kind):
    labels = kind(["cat", "dog"] * (len(COLOR) // 2) + ["cat"] * (len(COLOR) % 2))
    for read in (
        lambda: image_set_of(COLOR, labels, name="x"),
        lambda: as_datasets(REGISTRY, (COLOR, labels)),
    ):
        with pytest.raises(DataError, match="labels are texts such as 'cat', expected the numbers"):
            read()


@pytest.mark.parametrize("images", [GRAY[:, 0], GRAY.transpose(0, 2, 3, 1), COLOR])
def test_files_of_medmnist_are_read(tmp_path, images):
    column = LABELS.astype(np.uint8)[:, None]
    np.savez(
        tmp_path / "m.npz",
        train_images=images,
        train_labels=column,
        val_images=images[:4],
        val_labels=column[:4],
        test_images=images[:6],
        test_labels=column[:6],
    )
    train, test = (npz(split, path=tmp_path / "m.npz") for split in ("train", "test"))
    assert train.images.shape == (10, 3 if images is COLOR else 1, 12, 8)
    assert (len(train), len(test), train.name) == (10, 6, "m")
    assert train.classes == test.classes == ("0", "1", "2")


def test_other_names_of_arrays(tmp_path):
    np.savez(
        tmp_path / "k.npz",
        x_train=GRAY[:, 0],
        y_train=LABELS,
        x_test=GRAY[:2, 0],
        y_test=LABELS[:2],
    )
    assert [len(npz(split, path=tmp_path / "k.npz")) for split in ("train", "test")] == [10, 2]
    np.savez(
        tmp_path / "v.npz",
        train_images=GRAY,
        train_labels=LABELS,
        val_images=GRAY[:2],
        val_labels=LABELS[:2] + 2,
    )
    with pytest.raises(DataError, match="val_labels .* run from 2 to 3, expected 0 to 2"):
        npz("test", path=tmp_path / "v.npz")


class Pictures(torch.utils.data.Dataset):
    """Items of a torchvision data set without a transform."""

    classes = ("x", "y", "z")

    def __len__(self):
        return 10

    def __getitem__(self, i):
        return Image.fromarray(COLOR[i].transpose(1, 2, 0)), int(LABELS[i])


TENSORS = TensorDataset(torch.from_numpy(COLOR), torch.from_numpy(LABELS))


@pytest.mark.parametrize(
    "given",
    [
        TENSORS,
        Pictures(),
        Subset(TENSORS, range(10)),
        DataLoader(TENSORS, batch_size=4),
        DataLoader(TENSORS, batch_size=3, shuffle=True),
    ],
)
def test_data_sets_and_loaders_of_torch_are_read(given):
    found = taken(given)
    assert torch.equal(found.images, torch.from_numpy(COLOR))
    assert torch.equal(found.labels, torch.from_numpy(LABELS))
    if isinstance(given, Pictures):
        assert (found.name, found.classes) == ("Pictures", ("x", "y", "z"))


def test_items_that_are_no_pairs_are_refused():
    with pytest.raises(DataError, match=r"expected pairs \(image, label\)"):
        taken(TensorDataset(torch.from_numpy(COLOR)))
    with pytest.raises(DataError, match=r"items of list are none|expected pairs"):
        taken(Subset(TENSORS, []))


def test_arrays_without_labels_are_refused_for_training_alone():
    banks = {"a": torch.randn(4, 3, 3, 3), "b": torch.randn(4, 3, 3, 3)}
    assert rs.compare(banks, COLOR, stage="trained", seeds=1).sizes["model"] == 2
    with pytest.raises(UsageError, match="'images' have no labels"):
        rs.compare("linear_cnn", COLOR)
