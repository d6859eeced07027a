"""The picture of the README shows the numbers of the example result."""

import base64
import io
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

import repsim_energy as rs

DOCS = Path(__file__).parents[2] / "docs"
PICTURE = DOCS / "_static" / "profiles.svg"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def script(monkeypatch):
    """The module that draws the picture."""
    monkeypatch.syspath_prepend(DOCS)
    import draw_profiles

    return draw_profiles


def curve(root, name):
    """Return the points of a curve of the picture (points, 2)."""
    (path,) = root.findall(f".//{SVG}g[@id='{name}']/{SVG}path")
    numbers = re.findall(r"[ML] (\S+) (\S+)", path.get("d"))
    return np.array(numbers, dtype=float)


def test_curves_are_those_of_the_table():
    """One scale maps the table to all curves of the file. Its numbers have six digits."""
    root = ET.parse(PICTURE).getroot()
    table = rs.plot.table(rs.example_result(), "profiles")
    drawn, expected = [], []
    for name, rows in table.groupby("model", sort=False):
        for column in ("mean", "init", "theory"):
            points = curve(root, f"{column}-{name}")
            assert len(points) == len(rows) == 27
            drawn.append(points)
            expected.append(np.stack([rows.component, rows[column]], 1))
    drawn, expected = np.concatenate(drawn), np.concatenate(expected)
    for axis, sign in ((0, 1), (1, -1)):  # ordinates of an svg increase downwards
        slope, start = np.polyfit(expected[:, axis], drawn[:, axis], 1)
        assert slope * sign > 0
        np.testing.assert_allclose(slope * expected[:, axis] + start, drawn[:, axis], atol=1e-3)


def test_images_below_are_the_components():
    root = ET.parse(PICTURE).getroot()
    weights = (
        rs.example_result()
        .components.squeeze("dataset")
        .transpose("component", "kh", "kw", "c")
        .values
    )
    images = root.findall(f".//{SVG}image")
    assert len(images) == 27
    for image, patch in zip(images, weights, strict=True):
        content = image.get("{http://www.w3.org/1999/xlink}href").partition(",")[2]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("RGB"))
        shown = pixels if "scale(1 -1)" not in image.get("transform", "") else pixels[::-1]
        h, w, _ = shown.shape
        centers = shown[[h // 6, h // 2, 5 * h // 6]][:, [w // 6, w // 2, 5 * w // 6]]
        expected = 255 * (0.5 + patch / (2 * np.abs(patch).max()))
        np.testing.assert_allclose(centers, expected, atol=1.5)


def test_the_picture_is_small_and_its_numbers_are_those_of_the_result(script):
    assert PICTURE.stat().st_size < 100_000
    result = rs.example_result()
    with mpl.rc_context():
        mpl.use("agg")
        ax = script.draw()
        title = ax.get_title().replace("\N{MINUS SIGN}", "-")
        plt.close(ax.figure)
    r, low, high = (float(number) for number in re.findall(r"-?\d\.\d\d", title))
    for value, statistic in ((r, "mean"), (low, "low"), (high, "high")):
        assert abs(value - rs.table(result, statistic).loc["vgg", "resnet"]) <= 0.005


def test_equal_versions_draw_equal_files(script, tmp_path, monkeypatch):
    files = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for file in files:
        monkeypatch.setattr(script, "PICTURE", file)
        script.main()
    assert files[0].read_bytes() == files[1].read_bytes()
