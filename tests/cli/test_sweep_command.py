"""``repsim sweep`` and what reads its file."""

import numpy as np
import pytest

import repsim_energy as rs

ARGS = ["sweep", "--models", "linear_cnn", "--recipe", "quick:steps=3:batch=20", "--jobs", "1"]


def test_a_sweep_has_a_row_for_each_point(repsim, pictures_npz, tmp_path, fresh_cache):
    out = tmp_path / "sweep.nc"
    args = [*ARGS, "--dataset", f"npz:path={pictures_npz}", "-o", str(out)]
    done = repsim(*args, "--vary", "model.filters=4,8", "--vary", "recipe.lr=0.01,0.1")
    assert done.returncode == 0, done.stderr
    assert "4 points (2 model.filters x 2 recipe.lr) of 8 networks" in done.stderr
    rows = [line.split("│")[1:3] for line in done.stdout.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["4", "0.01"],
        ["4", "0.1"],
        ["8", "0.01"],
        ["8", "0.1"],
    ]
    result = rs.open_result(out)
    assert result.similarity.dims[:2] == ("model_filters", "recipe_lr")
    shown = repsim("show", str(out))
    assert shown.stdout == done.stdout
    point = repsim("show", str(out), "--at", "model.filters=8", "--at", "recipe.lr=1e-1")
    assert "linear_cnn seed 1" in point.stdout
    for wrong in ("recipe.lr=3", "recipe.lt=0.1", "recipe.lr"):
        refused = repsim("show", str(out), "--at", wrong)
        assert (refused.returncode, refused.stdout) == (2, ""), refused.stderr
    assert repsim("plot", str(out), "--kind", "profiles", "-o", "a.svg").returncode == 2


def test_a_point_that_fails_ends_with_code_3(repsim, pictures_npz, fresh_cache):
    done = repsim(*ARGS, "--dataset", f"npz:path={pictures_npz}", "--vary", "recipe.lr=0.01,1e38")
    assert "no network was trained at 1 of 2 points, (recipe_lr=1e+38)" in done.stderr
    assert done.stderr.count("failed: linear_cnn seed") == 2
    assert done.returncode == 3


@pytest.mark.parametrize(
    "vary", [["model.filters"], ["model.filters=4", "model.filters=6"], ["a.b=1"], ["recipe.lr="]]
)
def test_wrong_usage_ends_with_code_2(repsim, vary):
    options = [part for one in vary for part in ("--vary", one)]
    done = repsim(*ARGS, *options)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_at_is_for_sweeps(repsim, tmp_path):
    bank = np.random.default_rng(0).normal(size=(4, 1, 3, 3))
    images = np.random.default_rng(0).normal(size=(20, 1, 8, 8)).astype(np.float32)
    rs.save_result(rs.compare({"a": bank}, images), tmp_path / "a.nc")
    done = repsim("show", str(tmp_path / "a.nc"), "--at", "recipe.lr=1")
    assert (done.returncode, "no sweep" in done.stderr) == (2, True)
