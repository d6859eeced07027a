"""Whatever form models, data sets and seeds come in, it is understood or refused in one line."""

import itertools
import warnings

import numpy as np
import pytest
import torch
from samples import LEAVES, RECIPE
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison import memory
from repsim_energy.comparison.given import as_datasets, as_models
from repsim_energy.errors import RepsimError, RepsimWarning
from repsim_energy.numerics.arrays import tensor_of
from repsim_energy.registry import load_registry

REGISTRY = load_registry(plugins=False)
IMAGES = torch.rand(20, 3, 12, 12, generator=torch.Generator().manual_seed(0))
BYTES = (IMAGES * 255).to(torch.uint8)
LABELS = torch.arange(20) % 3
BANK = torch.rand(5, 3, 3, 3, generator=torch.Generator().manual_seed(1))
FIRST = rs.ImageSet(IMAGES, LABELS, ("a", "b", "c"), "first")
SECOND = rs.ImageSet(BYTES, LABELS, ("a", "b", "c"), "second")
NAMES = (f"{LEAVES}:limit=20", f"{LEAVES}:limit=30")


def both(images):
    """Return a data set of which both splits are the same."""
    return rs.Dataset(images.name, images, images)


@pytest.mark.parametrize("container", [tuple, list])
@pytest.mark.parametrize(
    ("sets", "labels"),
    [
        (NAMES, NAMES),
        ((FIRST, SECOND), ("first", "second")),
        ((both(FIRST), both(SECOND)), ("first", "second")),
        (((IMAGES, LABELS), (BYTES, LABELS)), ("images", "images#1")),
        (([IMAGES, LABELS], [BYTES, LABELS]), ("images", "images#1")),
        ((IMAGES, BYTES), ("images", "images#1")),
        ((IMAGES.numpy(), BYTES.numpy()), ("images", "images#1")),
        ((NAMES[0], (IMAGES, LABELS), FIRST, BYTES), (NAMES[0], "images", "first", "images#3")),
        ((IMAGES, LABELS), ("images",)),
        ((IMAGES.numpy(), LABELS.numpy()), ("images",)),
        ((IMAGES, LABELS.numpy()), ("images",)),
        (((IMAGES, LABELS),), ("images",)),
        ((FIRST,), ("first",)),
    ],
)
def test_lists_and_tuples_of_data_sets_are_the_same(container, sets, labels):
    found = as_datasets(REGISTRY, container(sets))
    assert tuple(data.label for data in found) == labels


@pytest.mark.parametrize("data", [NAMES[0], FIRST, both(FIRST), IMAGES, IMAGES.numpy()])
def test_one_data_set_needs_no_list(data):
    (alone,), (listed,) = as_datasets(REGISTRY, data), as_datasets(REGISTRY, [data])
    assert alone.train.fingerprint == listed.train.fingerprint


def test_a_tuple_of_names_is_compared_as_a_list_of_them():
    names = (NAMES[0], f"{NAMES[0]}+random_labels")
    with pytest.warns(RepsimWarning, match="the labels of .* changed nothing"):
        found = [rs.compare([BANK], sets, seeds=1) for sets in (names, list(names))]
    for result in found:
        assert tuple(result.dataset.values) == names
    np.testing.assert_array_equal(found[0].similarity, found[1].similarity)


def test_images_come_out_as_they_went_in():
    (found,) = as_datasets(REGISTRY, (BYTES.numpy(), LABELS.numpy().astype(np.int16)))
    assert torch.equal(found.train.images, BYTES)
    assert torch.equal(found.train.labels, LABELS)
    assert found.train.classes == ("0", "1", "2")
    assert len(found.test) == 0
    (unlabeled,) = as_datasets(REGISTRY, BYTES)
    assert unlabeled.train.labels.tolist() == [0] * 20


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a,
        lambda a: a[:, :, ::-1],
        lambda a: a[::2],
        np.asfortranarray,
        lambda a: a.astype(a.dtype.newbyteorder()),
        lambda a: np.broadcast_to(a[:1], a.shape),
        lambda a: a.transpose(0, 2, 3, 1).copy().transpose(0, 3, 1, 2),
        lambda a: a[:0],
    ],
)
@pytest.mark.parametrize("kind", ["u1", "f4", "f8", "i8", "?"])
def test_arrays_of_any_layout_become_tensors(layout, kind):
    array = layout((np.random.default_rng(0).random((6, 3, 5, 4)) * 9).astype(kind))
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = tensor_of(array)
    np.testing.assert_array_equal(found.numpy(), array)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ([], "no data sets"),
        ((), "no data sets"),
        ([FIRST, FIRST], "'first' is listed twice"),
        ((NAMES[0], NAMES[0]), "is listed twice"),
        ({NAMES[0]}, "type set"),
        ({"a": FIRST}, "type dict"),
        (None, "type NoneType"),
        (IMAGES.tolist(), "type list"),
        ((IMAGES, None), "type NoneType"),
        ((IMAGES, LABELS, ("a", "b", "c")), "one label per image"),
        ((IMAGES, 1 - torch.eye(3)[LABELS]), "one label per image"),
        ((LABELS, IMAGES), "one label per image"),
        (IMAGES[0], r"shape \(3, 12, 12\), expected \(n, c, h, w\)"),
        (torch.tensor(1.0), r"shape \(\), expected"),
        ((IMAGES, LABELS[:5]), "one label per image"),
        ((IMAGES, LABELS - 1), "labels go from -1 to 1"),
        ((IMAGES, LABELS - 9), "labels go from -9 to -7"),
        ((IMAGES, LABELS / 2), "labels are torch.float32, expected whole numbers"),
        ((IMAGES, np.array(["cat"] * 20)), "labels are texts such as"),
        (300 + BYTES.long(), "images are torch.int64 .* expected uint8"),
        ((BYTES > 0).int(), "images are torch.int32 from 0 to 1, expected uint8"),
        ((IMAGES > 0.5, LABELS), "images are torch.bool, expected uint8"),
        (rs.ImageSet(IMAGES, LABELS, ("a",), "few"), "labels go from 0 to 2, expected 0 to 0"),
        ("deadleaves:count=20,deadlaves", "unknown dataset 'deadlaves'"),
    ],
)
def test_data_sets_that_cannot_be_understood_are_refused_in_one_line(data, words):
    with pytest.raises(RepsimError, match=words) as caught:
        as_datasets(REGISTRY, data)
    assert "\n" not in str(caught.value)


def build(num_classes, in_channels):
    """Return a network of one convolution."""
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.ReLU())


@pytest.mark.parametrize(
    ("model", "label"),
    [
        ("vgg11", "vgg11"),
        (nn.Conv2d(3, 4, 3), "Conv2d"),
        (build(2, 3), "Sequential"),
        (BANK, "filters"),
        (BANK.numpy(), "filters"),
        (BANK.numpy()[::-1], "filters"),
        (build, "build"),
        (as_models(REGISTRY, ["vgg11"])[0], "vgg11"),
    ],
)
def test_one_model_needs_no_list(model, label):
    for given in (model, [model], (model,)):
        assert [spec.label for spec in as_models(REGISTRY, given)] == [label]
    assert [spec.label for spec in as_models(REGISTRY, {"mine": model})] == ["mine"]


def test_a_list_of_modules_is_several_and_a_network_of_modules_one():
    several = nn.ModuleList([build(2, 3), build(2, 3)])
    assert [s.label for s in as_models(REGISTRY, several)] == ["Sequential", "Sequential#1"]
    assert len(as_models(REGISTRY, nn.Sequential(*several))) == 1


@pytest.mark.parametrize("models", [None, 3, {"vgg11", "vgg13"}, [None]])
def test_models_without_an_order_or_of_no_kind_are_refused(models):
    with pytest.raises(RepsimError, match="got (a )?models? of type"):
        as_models(REGISTRY, models)


@pytest.mark.parametrize(
    ("seeds", "found"),
    [(2, [0, 1]), (np.int64(2), [0, 1]), ((3, 1), [3, 1]), (np.arange(2), [0, 1]), ([7], [7])],
)
def test_seeds_are_a_number_or_a_list(seeds, found):
    trained = rs.compare("linear_cnn", (IMAGES, LABELS), seeds=seeds, recipe=RECIPE)
    assert trained.seed.values.tolist() == found


@pytest.mark.parametrize("seeds", ["2", 1.5, [0.5], None, [], [-1]])
def test_other_seeds_are_refused(seeds):
    with pytest.raises(rs.UsageError, match="got seeds"):
        rs.compare(BANK, IMAGES, seeds=seeds)


@pytest.mark.parametrize(
    "seeds",
    [20240101, 10**30, range(10**8), range(10**30), itertools.count()],
    ids=["a number", "a large one", "a range", "a large range", "no end"],
)
def test_more_seeds_than_can_be_meant_are_refused_at_once(seeds):
    with pytest.raises(rs.UsageError, match=r"got .*seeds, expected at most 10000; one seed") as e:
        rs.compare("vgg11", "deadleaves:count=100000000", seeds=seeds)  # refused before its images
    assert "\n" not in str(e.value)


def test_pairs_that_memory_has_no_room_for_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_memory", lambda: 9 * 8 * 9.0)
    assert rs.compare([BANK] * 3, IMAGES, null="metric", resamples=0).sizes["model"] == 3
    with pytest.raises(
        rs.UsageError, match="4 networks and layers make 16 pairs, which take 0.0 G"
    ):
        rs.compare([BANK] * 4, IMAGES, resamples=0)
    with pytest.raises(rs.UsageError, match="a null of 1200 drawn values .* or take null=metric"):
        rs.compare([BANK] * 3, IMAGES, resamples=0)


def test_one_layer_needs_no_list():
    net = build(2, 3)
    found = [rs.compare(net, IMAGES, "cka", layers=layers) for layers in ("output", ["output"])]
    assert found[0].layer.values.tolist() == ["output"]
    np.testing.assert_array_equal(found[0].similarity, found[1].similarity)


def test_a_recipe_of_another_type_is_refused():
    with pytest.raises(rs.UsageError, match="recipe of type dict"):
        rs.compare("linear_cnn", IMAGES, recipe={"lr": 0.1})
