"""The experiment on the convolutional deep belief network."""

import os

import numpy as np
import pytest

import repsim_energy as rs
from repsim_energy.experiments.lecture.crbm import LAYERS


def test_the_command_writes_rows_figure_and_result(repsim, tmp_path):
    done = repsim("experiment", "crbm", "--scale", "smoke", "--seeds", "2", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "crbm.svg").stat().st_size > 1000
    result = rs.open_result(tmp_path / "crbm.nc")
    first, second = LAYERS["smoke"]
    assert result.bases1.shape == (2, first.filters, *first.patch)
    side = (second.patch[0] * first.pool) + first.patch[0] - 1
    assert result.bases2.shape == (2, second.filters, side, side)
    assert result.activation1.mean() == pytest.approx(first.sparsity, rel=0.3)
    assert (result.error1 < 1).all()
    assert not np.array_equal(result.bases1[0], result.bases1[1])
    report = (tmp_path / "reproduction.md").read_text()
    assert "layer 1: share localized and oriented" in report
    assert f"target {second.sparsity}" in report


def test_images_that_are_too_small_are_refused_in_one_line(repsim, tmp_path):
    np.savez(
        tmp_path / "small.npz",
        train_images=np.random.default_rng(0).integers(0, 256, (20, 12, 12, 3), dtype=np.uint8),
        train_labels=np.arange(20) % 2,
    )
    options = ("--natural", f"npz:path={tmp_path / 'small.npz'}", "-o", str(tmp_path))
    done = repsim("experiment", "crbm", "--scale", "cpu", *options)
    assert done.returncode != 0
    assert "a side of 12 pixels" in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_at_least_half_of_the_filters_of_natural_images_are_wavelike(repsim, tmp_path):
    folder = os.environ.get("REPSIM_TEST_IMAGES")
    path = os.path.join(folder or "", "images", "kyoto-thumbs.npz")
    if not folder or not os.path.exists(path):
        pytest.skip("REPSIM_TEST_IMAGES has no images/kyoto-thumbs.npz")
    options = ("--natural", f"npz:path={path}", "-o", str(tmp_path))
    done = repsim("experiment", "crbm", "--scale", "cpu", *options)
    assert done.returncode == 0, done.stderr
    result = rs.open_result(tmp_path / "crbm.nc")
    assert (result.wavelike.mean("filter") >= 0.5).all()
    assert result.activation1.values == pytest.approx(0.03, rel=0.1)
