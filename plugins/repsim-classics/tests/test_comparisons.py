"""Real comparisons of small networks on generated images, in Python and on the command line."""

import subprocess
import sys

import numpy as np
import pytest
import repsim_energy as rs
import torch
from cases import ONE_OF_EACH, measure
from torch import nn


def net(seed, *widths):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        layers = []
        for before, after in zip((3, *widths), widths, strict=False):
            layers += [nn.Conv2d(before, after, 3), nn.ReLU(inplace=True)]
        head = [nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * widths[-1], 6)]
        return nn.Sequential(*layers, *head)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_two_networks_are_compared(name, pictures):
    modules = {"a": net(0, 5), "b": net(1, 4)}
    found = rs.compare(modules, pictures, name, layers=["output"], images=60, seeds=1)
    values, low, high = (found[v].squeeze().values for v in ("similarity", "null_low", "null_high"))
    pixels = pictures.images.float() / 255
    shown = (pixels - pixels.mean((0, 2, 3), keepdim=True)) / pixels.std()
    with torch.no_grad():
        expected = measure(ONE_OF_EACH[name], *(module(shown) for module in modules.values()))
    assert values[0, 1] == values[1, 0] == pytest.approx(expected, abs=1e-3)
    assert low[0, 1] < high[0, 1]
    assert found.attrs["metric"] == name
    assert found.attrs["direction"] == ("distance" if name == "procrustes" else "similarity")


def test_all_convolutions_are_compared(pictures):
    modules = {"a": net(0, 5, 6), "b": net(1, 4, 4)}
    found = rs.compare(modules, pictures, "procrustes:form=angular", layers=["convs"], images=60)
    values = found.similarity.sel(seed=0, seed_ref=0).squeeze().values.reshape(4, 4)
    assert found.layer.values.tolist() == ["0", "2"]
    np.testing.assert_allclose(values, values.T)
    np.testing.assert_allclose(values.diagonal(), 0, atol=1e-6)
    assert np.isfinite(values).all()


def test_wide_layers_leave_the_others_their_values(pictures):
    """The first convolution has more numbers than there are images, the output has not."""
    modules = {"a": net(0, 5), "b": net(1, 4)}
    with pytest.warns(rs.RepsimWarning) as said:
        found = rs.compare(modules, pictures, "cca", layers=["first", "output"], images=60)
    assert any("cca of 60 images is 1 for any networks" in str(warning.message) for warning in said)
    values = found.similarity.sel(seed=0, seed_ref=0, model="a", model_ref="b").squeeze()
    assert values.sel(layer="first", layer_ref="output").isnull()
    assert 0 < values.sel(layer="output", layer_ref="output") < 1


def test_options_are_kept_in_the_result(pictures):
    found = rs.compare([net(0, 5)], pictures, "mutual_knn:k=3:distance=euclidean", images=60)
    assert '"options": {"distance": "euclidean", "k": 3}' in found.attrs["configuration"]


def test_the_command_line_compares(tmp_path, pictures):
    images, labels = pictures.images.permute(0, 2, 3, 1).numpy(), pictures.labels.numpy()
    splits = {f"{split}_images": images for split in ("train", "test")}
    splits |= {f"{split}_labels": labels for split in ("train", "test")}
    np.savez(tmp_path / "pictures.npz", **splits, classes=np.array(pictures.classes))
    command = [
        *(sys.executable, "-m", "repsim_energy", "compare", "--metric", "mutual_knn:k=5"),
        *("--models", "linear_cnn:filters=8,linear_cnn:filters=4"),
        *("--dataset", f"npz:path={tmp_path / 'pictures.npz'}", "--recipe", "quick:epochs=1"),
        *("--layer", "output", "--seeds", "1", "--images", "60", "--jobs", "1"),
        *("-o", str(tmp_path / "found.nc")),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "mutual_knn on npz" in done.stdout
    found = rs.open_result(tmp_path / "found.nc")
    assert 0 <= float(found.similarity[0, 0, 0, 0, 0, 1, 0, 0]) <= 1


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("svcca:variance=2", "variance is 2.0, expected above 0 and at most 1"),
        ("rsa:method=cosin", "option method got 'cosin', expected spearman or corr or cosine"),
        ("mutual_knn:neighbors=3", "unknown option of metric 'mutual_knn' 'neighbors'"),
        ("mutual_knn:k=60", "k is 60 of 60 images, expected at most 58"),
    ],
)
def test_wrong_specs_are_refused_in_one_line(spec, words, pictures):
    with pytest.raises(rs.UsageError, match=words) as refused:
        rs.compare([net(0, 5)], pictures, spec, images=60)
    assert "\n" not in str(refused.value)
