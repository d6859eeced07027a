"""What people type in Python as on the command line works, or a line says what is off."""

import numpy as np
import pytest
import torch
from PIL import Image
from samples import LEAVES, RECIPE, both_splits, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.comparison.given import as_datasets, as_models
from repsim_energy.comparison.listed import items_of
from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.registry import load_registry

REGISTRY = load_registry(plugins=False)
IMAGES = both_splits(noise_images(30, (3, 12, 12)))
BANK = np.random.default_rng(0).normal(size=(5, 3, 3, 3))


def labels(models):
    return [spec.label for spec in as_models(REGISTRY, models)]


@pytest.mark.parametrize(
    ("models", "expected"),
    [
        ("vgg11,resnet18", ["vgg11", "resnet18"]),
        (" vgg11 , resnet18:width=0.5", ["vgg11", "resnet18:width=0.5"]),
        (["vgg11,resnet18", "lenet5"], ["vgg11", "resnet18", "lenet5"]),
        (("vgg11", BANK), ["vgg11", "filters"]),
        ("vgg11", ["vgg11"]),
        ("checkpoint:path='a,b.pt'", ["a,b"]),
        ([BANK, BANK], ["filters", "filters#1"]),
    ],
)
def test_models_in_one_text_are_those_of_the_list(models, expected):
    assert labels(models) == expected


def test_a_text_of_several_models_is_compared(capsys):
    text = rs.compare("linear_cnn,linear_cnn:filters=8", IMAGES, seeds=1, recipe=RECIPE)
    listed = rs.compare(["linear_cnn", "linear_cnn:filters=8"], IMAGES, seeds=1, recipe=RECIPE)
    np.testing.assert_array_equal(text.similarity, listed.similarity)


def test_a_comma_belongs_to_a_path_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a,b.pt").touch()
    assert items_of("a,b.pt") == ["a,b.pt"]
    with pytest.raises(UsageError, match="could mean 'a,b.pt' or an item after 'a'"):
        items_of("checkpoint:path=a,b.pt")
    assert items_of("checkpoint:path=c,vgg11") == ["checkpoint:path=c", "vgg11"]
    (tmp_path / "a").touch()
    with pytest.raises(UsageError, match="'a,b.pt' could mean a path or a list"):
        items_of("a,b.pt")
    assert len(items_of("checkpoint:path='a,b.pt',vgg11")) == 2


def test_data_sets_in_one_text_are_those_of_the_list():
    found = as_datasets(REGISTRY, f"{LEAVES}:limit=20,{LEAVES}:limit=30")
    assert [len(data.train) for data in found] == [20, 30]


def test_layers_in_one_text_are_those_of_the_list():
    net = small_cnn(2, 3)
    found = rs.compare(net, IMAGES, "cka", layers="0,output")
    assert found.layer.values.tolist() == ["0", "output"]
    convs = rs.compare(net, IMAGES, "cka", layers="convs")
    assert convs.layer.values.tolist() == ["0"]


SAID = {
    "several under one label": (
        lambda: rs.compare({"a": "vgg11,resnet18"}, IMAGES),
        "several models 'vgg11,resnet18' under the label 'a', expected one",
    ),
    "an empty item": (lambda: rs.compare("vgg11,", IMAGES), "empty item in 'vgg11,'"),
    "two metrics": (lambda: rs.compare(BANK, IMAGES, "energy,cka"), "got 2 metrics, expected one"),
    "metrics in a list": (
        lambda: rs.compare(BANK, IMAGES, ["energy", "cka"]),
        "got 2 metrics, expected one",
    ),
    "capitals": (lambda: rs.compare(BANK, IMAGES, "CKA"), "did you mean 'cka'"),
    "capitals of a model": (lambda: rs.compare("ResNet18", IMAGES), "did you mean 'resnet18'"),
    "a misspelled metric": (lambda: rs.compare(BANK, IMAGES, "enegry"), "did you mean 'energy'"),
    "a misspelled data set": (lambda: rs.compare(BANK, "cifar-10"), "did you mean 'cifar10'"),
    "a misspelled recipe": (
        lambda: rs.compare("vgg11", IMAGES, recipe="Quik"),
        "did you mean 'quick'",
    ),
    "seeds in a text": (lambda: rs.compare("vgg11", IMAGES, seeds="0,1"), "got seeds '0,1'"),
    "one filter": (lambda: rs.compare(BANK[0], IMAGES), r"shape \(3, 3, 3\), expected \(k, c"),
    "a stack of banks": (
        lambda: rs.compare(BANK[None], IMAGES),
        r"shape \(1, 5, 3, 3, 3\).* as a list",
    ),
    "axes of TensorFlow": (
        lambda: rs.compare(BANK.transpose(2, 3, 1, 0), IMAGES),
        r"shape \(3, 3, 3, 5\), which could be \(kh, kw, c, k\)",
    ),
    "axes of TensorFlow, gray": (
        lambda: rs.compare(np.ones((5, 5, 1, 6)), IMAGES),
        r"transpose\(3, 2, 0, 1\)",
    ),
    "words in an array": (
        lambda: rs.compare(np.full((4, 3, 3, 3), "x"), IMAGES),
        "expected numbers",
    ),
    "objects in an array": (
        lambda: rs.compare(np.full((4, 3, 3, 3), None), IMAGES),
        "expected numbers",
    ),
    "nested lists": (lambda: rs.compare([BANK.tolist()], IMAGES), "got a model of type list"),
    "a folder that is not there": (
        lambda: rs.compare(BANK, "photos/"),
        "no images at 'photos/', expected a folder",
    ),
    "an array file that is not there": (
        lambda: rs.compare(BANK, "a.npz:limit=5"),
        "no images at 'a.npz', expected a folder",
    ),
    "a file of another kind": (
        lambda: rs.compare(BANK, "odd.h5"),
        "'odd.h5' is a file, expected a folder",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_a_mistake_is_named(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "odd.h5").touch()
    call, words = SAID[name]
    with pytest.raises(RepsimError, match=words) as said:
        call()
    assert "\n" not in str(said.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_banks_of_numpy_are_networks(dtype):
    bank = BANK.astype(dtype)
    tensor = torch.from_numpy(bank)
    expected = rs.compare({"a": tensor, "b": tensor.flip(0)}, IMAGES)
    found = rs.compare({"a": bank, "b": bank[::-1]}, IMAGES)
    np.testing.assert_array_equal(found.similarity, expected.similarity)
    frozen = bank.copy()
    frozen.flags.writeable = False
    alone = [rs.compare(one, IMAGES).energy for one in (frozen, bank)]
    np.testing.assert_array_equal(*alone)


def test_a_plain_path_is_a_data_set(pictures_npz, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pairs = [
        ("pictures.npz", f"npz:path={pictures_npz}"),
        (str(pictures_npz), f"npz:path={pictures_npz}"),
        ("pictures.npz:limit=6+random_labels", f"npz:path={pictures_npz}:limit=6+random_labels"),
        ("photos", f"folder:path={photos}"),
        (f"{photos}/", f"folder:path={photos}"),
        ("./photos:gray=false+random_labels:seed=3", f"folder:path={photos}+random_labels:seed=3"),
    ]
    for typed, spec in pairs:
        (found,), (expected,) = as_datasets(REGISTRY, typed), as_datasets(REGISTRY, spec)
        assert found.train.fingerprint == expected.train.fingerprint, typed
        assert found.label == typed


@pytest.mark.parametrize("name", ["a+b", "a b", "x:limit=1", "ünï", "a,b"])
def test_a_plain_path_of_any_characters_is_a_data_set(name, tmp_path):
    (tmp_path / name / "train" / "cat").mkdir(parents=True)
    (tmp_path / name / "train" / "dog").mkdir()
    for number, kind in enumerate(("cat", "dog")):
        pixels = np.full((8, 8, 3), 90 * number + 20, np.uint8)
        Image.fromarray(pixels).save(tmp_path / name / "train" / kind / "0.png")
    (found,) = as_datasets(REGISTRY, str(tmp_path / name))
    assert found.train.classes == ("cat", "dog")


def test_a_name_goes_before_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deadleaves").mkdir()
    (found,) = as_datasets(REGISTRY, f"{LEAVES}:limit=20")
    assert len(found.train) == 20
