"""The page on kernel sizes says what its code measures, on real networks and images."""

import os
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import repsim_energy as rs

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif("REPSIM_TEST_IMAGES" not in os.environ, reason="needs real networks"),
]

PAGE = (Path(__file__).parents[2] / "docs/how-to/kernel-sizes.md").read_text("utf-8")
ROUNDING = 0.0051


@pytest.fixture(scope="module")
def measured():
    """The names that the code of the page defines."""
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "environ" in c)
    names = {}
    exec(code, names)
    return names


def of(result, name, a, b):
    return float(result[name].sel(model=a, model_ref=b).squeeze())


def test_the_table_is_that_of_its_code(measured):
    rows = re.findall(r"^\| (\w+) \| \dx\d, [^|]*\|(.*)\|$", PAGE, re.M)
    assert [name for name, _ in rows] == list(measured["names"])
    printed = np.array([[float(text) for text in row.split("|")] for _, row in rows])
    similarity = measured["result"].similarity.values.reshape(printed.shape)
    np.testing.assert_allclose(similarity, printed, rtol=0, atol=ROUNDING)


def test_intervals_are_those_of_the_text(measured):
    result = measured["result"]
    for pair, low, high in (
        (("dlib", "NSFW"), -0.16, 0.16),
        (("VGG", "dlib"), -0.16, 0.16),
        (("VGG", "ResNet"), 0.26, 0.74),
        (("MMOD", "ResNet"), 0.13, 0.57),
    ):
        ends = [of(result, name, *pair) for name in ("null_low", "null_high")]
        np.testing.assert_allclose(ends, [low, high], atol=0.011)


def photographs():
    folder = os.environ["REPSIM_TEST_IMAGES"]
    with tarfile.open(f"{folder}/images/imagenet-samples-224.tar") as archive:
        files = [archive.extractfile(one) for one in archive.getmembers() if one.isfile()]
        return torch.stack([torch.from_numpy(np.array(Image.open(f))) for f in files]).movedim(3, 1)


def test_photographs_give_nearly_the_same_similarities(measured):
    result = measured["result"]
    channels = measured["blue_first"]
    other = rs.compare(measured["paths"], photographs(), patch="7x7", channels=channels)
    difference = np.abs(result.similarity.values - other.similarity.values)
    assert 0.005 < difference.max() < 0.025


def test_larger_patches_admit_a_larger_kernel(measured):
    folder = os.environ["REPSIM_TEST_IMAGES"]
    path = f"{folder}/networks/first-layers/11x11x3/stlpips_alex.safetensors"
    paths = {**measured["paths"], "Alex": rs.write_spec("checkpoint", path=path)}
    channels = measured["blue_first"]
    result = rs.compare(paths, measured["images"], patch="11x11", channels=channels)
    similarity = result.similarity.values.reshape(10, 10)
    alex = similarity[9, :9]
    np.testing.assert_allclose([alex.min(), alex.max()], [0.32, 0.55], atol=ROUNDING)
    np.testing.assert_allclose(of(result, "null_high", "Alex", "dlib"), 0.10, atol=ROUNDING)
    before = measured["result"].similarity.values.reshape(9, 9)
    assert 0.065 < np.abs(similarity[:9, :9] - before).max() < 0.075
    fits = result.fit_correlation.sel(stage="trained").values.ravel()
    np.testing.assert_allclose(fits[9], 0.57, atol=ROUNDING)
    np.testing.assert_allclose([fits[:9].min(), fits[:9].max()], [0.82, 0.92], atol=ROUNDING)
    seven = ["dlib", "OpenFace", "NSFW", "Squeeze"]
    inner = result.sel(model=seven, model_ref=seven)
    ends = [np.nanmin(inner.null_low), np.nanmax(inner.null_high)]
    np.testing.assert_allclose(ends, [0.54, 0.82], atol=0.011)
    assert of(result, "similarity", "dlib", "NSFW") == pytest.approx(0.63, abs=ROUNDING)
    assert of(measured["result"], "similarity", "dlib", "NSFW") == pytest.approx(0.57, abs=ROUNDING)
