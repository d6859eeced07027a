"""The command ``repsim visualize``."""

import numpy as np
import pytest
from samples import LEAVES, TINY

import repsim_energy as rs

pytestmark = pytest.mark.filterwarnings("ignore:the images found for unit:UserWarning")

RECIPE = "quick:steps=4:batch=20:snapshots=2:precision=float32"
TRAINING = ("--dataset", LEAVES, "--recipe", RECIPE)
SMALL = (*TRAINING, "--steps", "4")
PLUGIN = """
import torch, repsim_energy as rs
from torch import nn

def own_net(num_classes, in_channels):
    '''Return a network whose unit 1 of the ReLU is dead.'''
    net = nn.Sequential(
        nn.Conv2d(in_channels, 4, 5), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, num_classes),
    )
    net[0].bias.data[1] = -1000.0
    return rs.TrainedModel(net)

@rs.hookimpl
def repsim_models():
    return {"own_net": own_net}
"""


def test_a_sheet_and_the_numbers_of_a_network_trained_by_name(
    repsim, tmp_path, fresh_cache, monkeypatch
):
    sheet, npz, nc = (tmp_path / name for name in ("sheet.svg", "images.npz", "images.nc"))
    done = repsim("visualize", TINY, "--unit", "0-2", *SMALL, "-o", str(sheet), "--save", str(npz))
    assert done.returncode == 0, done.stderr
    assert sheet.read_bytes().startswith(b"<?xml")
    assert f"{TINY} seed 0: 4 steps" in done.stderr
    with np.load(npz, allow_pickle=False) as numbers:
        assert numbers["image"].shape == (3, 3, 32, 32)
        assert numbers["unit"].tolist() == [0, 1, 2]
        assert numbers["pixel_range"].tolist() == [0, 1]
        for value in numbers["activation"]:
            assert f"{value:.4g}" in done.stdout
        images = numbers["image"]
    again = repsim("visualize", TINY, "--unit", "0-2", *SMALL, "--save", str(nc), "--quiet")
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert "steps" not in again.stderr.replace("--steps", "")
    result = rs.open_result(nc)
    np.testing.assert_array_equal(result.image, images)
    shown = repsim("show", str(nc))
    assert shown.returncode == 0
    assert "image that activates the unit most" in shown.stdout
    monkeypatch.setenv("REPSIM_PROGRESS", "0")
    ours = rs.maximize_activation(
        TINY, units=range(3), dataset=LEAVES, recipe=RECIPE, steps=4, device="auto"
    )
    np.testing.assert_array_equal(ours.image, images)


def test_the_training_is_that_of_train(repsim, tmp_path, fresh_cache):
    runs = fresh_cache / "runs"
    trained = repsim("train", "--models", TINY, "--seeds", "5-5", *TRAINING, "--jobs", "1")
    assert trained.returncode == 0, trained.stderr
    stored = sorted(runs.rglob("*"))
    assert stored
    done = repsim(
        "visualize", TINY, "--seed", "5", "--unit", "0", *SMALL, "--save", str(tmp_path / "a.npz")
    )
    assert done.returncode == 0
    assert sorted(runs.rglob("*")) == stored


def test_all_units_of_a_plugin_with_a_dead_one(repsim, tmp_path):
    plugin, sheet = tmp_path / "own.py", tmp_path / "sheet.png"
    plugin.write_text(PLUGIN)
    command = ("--plugin", str(plugin), "visualize", "own_net", "--steps", "4", "--dataset", LEAVES)
    done = repsim(*command, "--layer", "1", "--unit", "all", "-o", str(sheet))
    assert done.returncode == 0, done.stderr
    assert "warning: no image activates unit 1 of layer '1'" in done.stderr
    assert [line.split()[3] for line in done.stdout.splitlines() if " 1 " in line] == ["silent"]
    assert sheet.stat().st_size > 1000
    sheet.unlink()
    alone = repsim(*command, "--layer", "1", "--unit", "1", "-o", str(sheet))
    assert alone.returncode == 1
    assert alone.stderr.splitlines()[-1].startswith("error: no image activates unit 1 of layer '1'")
    assert not sheet.exists()


OUT = ("-o", "sheet.png")
REFUSED = [
    ((TINY,), "got no output, expected -o"),
    ((TINY, "-o", "sheet.bmp"), "sheet.bmp"),
    ((TINY, "--save", "images.csv"), "ends in .npz or .nc"),
    ((TINY, "--save", "away/images.npz"), "cannot be written"),
    ((TINY, "-o", "away/sheet.png"), "cannot be written"),
    ((TINY, "--layer", "cov", *OUT), "unknown layer of LinearCNN 'cov'; did you mean 'conv'?"),
    ((TINY, "--layer", "convs,first", *OUT), "unknown layer"),
    ((TINY, "--unit", "8", *OUT), "got --unit 8, but layer 'first' has 8"),
    ((TINY, "--unit", "0,0", *OUT), "got --unit 0 twice"),
    ((TINY, "--unit", "some", *OUT), "got --unit 'some', expected all, a range 0-15"),
    ((TINY, "--unit", "9-3", *OUT), "got --unit '9-3'"),
    ((TINY, "--position", "edge", *OUT), "unknown position 'edge'"),
    ((TINY, "--parametrization", "pixel", *OUT), "did you mean 'pixels'?"),
    ((TINY, "--steps", "0", *OUT), "got --steps 0"),
    ((TINY, "--steps", "many", *OUT), "--steps"),
    ((TINY, "--jitter", "-1", *OUT), "got --jitter -1"),
    ((TINY, "--tv", "-1", *OUT), "got --tv -1"),
    ((TINY, "--norm", "0", *OUT), "got --norm 0"),
    ((TINY, "--start", "-1", *OUT), "got --start -1"),
    ((TINY, "--seed", "-1", *OUT), "seeds [-1]"),
    ((TINY, "--axis", "7", *OUT), "got --axis 7"),
    ((TINY, "--recipe", "slow", *OUT), "unknown recipe 'slow'"),
    ((TINY, "--dataset", "cifa10", *OUT), "unknown dataset 'cifa10'"),
    ((f"{TINY},frame/dct", *OUT), "got 2 models"),
    (("lenet", *OUT), "did you mean 'lenet5'?"),
    (OUT, "argument"),
]


@pytest.mark.parametrize(("arguments", "said"), REFUSED)
def test_bad_input_is_one_line(repsim, tmp_path, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    data = () if "--dataset" in arguments else ("--dataset", LEAVES)
    done = repsim("visualize", *arguments, *data)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert said in line
    assert not list(tmp_path.iterdir())


def test_a_file_that_is_read_is_not_overwritten(repsim, pictures_npz):
    before = pictures_npz.read_bytes()
    data = f"npz:path={pictures_npz}"
    done = repsim("visualize", TINY, "--dataset", data, "--save", str(pictures_npz))
    assert done.returncode == 2
    assert "is read by this command" in done.stderr
    assert pictures_npz.read_bytes() == before
