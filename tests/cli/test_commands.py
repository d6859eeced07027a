"""The command: output, exit codes, one line for each kind of bad input."""

import ast
import json
import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import click
import filelock
import numpy as np
import pytest
import torch
from commands import interrupt, needs_signals, repsim_process, started, wait_until
from samples import MARKING, MARKS, TINY, marks_in

import repsim_energy as rs
from repsim_energy.cli import messages
from repsim_energy.cli.app import COMMANDS
from repsim_energy.cli.app import repsim as group
from repsim_energy.registry import describe, load_registry

FAST = ["--recipe", "quick:steps=4:batch=20", "--jobs", "1"]
ENDLESS = ["--recipe", "quick:steps=1000000:batch=2", "--quiet"]


@pytest.fixture
def source(pictures_npz):
    return f"npz:path={pictures_npz}"


@pytest.mark.process
def test_compare_writes_what_python_returns_and_reuses_its_runs(
    repsim, source, tmp_path, fresh_cache
):
    """First as a process, as users run it."""
    out = tmp_path / "result.nc"
    args = [
        "compare",
        "--models",
        f"{TINY},resnet20:width=0.25",
        "--dataset",
        source,
        *FAST,
        "-o",
        str(out),
    ]
    first = repsim_process(*args)
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
    in_python = rs.compare([TINY, "resnet20:width=0.25"], source, recipe=FAST[1])
    np.testing.assert_array_equal(in_python.similarity.values, written.similarity.values)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_not_float32_is_printed(repsim, source, precision):
    recipe = f"quick:steps=2:batch=20:precision={precision}"
    done = repsim("compare", "--models", TINY, "--dataset", source, "--recipe", recipe, "-j", "1")
    assert done.returncode == 0, done.stderr
    assert ("trained in bfloat16" in done.stdout) == (precision == "bfloat16")


def test_train_makes_the_runs_that_compare_finds(repsim, source, fresh_cache):
    args = ["--models", TINY, "--dataset", source, "--seeds", "0-1", *FAST]
    trained = repsim("train", *args)
    assert trained.returncode == 0, trained.stderr
    assert len(list((fresh_cache / "runs").iterdir())) == 2
    assert repsim("compare", *args, "--metric", "cka").returncode == 0
    assert len(list((fresh_cache / "runs").iterdir())) == 2


def test_train_says_which_models_are_trained_already(repsim, source, tmp_path):
    torch.save({"c.weight": torch.randn(4, 3, 3, 3)}, tmp_path / "m.pt")
    given = f"checkpoint:path={tmp_path}/m.pt"
    mixed = repsim("train", "--models", f"{given},{TINY}", "--dataset", source, *FAST, "-q")
    assert mixed.returncode == 0, mixed.stderr
    assert mixed.stderr == "warning: 'm' is trained already and left out\n"
    alone = repsim("train", "--models", given, "--dataset", source, *FAST)
    assert alone.returncode == 2
    assert alone.stderr.startswith("error: got models that are trained already (m)")


def test_one_model_is_a_complete_result(repsim, source, tmp_path):
    torch.save({"c.weight": torch.randn(4, 3, 3, 3)}, tmp_path / "m.pt")
    for models, seeds in (
        (f"checkpoint:path={tmp_path}/m.pt", []),
        (TINY, ["--seeds", "1"]),
        (TINY, []),
    ):
        out = tmp_path / "one.nc"
        args = ["--models", models, "--dataset", source, *seeds, "-o", str(out), "-q"]
        done = repsim("compare", *args, *(FAST if models == TINY else []))
        assert (done.returncode, done.stderr) == (0, "")
        assert f"nothing to compare {TINY if models == TINY else 'm'} with" in done.stdout
        found = rs.open_result(out).sel(stage=rs.open_result(out).attrs["stage"])
        assert found.energy.notnull().all()
        assert found.fit_correlation.notnull().all()


def test_options_that_cannot_apply_are_refused_or_said(repsim, source, tmp_path):
    model = ["--models", TINY, "--dataset", source, *FAST, "-q"]
    refused = (
        ["--align", "rank"],
        ["--align", "rank", "--layer", "first,output"],
        ["--images", "20"],
        ["--metric", "cka", "--stage", "init"],
        ["--metric", "cka", "--stage", "change"],
    )
    for options in refused:
        done = repsim("compare", *model, *options)
        assert done.returncode == 2, options
        assert done.stderr.count("\n") == 1
        assert options[-2] in done.stderr
    many = repsim("compare", *model, "--metric", "cka", "--images", "5000")
    assert many.returncode == 0, many.stderr
    assert "got --images 5000" in many.stderr
    assert "has 30 test images; all are shown" in many.stderr
    torch.save({"c.weight": torch.randn(4, 3, 3, 3)}, tmp_path / "m.pt")
    given = ["--models", f"checkpoint:path={tmp_path}/m.pt", "--dataset", source]
    idle = repsim("compare", *given, "--seeds", "0-4", "--recipe", "paper")
    assert idle.returncode == 0
    assert idle.stderr == (
        "warning: no network is trained here, so that --seeds 0,1,2,3,4 and --recipe paper "
        "changed nothing\n"
    )


LISTS = {"model": "vgg11", "dataset": "npz", "metric": "cka", "variant": "pca_labels"}
"""Kinds of things that are listed, and one of each that has options."""

MORE = """
from repsim_energy import hookimpl

@hookimpl
def repsim_variants():
    return {"more": "nowhere:more"}
"""


def cells(table):
    """The rows of a printed table."""
    rows = [line.split("│")[1:-1] for line in table.splitlines() if "│" in line]
    return [[cell.strip() for cell in row] for row in rows]


def joined(rows):
    """Rows whose last cell may go on in the rows below."""
    whole = []
    for row in rows:
        if any(row[:-1]):
            whole.append(row)
        else:
            whole[-1] = [*whole[-1][:-1], f"{whole[-1][-1]} {row[-1]}"]
    return whole


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_names_everything_and_where_it_comes_from(repsim, kind, install):
    install("more", MORE)
    own = [[name, "repsim-energy"] for name in load_registry(plugins=False).names(kind)]
    assert cells(repsim("--no-plugins", f"{kind}s").stdout) == own
    listed = cells(repsim(f"{kind}s").stdout)
    assert (["more", "more"] in listed) == (kind == "variant")
    assert all(row in listed for row in own)


@pytest.mark.parametrize(("kind", "name"), LISTS.items())
def test_a_name_is_shown_with_its_options(repsim, kind, name):
    summary, options = describe(load_registry(), kind, name)
    shown = repsim(f"{kind}s", name).stdout
    assert shown.splitlines()[0] == f"{name}: {summary}"
    assert joined(cells(shown)) == [
        [o.name, o.type, "required" if o.required else o.default, o.meaning] for o in options
    ]
    assert options
    assert all(option.meaning for option in options)


THIRD = '''
from repsim_energy import hookimpl

def build(num_classes, in_channels, *, width: int = 8, secret: float = 0.5, path: str, text=""):
    """Return a network of a stranger.

    Parameters
    ----------
    width : int, default 8
        The channels of ``conv1``,
        and of nothing else.
    path : where its [plan] is
    """

@hookimpl
def repsim_models():
    return {"third": build}
'''


def test_options_of_a_plugin_are_shown_with_what_they_mean(repsim, install):
    install("third", THIRD)
    shown = repsim("models", "third").stdout
    assert shown.splitlines()[0] == "third: Return a network of a stranger."
    assert joined(cells(shown)) == [
        ["width", "int", "8", "The channels of conv1, and of nothing else."],
        ["secret", "float", "0.5", "(not described)"],
        ["path", "str", "required", "where its [plan] is"],
        ["text", "any", "''", "(not described)"],
        [
            "first",
            "str or none",
            "None",
            "model whose filters the first layer begins with, such as frame/dct; of networks that "
            "are trained here",
        ],
        ["frozen", "bool", "False", "whether the first layer is not trained"],
    ]


def test_the_help_names_every_command_and_option(repsim):
    page = repsim("--help").stdout
    for name in COMMANDS:
        assert re.search(rf"^\W*{name}\s+[A-Z]", page, re.MULTILINE), name
    page = repsim("compare", "--help").stdout
    for option in (
        "--models",
        "--dataset",
        "--seeds",
        "--recipe",
        "--device",
        "--scheduler",
        "--jobs",
        "--metric",
        "--stage",
        "--layer",
        "--images",
        "--output",
        "--json",
        "--quiet",
    ):
        assert option in page, option


def test_plugins_are_listed_with_what_they_offer(repsim, install):
    install("more", MORE)
    plugins = json.loads(repsim("plugins", "--json").stdout)
    offered = {}
    for plugin in plugins:
        assert (plugin["status"], plugin["problems"]) == ("ok", [])
        for kind, names in plugin["provides"].items():
            offered.setdefault(kind, []).extend(names)
    registry = load_registry()
    assert offered.keys() == LISTS.keys()
    for kind, names in offered.items():
        assert sorted(names) == sorted(registry.names(kind))
    rows = {row[0]: row[1:] for row in cells(repsim("plugins").stdout)}
    assert list(rows) == [plugin["name"] for plugin in plugins]
    assert rows["more"] == ["more", "1.0", "ok", "1 variant"]


PRINTING = """
print("welcome")
from repsim_energy import hookimpl

@hookimpl
def repsim_models():
    print("models")
    return {"printing": build}

def build(num_classes, in_channels):
    from samples import small_cnn
    print("building")
    return small_cnn(num_classes, in_channels)
"""


def test_what_plugins_print_is_no_part_of_the_output(repsim, source, install, fresh_cache):
    install("printing", PRINTING)
    done = repsim("compare", "--models", "printing", "--dataset", source, *FAST, "-q", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["dims"]["model"] == 1
    assert "building" in done.stderr.splitlines()
    for words in ("welcome", "models"):  # when it is loaded
        assert f"bytes to stdout, beginning with '{words}\\n'" in done.stderr
    assert isinstance(json.loads(repsim("plugins", "--json").stdout), list)


def test_the_version_is_that_of_the_distribution(repsim):
    assert repsim("--version").stdout.split()[-1] == metadata.version("repsim-energy")


def bad_inputs(tmp_path, source):
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
        (2, "did you mean 'vgg16'", ["--models", "vgg166", "--dataset", source]),
        (2, "did you mean 'width'", ["--models", "vgg11:widht=1", "--dataset", source]),
        (2, "unknown dataset 'cifar'", [*model, "--dataset", "cifar"]),
        (2, "unknown variant", [*model, "--dataset", f"{source}+shuffled"]),
        (2, "unknown metric", [*model, "--dataset", source, "--metric", "enegry"]),
        (2, "expected NAME", ["--models", "vgg11,,", "--dataset", source]),
        (2, "--seeds 20240101-20240101", [*model, "--dataset", source, "--seeds", "20240101"]),
        (2, "got --seeds 'x'", [*model, "--dataset", source, "--seeds", "x"]),
        (
            2,
            "got --seeds '0-99999999' with 100000000 numbers, expected at most 10000",
            [*model, "--dataset", source, "--seeds", "0-99999999"],
        ),
        (
            2,
            "with 10001 numbers",
            [*model, "--dataset", source, "--seeds", ",".join(["7"] * 10001)],
        ),
        (2, "expected a number above 0", [*model, "--dataset", source, "--seeds", "9" * 5000]),
        (2, "expected one number", [*model, "--scheduler", "local:2", "--jobs", "3"]),
        (2, "expected local, local:N or tcp://", [*model, "--scheduler", "slurm"]),
        (2, "no file at", [*model, "--dataset", "npz:path=/nowhere.npz"]),
        (2, "no checkpoint at", ["--models", "checkpoint:path=/nowhere.pt", "--dataset", source]),
        (2, "goes to no other module", [*model, "--dataset", source, "--fold", "bn"]),
        (2, "trained here", [*model, "--dataset", source, "--channels", f"{TINY}=bgr"]),
        (2, "metrics that show images", [*model, "--dataset", source, "--normalize", "none"]),
        (2, "unknown model in --answer ", [*model, "--dataset", source, "--answer", "vgg=x"]),
        (
            2,
            "compare models of one patch shape",
            ["--models", f"{TINY},lenet5", "--dataset", source],
        ),
        (2, "output", [*model, "--dataset", source, "-o", "/nowhere/x.nc"]),
        (2, "constant", [*model, "--dataset", f"npz:path={tmp_path}/constant.npz"]),
        (2, "no images", [*model, "--dataset", f"npz:path={tmp_path}/empty.npz"]),
        (2, "NaN", [*model, "--dataset", f"npz:path={tmp_path}/nan.npz"]),
        (2, "smaller than the 3x3 kernel", [*model, "--dataset", f"npz:path={tmp_path}/small.npz"]),
        (4, "cannot be read", [*model, "--dataset", f"npz:path={truncated}"]),
        (4, "cannot be read", ["--models", f"checkpoint:path={foreign}", "--dataset", source]),
        (
            1,
            "lower it",
            [
                *model,
                "--dataset",
                source,
                "--recipe",
                "quick:lr=1e30:steps=30:loss=mse",
                "--seeds",
                "1",
            ],
        ),
    ]


def test_bad_input_is_one_line_and_the_right_code(repsim, tmp_path, source):
    for code, words, args in bad_inputs(tmp_path, source):
        done = repsim("compare", *args)
        lines = done.stderr.strip().splitlines()
        assert done.returncode == code, (args, lines)
        assert words in lines[-1], (args, lines)
        assert len(lines) == 1, lines
        assert lines[0].startswith("error: ")


@pytest.mark.process
@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["models"], 0, ""),
        (["--models"], 2, "No such option"),
        (["models", "vgg111"], 2, "error: unknown model 'vgg111'; did you mean 'vgg11'?"),
    ],
)
def test_a_process_ends_with_the_code_of_the_command(args, code, said):
    done = repsim_process(*args)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_part_that_fails_is_exit_code_3_and_the_rest_is_kept(repsim, source, tmp_path):
    """A network whose poolings leave nothing of 9x9 images beside one that works."""
    out = tmp_path / "part.nc"
    models = f"{TINY},torchvision/squeezenet1_1"
    done = repsim(
        "compare",
        "-q",
        "--models",
        models,
        "--dataset",
        f"{source}:size=9",
        *FAST,
        "--seeds",
        "1",
        "-o",
        str(out),
    )
    assert done.returncode == 3, done.stderr
    assert "failed: torchvision/squeezenet1_1 seed 0" in done.stderr
    assert rs.open_result(out).similarity.sel(model=TINY, model_ref=TINY).notnull().all()


def test_a_result_that_cannot_be_saved_is_printed(repsim, source, tmp_path, monkeypatch):
    args = ["compare", "--models", TINY, "--dataset", source, *FAST, "-q"]
    whole = repsim(*args)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    done = repsim(*args, "-o", str(tmp_path / "r.nc"))
    assert done.stdout == whole.stdout
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "No space left on device" in line


def test_a_result_does_not_replace_what_is_read(repsim, pictures_npz, photos, tmp_path):
    (tmp_path / "link.npz").symlink_to(pictures_npz)
    torch.save({"c.weight": torch.ones(4, 3, 3, 3)}, tmp_path / "m.pt")
    picture = photos / "train" / "cat" / "0.png"
    model = f"checkpoint:path={tmp_path / 'm.pt'}"
    for output, dataset in (
        (pictures_npz, f"npz:path={pictures_npz}"),
        (tmp_path / "link.npz", f"npz:path={pictures_npz}+random_labels"),
        (tmp_path / "m.pt", f"npz:path={pictures_npz}"),
        (picture, f"folder:path={photos}"),
        (pictures_npz, f"{pictures_npz}+random_labels"),
        (picture, f"{photos}"),
    ):
        before = output.read_bytes()
        args = ["--models", model, "--dataset", dataset]
        done = repsim("compare", *args, "-o", str(output))
        assert done.returncode == 2
        assert "is read by this command" in done.stderr
        assert output.read_bytes() == before


@pytest.fixture
def marks(install, tmp_path, monkeypatch):
    """A folder where trainings of the model ``marked`` leave a mark when they begin."""
    install("marking", MARKING)
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv(MARKS, str(folder))
    return folder


def under_way(marks, count):
    """Wait until so many trainings have begun."""
    wait_until(lambda: len(marks_in(marks)) >= count, f"{count} trainings under way")


@needs_signals
@pytest.mark.process
def test_ctrl_c_is_130_and_finished_runs_stay(repsim, source, marks, fresh_cache):
    fast = repsim("train", "--models", TINY, "--dataset", source, *FAST, "--seeds", "1")
    assert fast.returncode == 0
    args = ["--models", f"marked,{TINY}", "--dataset", source, "--jobs", "1", *ENDLESS]
    with started("compare", *args) as process:
        under_way(marks, 1)
        assert interrupt(process).startswith("interrupted: ")
    assert len(list(fresh_cache.glob("runs/*/run.json"))) == 1
    assert not list(fresh_cache.glob("runs/.*"))


@needs_signals
@pytest.mark.process
def test_an_interruption_ends_training_in_other_processes_at_once(source, marks, fresh_cache):
    """Only the command itself is told, as by a job scheduler; a terminal tells all of them."""
    args = ["--models", "marked", "--dataset", source, "--seeds", "3", "--jobs", "2", *ENDLESS]
    with started("train", *args) as process:
        under_way(marks, 2)
        assert interrupt(process).startswith("interrupted: ")
    assert not list(fresh_cache.glob("runs/*"))


@needs_signals
@pytest.mark.process
def test_no_training_outlives_a_command_that_is_killed(source, marks, fresh_cache):
    args = ["--models", "marked", "--dataset", source, "--seeds", "2", "--jobs", "2", *ENDLESS]
    with started("train", *args) as process:
        under_way(marks, 2)
        process.kill()
        locks = list(fresh_cache.glob("locks/*"))
        assert len(locks) == 2
        for lock in locks:
            with filelock.FileLock(lock, timeout=20):  # held while there is training
                pass


def test_checkpoints_are_compared_with_their_own_architecture(repsim, source, tmp_path):
    from repsim_energy.models.architectures.resnet import resnet20

    net = resnet20(3, 3, width=0.25)
    torch.save(net.state_dict(), tmp_path / "mine.pt")
    spec = f"checkpoint:path={tmp_path}/mine.pt"
    found = repsim(
        "compare", "--models", f"{spec},{TINY}", "--dataset", source, *FAST, "--json", "-q"
    )
    assert found.returncode == 0, found.stderr
    assert json.loads(found.stdout)["attrs"]["stage"] == "trained"
    whole = f"{spec}:arch=resnet20:width=0.25"
    found = repsim(
        "compare",
        "--models",
        whole,
        "--dataset",
        source,
        "--metric",
        "cka",
        "-q",
        "--layer",
        "first,blocks.2,output",
        "--json",
    )
    assert found.returncode == 0, found.stderr


def test_what_is_said_of_given_networks_is_said_on_the_command_line(repsim, source, tmp_path):
    from repsim_energy.models.architectures.resnet import resnet20

    torch.save(resnet20(3, 3, width=0.25).state_dict(), tmp_path / "mine.pt")
    spec, own = f"checkpoint:path={tmp_path}/mine.pt", "resnet20:width=0.25"
    args = ["compare", "--models", f"{spec},{own}", "--dataset", source, *FAST, "-q"]
    flags = ["--channels", "mine=bgr", "--fold", "bn"]
    shown = repsim(*args, *flags)
    assert shown.returncode == 0, shown.stderr
    text = " ".join(shown.stdout.split())
    folded = f"bn1.weight bn1.running_var eps=1e-05 of mine, bn1 (BatchNorm2d) of {own}"
    assert f"folded into them: {folded}" in text
    coords = json.loads(repsim(*args, *flags, "--json").stdout)["coords"]
    names = "bn1.weight bn1.running_var eps=1e-05"
    assert coords["folded"]["data"] == [names, "bn1 (BatchNorm2d)"]
    assert coords["channels"]["data"] == ["bgr", "rgb"]
    some = json.loads(repsim(*args, "--fold", f"{own}=bn", "--json").stdout)["coords"]
    assert some["folded"]["data"] == ["", "bn1 (BatchNorm2d)"]
    shown = repsim(
        "compare",
        "--models",
        f"{spec}:arch={own},{own}",
        "--dataset",
        source,
        *FAST,
        "--metric",
        "cka",
        "--normalize",
        "mine=0.5/0.25",
        "--json",
        "-q",
    )
    said = json.loads(shown.stdout)["coords"]["normalization"]["data"]
    assert said == ["0.5/0.5/0.5/0.25/0.25/0.25", "dataset"]
    refused = repsim(*args, "--answer", "mine=,x")
    assert refused.returncode == 2
    assert "expected one word for all models, or MODEL=WORD" in refused.stderr
    refused = repsim("compare", "--models", own, "--dataset", source, *FAST, "--answer", "logits")
    assert refused.returncode == 2
    assert "an entry 'logits'" in refused.stderr


def test_all_convolutions_are_compared_and_printed(repsim, source):
    args = [
        "compare",
        "--models",
        "resnet20:width=0.25",
        "--dataset",
        source,
        "--seeds",
        "2",
        *FAST,
        "--metric",
        "cka:batch=15",
        "--layer",
        "convs",
    ]
    shown = repsim(*args)
    assert shown.returncode == 0, shown.stderr
    rows = [line for line in shown.stdout.splitlines() if " blocks." in line or " conv1 " in line]
    assert [len(row.split()) for row in rows] == list(range(4, 4 + 21))  # one half of the matrix
    found = json.loads(repsim(*args, "--json").stdout)
    assert found["dims"]["layer"] == found["dims"]["layer_ref"] == 21
    assert found["coords"]["n_images"]["data"] == [30]
    refused = repsim(*args[:-1], "blocks.0.relu")
    assert refused.returncode == 2
    assert "'blocks.0.relu' is used several times" in refused.stderr


@pytest.mark.process
def test_names_and_help_need_no_torch():
    code = (
        "import sys\nfrom repsim_energy.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit: pass\n"
        "print([m for m in ('torch', 'xarray', 'scipy') if m in sys.modules])"
    )
    for args in (["--help"], ["plugins"], ["models"], ["compare", "--help"], ["doctor", "--help"]):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True)
        assert done.stdout.strip().splitlines()[-1] == "[]", args


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="pipes close otherwise there")
@pytest.mark.parametrize("args", [["--help"], ["models"], ["compare", "--help"]])
def test_a_reader_that_has_gone_is_no_failure(args):
    read, write = os.pipe()
    os.close(read)
    try:
        done = repsim_process(*args, stdout=write)
    finally:
        os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_a_result_is_not_written_where_the_output_goes(source, tmp_path):
    torch.save({"c.weight": torch.ones(4, 3, 3, 3)}, tmp_path / "m.pt")
    out = tmp_path / "out.nc"
    args = ["compare", "--models", str(tmp_path / "m.pt"), "--dataset", source, "-o", str(out)]
    with out.open("w") as stream:
        done = repsim_process(*args, stdout=stream)
    assert done.returncode == 2
    assert "is where standard output goes" in done.stderr
    assert out.read_bytes() == b""


def test_a_dash_is_no_output(repsim, source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = repsim("compare", "--models", TINY, "--dataset", source, "-o", "-")
    assert done.returncode == 2
    assert "--json" in done.stderr
    assert not list(tmp_path.glob("-"))


def test_a_warning_is_said_once(repsim, source, tmp_path):
    """Both the pairs and the correlation with the initialization are undefined."""
    bank = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    for name, weights in (("a", bank), ("b", bank.flip(0, 1))):
        torch.save({"c.weight": weights}, tmp_path / f"{name}.pt")
    a, b = tmp_path / "a.pt", tmp_path / "b.pt"
    done = repsim("compare", "--models", f"{a}:init={a},{b}:init={a}", "--dataset", source)
    lines = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert sum("is flat" in line for line in lines) == 1
    assert len(lines) == len(set(lines))


def test_plugins_lists_and_its_former_spelling_names_the_present_one(repsim, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = repsim("plugins")
    assert listed.returncode == 0
    assert repsim("plugins", "list").stdout == listed.stdout
    assert repsim("plugins", "list", "--json").stdout == repsim("plugins", "--json").stdout
    refused = repsim("plugins", "--json", "check", "repsim-energy")
    assert refused.returncode == 2
    assert "write repsim plugins check ... --json" in refused.stderr
    for words in (["new", "mine", "--kind", "model"], ["check", "--json", "mine"], ["--help"]):
        former = repsim("plugin", *words)
        now = f"repsim plugins {words[0]}" if words[0] != "--help" else "repsim plugins"
        assert former.returncode == 2
        assert former.stderr.endswith(f"which is now '{now}'\n")
        assert former.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())
    assert not re.search(r"^[│ ]*plugin\s", repsim("--help").stdout, re.MULTILINE)


@pytest.mark.parametrize(
    ("parameter", "arguments", "python", "options"),
    [
        (
            "layers=",
            {"layers": ["blocks.0.relu"], "metric": "cka"},
            "another one with layers=",
            "another one with --layer\n",
        ),
        (
            "recipe=",
            {"recipe": "quick:steps=9:lr=1e30:loss=mse"},
            "such as recipe=quick:lr=1e+29",
            "such as --recipe quick:lr=1e+29\n",
        ),
        (
            "answer=",
            {"answer": {"other": "logits"}},
            "unknown model in answer= 'other'",
            "unknown model in --answer 'other'",
        ),
        (
            "images=",
            {"images": 20},
            "got images=20, which",
            "got --images 20, which",
        ),
    ],
)
def test_errors_name_parameters_in_python_and_options_on_the_command_line(
    repsim, source, parameter, arguments, python, options
):
    usual = {"recipe": "quick:steps=2:batch=20", "seeds": 1}
    with pytest.raises(rs.RepsimError) as caught:
        rs.compare("resnet20:width=0.25", source, **usual | arguments)
    said = str(caught.value)
    assert python in said
    assert "--" not in said
    typed = {"layer" if key == "layers" else key: value for key, value in arguments.items()}
    words = []
    for key, value in ({key: str(value) for key, value in usual.items()} | typed).items():
        text = ",".join(value) if isinstance(value, list) else value
        text = "other=logits" if isinstance(value, dict) else str(text)
        words += [f"--{key}", text]
    command = ["compare", "--models", "resnet20:width=0.25", "--dataset", source, "-q"]
    done = repsim(*command, "--retry-failed", *words)
    assert options in done.stderr
    assert f" {parameter}" not in done.stderr


def test_no_message_of_the_library_names_an_option():
    """``--nthreads`` is an option of Dask."""
    folder = Path(rs.__file__).parent
    named = [
        (path.name, option)
        for path in folder.rglob("*.py")
        if path.relative_to(folder).parts[0] != "cli"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Raise | ast.Assign | ast.Call)
        for text in ast.walk(node)
        if isinstance(text, ast.Constant) and isinstance(text.value, str)
        for option in re.findall(r"--[a-z]\w+", text.value)
    ]
    again = {("page.py", "--no"), ("commands.py", "--scale")}  # in commands that reports print
    assert set(named) <= {("dask_client.py", "--nthreads"), *again}


def test_specs_and_quoted_text_are_no_options():
    ctx = click.Context(group)
    ctx.invoked_subcommand = "compare"
    for text in (
        "give checkpoint:path=FILE:fold=bn:normalize=none",
        "model 'seeds=3' is unknown",
        "use evaluations=3 or layer=conv1",
        "x.images=3 and a/images=3",
    ):
        assert messages.in_options(text, ctx) == text
    given = "got layers=conv1,conv2; leave out (images=), or jobs=."
    assert messages.in_options(given, ctx) == (
        "got --layer conv1,conv2; leave out (--images), or --jobs."
    )
    assert messages.in_options(given, None) == given


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["compare"], "got no --models, expected [LABEL=]SPEC|FILE,...: Models to compare or"),
        (["compare", "a.pt", "b.pt"], "got no --models, expected"),
        (["report", "r.nc"], "got no --output, expected FILE.html: The page to write"),
        (["show"], "Missing argument 'FILE.nc'; see "),
        (["compare", "--modles", "a"], "No such option '--modles'"),
        (["compares"], "No such command 'compares'"),
        (["cache", "clean"], "No such command 'clean'"),
        (["show", "a.nc", "b.nc"], "Got unexpected extra argument"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_help(repsim, words, expected):
    done = repsim(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {expected}"), done.stderr
    assert re.search(r" --help\n$", done.stderr)
    assert done.stderr.count("\n") == 1
