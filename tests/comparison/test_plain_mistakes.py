"""What is mistaken ends in one line that says what was got, and what was expected."""

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from samples import RECIPE, TINY, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.errors import (
    FileError,
    FlatProfileWarning,
    RepsimError,
    UndefinedSimilarityWarning,
    UsageError,
)
from repsim_energy.metrics.cka import LinearCKA

IMAGES = noise_images(30, (3, 12, 12))
BANK = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


class Fails(nn.Module):
    """Its own code raises something on images."""

    def __init__(self, error):
        super().__init__()
        self.conv, self.error = nn.Conv2d(3, 4, 3), error

    def forward(self, images):
        raise self.error


class TwoInputs(nn.Module):
    """Takes images and something else."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images, others):
        return self.conv(images) + others


def scripted():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch means to give it up
        return torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3)))


def compare(models, metric="energy", **options):
    return rs.compare(models, IMAGES, metric, **{"seeds": 1, "recipe": RECIPE, **options})


MISTAKES = {
    "a lazy layer": (
        lambda: compare({"n": nn.Sequential(nn.LazyConv2d(8, 3))}),
        "'n' has no weights '0.weight' yet.*show it a batch",
    ),
    "a lazy layer that is built": (
        lambda: compare({"n": lambda *_: nn.Sequential(nn.LazyConv2d(8, 3))}),
        "'n' has no weights '0.weight' yet",
    ),
    "weights on meta": (
        lambda: compare({"n": nn.Sequential(nn.Conv2d(3, 4, 3, device="meta"))}),
        "'n' has no weights '0.weight', which are on the device meta",
    ),
    "TorchScript": (
        lambda: compare({"n": scripted()}),
        "'n' is a TorchScript module, expected the torch.nn.Module",
    ),
    "labels that are numbers": (
        lambda: compare({0: BANK, "b": BANK}, stage="trained"),
        "label 0 of type int, expected a text",
    ),
    "a seed too large": (lambda: compare([TINY], seeds=[2**64]), r"expected less than 2\^63"),
    "no layers": (lambda: compare([TINY], "cka", layers=[]), r"got layers \[\], expected at least"),
    "layers that are numbers": (lambda: compare([TINY], "cka", layers=[0]), r"got layers \[0\]"),
    "a function as a metric": (
        lambda: compare({"b": BANK}, print),
        "got as metric <built-in function print>, which lacks name.*expected a name",
    ),
    "a class as a metric": (
        lambda: compare({"b": BANK}, LinearCKA),
        "got as metric the class LinearCKA.*expected a name .* or an instance",
    ),
    "a path as images": (lambda: rs.patch_moments("images.npy", (3, 3)), "got images as str"),
    "a number as images": (lambda: rs.patch_moments(3, (3, 3)), "got images as int"),
    "mappings as images": (
        lambda: rs.patch_moments(iter([{"image": IMAGES.images}]), (3, 3)),
        "got images as dict with image, expected a tensor",
    ),
    "a patch of one number": (lambda: rs.patch_moments(IMAGES.images, 3), "patch is 3, expected"),
    "a patch of three numbers": (
        lambda: rs.patch_moments(IMAGES.images, (3, 3, 3)),
        r"patch is \(3, 3, 3\), expected its rows and columns",
    ),
    "a data set without a test split": (
        lambda: rs.compare({"b": BANK}, rs.Dataset("mine", IMAGES, None), "energy"),
        "data set 'mine' has a split of type NoneType, expected an ImageSet",
    ),
    "an array as a result": (
        lambda: rs.save_result(xr.DataArray([1.0]), "a.nc"),
        "got a result of type DataArray, expected the xarray.Dataset",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named_in_one_line(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    call, words = MISTAKES[name]
    with pytest.raises(UsageError, match=words) as said:
        call()
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    "error", [KeyError("image"), ZeroDivisionError("no"), NameError("x"), NotImplementedError()]
)
@pytest.mark.parametrize("metric", ["cka", "energy"])
def test_a_network_that_fails_is_named_with_its_reason(error, metric):
    net = Fails(error)
    with pytest.raises(RepsimError, match=rf"'n'.* failed on .*{type(error).__name__}") as said:
        compare({"n": net if metric == "cka" else lambda *_: Fails(error)}, metric)
    assert "\n" not in str(said.value)


def test_a_network_of_two_inputs_is_not_sent_to_another_size():
    with pytest.raises(RepsimError, match="takes images .n, c, h, w. alone") as said:
        compare({"n": TwoInputs()}, "cka")
    assert "size=" not in str(said.value)


@pytest.mark.parametrize("version", ["CF-1.6", [1, 2], 1.5, 999])
@pytest.mark.process
def test_a_file_of_others_is_no_result(version, tmp_path):
    file = tmp_path / "foreign.nc"
    xr.Dataset(attrs={"schema_version": version}).to_netcdf(file)
    with pytest.raises(FileError, match=r"foreign\.nc"):
        rs.open_result(file)


@pytest.mark.process
def test_groups_of_others_are_not_taken_for_results(tmp_path):
    file = tmp_path / "weights.h5"
    xr.Dataset({"kernel": ("x", np.ones(3))}).to_netcdf(file, group="model_weights")
    with pytest.raises(FileError, match="schema version None"):
        rs.open_result(file)


def test_plain_inputs_of_python_work():
    pictures, labels = IMAGES.images.numpy(), IMAGES.labels.numpy()
    for given in ((pictures, labels), (IMAGES.images, IMAGES.labels.int())):
        rs.compare(TINY, given, recipe=RECIPE, seeds=np.int64(1))
    drawn = (IMAGES.images / 255).requires_grad_()
    found = rs.compare({"bank": BANK.numpy(), "net": small_cnn(2, 3)}, drawn, stage="trained")
    assert np.isfinite(found.similarity.isel(seed=0, seed_ref=0)).all()


@pytest.mark.parametrize("named", [False, True])
def test_a_state_dict_is_no_network(named):
    state = small_cnn(2, 3).state_dict()
    with pytest.raises(UsageError, match=r"instead of its state_dict\(\) pass the module"):
        rs.compare({"net": state} if named else state, IMAGES)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_filters_that_are_no_numbers_are_named_and_mark_their_pairs(value):
    spoiled = BANK.clone()
    spoiled[0, 0, 0, 0] = value
    found = rs.compare({"bad": spoiled, "good": BANK, "other": BANK.flip(0, 1)}, IMAGES)
    assert found.attrs["failures"].startswith("bad: the filters of layer '0' hold NaN or infinite")
    similarity = found.similarity.squeeze().values
    assert np.isnan(similarity[0]).all()
    assert np.isfinite(similarity[1:, 1:]).all()


def test_filters_without_a_profile_are_named():
    with (
        pytest.warns(UndefinedSimilarityWarning, match="similarity of 'zero' is undefined"),
        pytest.warns(FlatProfileWarning),
    ):
        found = rs.compare({"zero": torch.zeros(4, 3, 3, 3), "good": BANK}, IMAGES)
    assert not found.attrs["failures"]
