"""What commands on folders of pictures print beside the result."""

import pytest
import torch


@pytest.fixture
def arguments(photos, tmp_path):
    torch.save({"conv1.weight": torch.ones(2, 3, 3, 3).cumsum(0)}, tmp_path / "m.pt")
    return [
        "compare",
        "--models",
        f"checkpoint:path={tmp_path / 'm.pt'},linear_cnn:filters=8",
        "--dataset",
        f"folder:path={photos}",
        "--seeds",
        "1",
        "--jobs",
        "1",
        "--recipe",
        "quick:steps=2:batch=4",
    ]


def test_a_pipe_gets_the_result_and_nothing_else(repsim, arguments, fresh_cache):
    arguments[2] = arguments[2].split(",")[0]  # no training, which has a line of its own
    first, second = repsim(*arguments[:-6]), repsim(*arguments[:-6])
    assert first.returncode == second.returncode == 0, first.stderr
    assert first.stderr == second.stderr == ""
    assert first.stdout == second.stdout


def test_a_training_has_one_line_in_a_pipe(repsim, arguments, fresh_cache):
    first, second = repsim(*arguments), repsim(*arguments)
    assert first.stderr == second.stderr == "[1/1] linear_cnn:filters=8 seed 0: 2 steps\n"
    assert repsim(*arguments, "--quiet").stderr == ""


def test_a_cache_that_cannot_be_made_is_said_in_a_line(repsim, arguments, tmp_path):
    (tmp_path / "file").touch()
    arguments = [arg.split(",")[0] for arg in arguments]  # nothing is trained
    found = repsim(*arguments, "--quiet", REPSIM_CACHE=str(tmp_path / "file"))
    assert found.returncode == 0, found.stderr
    lines = found.stderr.splitlines()
    assert len([line for line in lines if "decoded again each time" in line]) == 1
    assert all(line.startswith("warning: ") for line in lines)
