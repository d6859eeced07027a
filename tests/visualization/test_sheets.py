"""Sheets: what stands on them, and that equal images give equal files."""

import io
import re

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image
from samples import noise_images
from torch import nn

import repsim_energy as rs
from repsim_energy.visualization.sheet import draw_sheet

pytestmark = pytest.mark.filterwarnings("ignore:the images found for unit:UserWarning")


def maximal(channels=3, size=(12, 12), units=5, layer="0", **options):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(channels, units, 3, padding=1), nn.ReLU())
    with torch.no_grad():
        net[0].bias[1] = -100.0
    images = noise_images(30, (channels, *size))
    return rs.maximize_activation({"a_$net": net}, layer, "all", images, steps=4, **options)


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


def pictures(figure):
    return [np.asarray(image.get_array()) for image in figure.axes[0].images]


def test_a_sheet_has_number_activation_and_image_of_each_unit():
    result = maximal()
    figure = draw_sheet(result)
    heading, *titles = texts(figure)
    assert heading.startswith("a_\\$net, noise\nlayer 0: ")
    assert titles == [f"{u}: {float(a):.3g}" for u, a in enumerate(result.activation)]
    for picture, image in zip(pictures(figure), result.image.values, strict=True):
        np.testing.assert_allclose(picture, image.transpose(1, 2, 0), atol=1e-6)


def test_the_position_and_the_norm_are_in_the_heading():
    assert "at the center" in texts(draw_sheet(maximal()))[0]
    heading = texts(draw_sheet(maximal(position="mean", norm=3.0)))[0]
    assert "mean over positions (norm 3, contrast scaled)" in " ".join(heading.split())


def test_images_of_a_norm_are_scaled_to_the_range():
    figure = draw_sheet(maximal(norm=1e-3))
    for picture in pictures(figure):
        assert np.abs(picture - 0.5).max() == pytest.approx(0.5)


def test_a_silent_unit_has_a_title_and_no_image():
    with pytest.warns(rs.RepsimWarning, match="no image activates unit 1"):
        result = maximal(layer="1")
    figure = draw_sheet(result)
    assert texts(figure)[2] == "1: silent"
    assert pictures(figure)[1].shape == (1, 1, 3)
    assert pictures(figure)[0].shape == (12, 12, 3)


@pytest.mark.parametrize("channels", [1, 2])
def test_other_channels_are_drawn_in_gray(channels):
    result = maximal(channels)
    for picture, image in zip(pictures(draw_sheet(result)), result.image.values, strict=True):
        strongest = image[image.var((1, 2)).argmax()]
        np.testing.assert_allclose(picture, strongest[..., None].repeat(3, -1), atol=1e-6)


def overlap(one, other):
    across = min(one.x1, other.x1) - max(one.x0, other.x0)
    return across > 0.01 and min(one.y1, other.y1) - max(one.y0, other.y0) > 0.01


@pytest.mark.parametrize(
    ("units", "size"), [(1, (12, 12)), (2, (12, 6)), (7, (6, 12)), (37, (9, 9))]
)
def test_images_and_titles_do_not_overlap(units, size):
    torch.manual_seed(0)
    images = noise_images(30, (3, *size))
    net = nn.Conv2d(3, units, 3, padding=1)
    figure = draw_sheet(rs.maximize_activation(net, ":output", "all", images, steps=1))
    canvas = FigureCanvasAgg(figure).get_renderer()
    boxes = [text.get_window_extent(canvas) for text in figure.axes[0].texts]
    boxes += [image.get_window_extent(canvas) for image in figure.axes[0].images]
    assert len(boxes) == 2 * units + 1
    for number, box in enumerate(boxes):
        assert min(box.x0, box.y0) >= 0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        assert not [other for other in boxes[:number] if overlap(box, other)]
    shapes = {
        (round(b.width, 3), round(b.height, 3)) for b in boxes[units + 1 :]
    }  # of the proportions of the image
    assert {round(w / h, 2) for w, h in shapes} == {round(size[1] / size[0], 2)}


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_equal_images_give_equal_files(tmp_path, suffix):
    contents = []
    for name in ("a", "b"):
        maximal(output=tmp_path / f"{name}.{suffix}")
        contents.append((tmp_path / f"{name}.{suffix}").read_bytes())
    assert contents[0] == contents[1]
    start = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix]
    assert contents[0].startswith(start)
    if suffix == "png":
        assert np.asarray(Image.open(io.BytesIO(contents[0]))).std() > 0
    if suffix == "svg":
        assert len(re.findall(rb"<image ", contents[0])) == 5


def test_no_window_and_no_figure_is_left():
    plt = pytest.importorskip("matplotlib.pyplot")
    before = plt.get_fignums()
    draw_sheet(maximal())
    assert plt.get_fignums() == before


def test_without_matplotlib_a_sheet_is_refused_before_any_work(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(rs.UsageError, match=r"pip install 'repsim-energy\[plot\]'"):
        maximal(output=tmp_path / "sheet.png")
    assert maximal().sizes["unit"] == 5
    assert not list(tmp_path.iterdir())
