"""A new plugin is whole: it passes its own test and the check, and is used at once."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

import repsim_energy as rs
from repsim_energy.errors import RepsimWarning, UsageError
from repsim_energy.registry import load_registry
from repsim_energy.registry.plugins import Kind
from repsim_energy.scaffold import write_plugin
from repsim_energy.testing.distribution import check_plugin

ROOT = Path(__file__).parents[2]
KINDS = get_args(Kind)


def written(folder):
    return {
        path.relative_to(folder): path.read_text()
        for path in folder.rglob("*.*")
        if path.is_file()
        and not {"__pycache__", ".pytest_cache"} & set(path.parts)
        and ".egg" not in str(path)
    }


TRY = """
import importlib, json, os, pytest, sys

found = {}
for kind in sys.argv[1:]:
    sys.path.insert(0, os.path.abspath(f"my-{kind}"))
    importlib.import_module(f"my_{kind}")  # which is all that listing names needs
    found[kind] = {"imports torch": "torch" in sys.modules}
top = os.getcwd()
for kind in found:
    os.chdir(os.path.join(top, f"my-{kind}"))
    found[kind]["exit code"] = pytest.main(["-q"])
print()
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def tried(tmp_path_factory):
    """What became of new plugins of all kinds in a process of their own, each in its folder."""
    folder = tmp_path_factory.mktemp("new")
    for kind in KINDS:
        write_plugin(f"my-{kind}", kind, folder)
    done = subprocess.run(
        [sys.executable, "-c", TRY, *KINDS],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout


@pytest.mark.process
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_test_and_lists_its_name_without_torch(kind, tried):
    found, output = tried
    assert found[kind] == {"imports torch": False, "exit code": 0}, output


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_keeps_the_rules(kind, tmp_path, install):
    files = write_plugin(f"my-{kind}", kind, tmp_path)
    folder = tmp_path / f"my-{kind}"
    assert sorted(written(folder)) == sorted(path.relative_to(folder) for path in files)
    install(f"my-{kind}", (folder / f"my_{kind}.py").read_text(), module=f"my_{kind}")
    (report,) = check_plugin(load_registry(), f"my-{kind}")
    assert not report.broken
    assert report.spec == f"my_{kind}"
    options = f"my_{kind}" in (folder / "README.md").read_text()
    assert options, "the README shows the name that users type"


def test_new_plugins_of_all_kinds_go_together(tmp_path, install, pictures_npz):
    for kind in KINDS:
        write_plugin(f"our-{kind}", kind, tmp_path)
        source = (tmp_path / f"our-{kind}" / f"our_{kind}.py").read_text()
        install(f"our-{kind}", source, module=f"our_{kind}")
    with pytest.warns(RepsimWarning, match="18 of 27 components"):  # its images are gray
        result = rs.compare(
            ["our_model:width=8", "linear_cnn:filters=8"],
            "our_dataset:count=60:size=8+our_variant",
            "our_metric",
            recipe="quick:steps=2",
        )
    assert float(result.similarity.min()) > 0


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My", "small letters"),
        ("my_plugin", "small letters"),
        ("torch", "'torch' already"),
        ("repsim-class", "cannot call"),
        ("my--plugin", "single hyphens"),
        ("", "small letters"),
    ],
)
def test_names_that_cannot_be_are_refused(name, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        write_plugin(name, "model", tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_over(tmp_path):
    write_plugin("my-plugin", "model", tmp_path)
    before = written(tmp_path)
    with pytest.raises(UsageError, match="exists already"):
        write_plugin("my-plugin", "metric", tmp_path)
    assert written(tmp_path) == before


def test_the_commands_are_told_and_the_file_list_printed(tmp_path, repsim):
    done = repsim("plugins", "new", "my-plugin", "--kind", "metric", "--into", str(tmp_path))
    assert done.returncode == 0
    assert "my_plugin.py" in done.stdout
    assert "repsim plugins check my-plugin" in done.stdout
    assert repsim("plugins", "new", "other", "--kind", "network").returncode == 2


def test_the_example_of_the_repository_is_a_new_plugin(tmp_path):
    example = ROOT / "plugins" / "repsim-example"
    if not example.exists():
        pytest.skip("no plugins/ here")
    write_plugin("repsim-example", "model", tmp_path)
    assert written(example) == written(tmp_path / "repsim-example")
