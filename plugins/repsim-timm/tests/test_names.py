"""The names under ``timm/``, what is said of wrong ones, and what listing costs."""

import json
import os
import runpy
import subprocess
import sys

import pytest
import repsim_energy as rs
import timm
import torch

from repsim_timm.family import family


def test_names_are_timms_architectures_and_tags():
    names = set(family.names())
    assert set(timm.list_models()) < names
    assert set(timm.list_pretrained()) < names
    assert len(names) == len(timm.list_models()) + len(timm.list_pretrained())


def test_a_pattern_lists_members():
    listed = subprocess.run(
        [sys.executable, "-m", "repsim_energy", "models", "timm/resnet*"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "200"},
    ).stdout
    expected = [n for n in family.names() if n.startswith("resnet")]
    assert len(expected) > 200
    shown = {word for word in listed.split() if word.startswith("timm/")}
    assert shown == {f"timm/{name}" for name in expected}


@pytest.fixture
def command(monkeypatch):
    """Return a function that runs the command in this process, which has timm imported already."""

    def run(*args):
        monkeypatch.setattr(sys, "argv", ["repsim", *args])
        with pytest.raises(SystemExit) as stop:
            runpy.run_module("repsim_energy", run_name="__main__")
        return stop.value.code

    return run


def test_a_member_shows_its_options(command, capsys):
    assert command("models", "timm/resnet18") == 0
    shown = capsys.readouterr().out
    for option in ("pretrained", "weights", "img_size", "patch_size", "frozen", "sigma"):
        assert option in shown


@pytest.mark.parametrize("args", [["models"], ["--help"], ["plugins", "--json"]])
def test_listing_imports_no_timm(args):
    code = (
        "import runpy, sys\n"
        f"sys.argv[1:] = {args!r}\n"
        "try: runpy.run_module('repsim_energy', run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "print(sorted({'timm', 'torch'} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    if args == ["models"]:
        assert "timm/*" in done.stdout
    if args[0] == "plugins":
        (ours,) = [p for p in json.loads(done.stdout) if p["name"] == "repsim-timm"]
        assert (ours["status"], ours["provides"]) == ("ok", {"model": ["timm/*"]})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet81", "timm/resnet18"),
        ("resnet18.a1_in2k", "timm/resnet18.a1_in1k"),
        ("vit_tiny_patch16_224_in21k", "timm/vit_tiny_patch16_224.augreg_in21k"),
    ],
)
def test_an_unknown_name_gets_a_suggestion(name, meant):
    with pytest.raises(rs.UsageError, match=f"did you mean '{meant}'") as caught:
        family(name, 10, 3)
    assert len(str(caught.value)) < 250


def test_the_command_says_it_in_one_line(command, capsys):
    few = "deadleaves:count=20"
    assert command("compare", "--models", "timm/resnet81", "--dataset", few) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "did you mean 'timm/resnet18'" in said


def test_an_unknown_option_gets_a_suggestion():
    with pytest.raises(rs.UsageError, match="did you mean 'img_size'"):
        rs.compare(["timm/resnet18:img_sise=32"], torch.rand(8, 3, 8, 8))


def test_without_timm_the_remedy_is_named():
    """An import of timm that fails as it does where timm is missing, in a process of its own."""
    code = (
        "import runpy, sys\n"
        "sys.modules['timm'] = None\n"
        "sys.argv[1:] = ['compare', '--models', 'timm/resnet18']\n"
        "runpy.run_module('repsim_energy', run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install timm" in done.stderr
    assert done.stderr.count("\n") == 1
