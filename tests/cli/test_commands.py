"""The command as a process: output, exit codes, one line for each kind of bad input."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import filelock
import numpy as np
import pytest
import torch

import repsim_energy as rs

TINY = "linear_cnn:filters=8:sigma=0.1"
FAST = ["--recipe", "quick:steps=4:batch=20", "--jobs", "1"]


def repsim(*args, **env):
    return subprocess.run(
        [sys.executable, "-m", "repsim_energy", *args],
        capture_output=True, text=True, timeout=300, env={**os.environ, **env},
    )  # fmt: skip


@pytest.fixture
def data(pictures_npz):
    return f"npz:path={pictures_npz}"


def test_compare_writes_what_python_returns_and_reuses_its_runs(data, tmp_path, fresh_cache):
    out = tmp_path / "result.nc"
    args = [
        "compare",
        "--models",
        f"{TINY},resnet20:width=0.25",
        "--dataset",
        data,
        *FAST,
        "-o",
        str(out),
    ]
    first = repsim(*args)
    assert first.returncode == 0, first.stderr
    assert "resnet20:width=0.25 seed 1" in first.stdout
    assert "[4/4]" in first.stderr
    assert "\x1b" not in first.stdout + first.stderr
    written = rs.open_result(out)
    runs = sorted((fresh_cache / "runs").iterdir())
    stamps = [run.stat().st_mtime_ns for run in runs]
    quiet = repsim(*args, "--quiet", "--json")
    assert quiet.stderr == ""
    assert json.loads(quiet.stdout)["attrs"]["stage"] == "change"
    assert [run.stat().st_mtime_ns for run in sorted((fresh_cache / "runs").iterdir())] == stamps
    again = rs.open_result(out)
    for name in written.data_vars:
        np.testing.assert_array_equal(written[name].values, again[name].values)
    in_python = rs.compare([TINY, "resnet20:width=0.25"], data, recipe=FAST[1])
    np.testing.assert_array_equal(in_python.similarity.values, written.similarity.values)


def test_train_makes_the_runs_that_compare_finds(data, fresh_cache):
    args = ["--models", TINY, "--dataset", data, "--seeds", "0-1", *FAST]
    trained = repsim("train", *args)
    assert trained.returncode == 0, trained.stderr
    assert len(list((fresh_cache / "runs").iterdir())) == 2
    assert repsim("compare", *args, "--metric", "cka").returncode == 0
    assert len(list((fresh_cache / "runs").iterdir())) == 2


def test_lists_and_help():
    for args in (["--help"], ["compare", "--help"], ["models"], ["models", "vgg11"], ["datasets"],
                 ["datasets", "npz"], ["metrics"], ["metrics", "energy"], ["variants"],
                 ["variants", "random_labels"], ["plugins"], ["plugins", "--json"],
                 ["--version"], ["--no-plugins", "models"]):  # fmt: skip
        done = repsim(*args)
        assert done.returncode == 0, (args, done.stderr)
        assert done.stdout.strip(), args
    assert "NO_COLOR" not in done.stdout


def bad_inputs(tmp_path, data):
    truncated = tmp_path / "truncated.npz"
    truncated.write_bytes((tmp_path / "pictures.npz").read_bytes()[:-400])
    foreign = tmp_path / "foreign.safetensors"
    foreign.write_bytes(b"not a checkpoint at all")
    for name, pixels in {
        "constant": np.full((40, 8, 8, 3), 7, np.uint8),
        "empty": np.zeros((0, 8, 8, 3), np.uint8),
        "nan": np.full((40, 8, 8, 3), np.nan, np.float32),
        "small": np.random.default_rng(0).integers(0, 256, (40, 2, 2, 3)).astype(np.uint8),
    }.items():
        np.savez(tmp_path / name, train_images=pixels, train_labels=np.arange(len(pixels)) % 2)
    model = ["--models", TINY]
    return [
        (2, "did you mean 'vgg16'", ["--models", "vgg166", "--dataset", data]),
        (2, "did you mean 'width'", ["--models", "vgg11:widht=1", "--dataset", data]),
        (2, "unknown dataset 'cifar'", [*model, "--dataset", "cifar"]),
        (2, "unknown variant", [*model, "--dataset", f"{data}+shuffled"]),
        (2, "unknown metric", [*model, "--dataset", data, "--metric", "enegry"]),
        (2, "expected NAME", ["--models", "vgg11,,", "--dataset", data]),
        (2, "got seeds 'x'", [*model, "--dataset", data, "--seeds", "x"]),
        (2, "expected one number", [*model, "--scheduler", "local:2", "--jobs", "3"]),
        (2, "expected local, local:N or tcp://", [*model, "--scheduler", "slurm"]),
        (2, "no file at", [*model, "--dataset", "npz:path=/nowhere.npz"]),
        (2, "no checkpoint at", ["--models", "checkpoint:path=/nowhere.pt", "--dataset", data]),
        (2, "compare models of one patch shape", ["--models", f"{TINY},lenet5", "--dataset", data]),
        (2, "output", [*model, "--dataset", data, "-o", "/nowhere/x.nc"]),
        (2, "constant", [*model, "--dataset", f"npz:path={tmp_path}/constant.npz"]),
        (2, "no images", [*model, "--dataset", f"npz:path={tmp_path}/empty.npz"]),
        (2, "NaN", [*model, "--dataset", f"npz:path={tmp_path}/nan.npz"]),
        (2, "smaller than the 3x3 kernel", [*model, "--dataset", f"npz:path={tmp_path}/small.npz"]),
        (4, "cannot be read", [*model, "--dataset", f"npz:path={truncated}"]),
        (4, "cannot be read", ["--models", f"checkpoint:path={foreign}", "--dataset", data]),
        (1, "lower it", [*model, "--dataset", data, "--recipe", "quick:lr=1e30:steps=30:loss=mse"]),
    ]  # fmt: skip


def test_bad_input_is_one_line_and_the_right_code(tmp_path, data, capsys, monkeypatch):
    """In one process, for speed; the same ``main`` that the script calls."""
    from repsim_energy.cli import main

    for code, words, args in bad_inputs(tmp_path, data):
        with pytest.raises(SystemExit) as stop:
            main(["compare", *args])
        lines = capsys.readouterr().err.strip().splitlines()
        assert stop.value.code == code, (args, lines)
        assert words in lines[-1], (args, lines)
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")


def test_a_part_that_fails_is_exit_code_3_and_the_rest_is_kept(data, tmp_path):
    """A network whose poolings leave nothing of 9x9 images beside one that works."""
    out = tmp_path / "part.nc"
    models = f"{TINY},torchvision/vgg11"
    done = repsim(
        "compare", "-q", "--models", models, "--dataset", f"{data}:size=9", *FAST, "--seeds", "1",
        "-o", str(out),
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "failed: torchvision/vgg11 seed 0" in done.stderr
    assert rs.open_result(out).similarity.sel(model=TINY, model_ref=TINY).notnull().all()


@contextlib.contextmanager
def started(*args):
    """A command under way, which takes SIGINT even where this process was told to ignore it."""
    process = subprocess.Popen(
        [sys.executable, "-m", "repsim_energy", *args],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    with process:
        yield process
        process.kill()


def under_way(folder, count):
    """Wait until so many trainings have begun."""
    deadline = time.time() + 60
    while len(list(folder.glob("locks/*"))) < count and time.time() < deadline:
        time.sleep(0.1)
    time.sleep(3)


def interrupted(process, folder, count):
    """What the command says when it is interrupted once so many trainings are under way."""
    under_way(folder, count)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    return errors.strip().splitlines()[-1]


def test_ctrl_c_is_130_and_finished_runs_stay(data, fresh_cache):
    fast = repsim("train", "--models", TINY, "--dataset", data, *FAST, "--seeds", "1")
    assert fast.returncode == 0
    args = ["--models", f"{TINY},resnet20", "--dataset", data, "--recipe", "quick:steps=1000000"]
    with started("compare", *args) as process:
        assert interrupted(process, fresh_cache, 2).startswith("interrupted: ")
    assert len(list(fresh_cache.glob("runs/*/run.json"))) == 1
    assert not list(fresh_cache.glob("runs/.*"))


def test_an_interruption_ends_training_in_other_processes_at_once(data, fresh_cache):
    """Only the command itself is told, as by a job scheduler; a terminal tells all of them."""
    args = ["--models", TINY, "--dataset", data, "--seeds", "3", "--jobs", "2"]
    with started("train", *args, "--recipe", "quick:steps=1000000:batch=2") as process:
        assert interrupted(process, fresh_cache, 2).startswith("interrupted: ")
    assert not list(fresh_cache.glob("runs/*"))


def test_no_training_outlives_a_command_that_is_killed(data, fresh_cache):
    args = ["--models", TINY, "--dataset", data, "--seeds", "2", "--jobs", "2"]
    with started("train", *args, "--recipe", "quick:steps=1000000:batch=2") as process:
        under_way(fresh_cache, 2)
        process.kill()
        for lock in fresh_cache.glob("locks/*"):
            with filelock.FileLock(lock, timeout=20):  # held while there is training
                pass


def test_checkpoints_are_compared_with_their_own_architecture(data, tmp_path):
    from repsim_energy.models.resnet import resnet20

    net = resnet20(3, 3, width=0.25)
    torch.save(net.state_dict(), tmp_path / "mine.pt")
    spec = f"checkpoint:path={tmp_path}/mine.pt"
    found = repsim(
        "compare", "--models", f"{spec},{TINY}", "--dataset", data, *FAST, "--json", "-q"
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["attrs"]["stage"] == "trained"
    whole = f"{spec}:arch=resnet20:width=0.25"
    found = repsim("compare", "--models", whole, "--dataset", data, "--metric", "cka", "-q",
                   "--layer", "first,blocks.2,output", "--json")  # fmt: skip
    assert found.returncode == 0, found.stderr


def test_all_convolutions_are_compared_and_printed(data):
    args = ["compare", "--models", "resnet20:width=0.25", "--dataset", data, "--seeds", "2", *FAST,
            "--metric", "cka:batch=15", "--layer", "convs"]  # fmt: skip
    shown = repsim(*args)
    assert shown.returncode == 0, shown.stderr
    rows = [line for line in shown.stdout.splitlines() if " blocks." in line or " conv1 " in line]
    assert [len(row.split()) for row in rows] == list(range(4, 4 + 21))  # one half of the matrix
    found = json.loads(repsim(*args, "--json").stdout)
    assert found["dims"]["layer"] == found["dims"]["layer_ref"] == 21
    assert found["attrs"]["images"] == "30"
    refused = repsim(*args[:-1], "blocks.0.relu")
    assert refused.returncode == 2
    assert "'blocks.0.relu' is used several times" in refused.stderr


def test_names_and_help_need_no_torch():
    code = (
        "import sys\nfrom repsim_energy.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'xarray', 'scipy') if m in sys.modules])"
    )
    for args in (["--help"], ["plugins"], ["models"], ["compare", "--help"],
                 ["doctor", "--help"]):  # fmt: skip
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
        assert done.stdout.strip().splitlines()[-1] == "[]", args
