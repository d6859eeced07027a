"""A single file with hooks is a plugin, for every command and in every process."""

import hashlib
import json
import os
import pickle
import sys
from pathlib import Path

import pytest
from commands import repsim_process
from samples import LEAVES, RECIPE, TINY, Heard

import repsim_energy as rs
from repsim_energy.doctor import examination
from repsim_energy.errors import PluginWarning, UsageError
from repsim_energy.registry import load_dataset, load_registry, resolve_model

FILE = """
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import repsim_energy as rs
from repsim_energy import hookimpl


def own_net(num_classes, in_channels, *, width: int = 4):
    '''Return a network of one convolution.

    Parameters
    ----------
    width : channels of the convolution
    '''
    from samples import small_cnn
    return small_cnn(num_classes, in_channels, widths=(width,))


def wrapped(num_classes, in_channels, *, arch: rs.Architecture):
    '''Return another architecture.

    Parameters
    ----------
    arch : name of the architecture
    '''
    return arch(num_classes, in_channels)


@dataclass
class Total:
    '''Similarity by the sum of squares.'''

    name: ClassVar = "own_metric"
    operates_on: ClassVar = "filters"
    direction: ClassVar = "similarity"
    bounds: ClassVar = (0.0, 1.0)
    invariances: ClassVar = frozenset({"permutation", "scale", "orthogonal"})

    def represent(self, subject):
        return rs.energy_profile(subject.filters, subject.basis)

    def compare(self, a, b):
        return float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))

    def null_interval(self, a, b):
        return float("nan"), float("nan")


def own_images(split):
    '''Return noise.'''
    from samples import noise_images
    return noise_images(40, (3, 32, 32), seed=len(split))


def own_variant(images):
    '''Return negatives.'''
    return replace(images, images=255 - images.images)


@hookimpl
def repsim_metrics():
    return {"own_metric": Total}


@hookimpl
def repsim_models():
    return {"own_net": own_net, "wrapped": wrapped}


@hookimpl
def repsim_datasets():
    return {"own_images": own_images}


@hookimpl
def repsim_variants():
    return {"own_variant": own_variant}
"""

NAMES = {
    "metrics": "own_metric",
    "models": "own_net",
    "datasets": "own_images",
    "variants": "own_variant",
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE)
    return path


def digest(path):
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"


COMPARE = [
    *("compare", "--models", f"own_net,{TINY}", "--dataset", "own_images+own_variant"),
    *("--metric", "own_metric", "--recipe", "quick:steps=2:batch=20", "--seeds", "1"),
]


def test_every_command_knows_what_a_file_offers(file, repsim, fresh_cache):
    given = ["--plugin", str(file)]
    for listing, name in NAMES.items():
        assert f" {name} " in repsim(*given, listing).stdout
        assert f" {name} " not in repsim(listing).stdout
        assert repsim(*given, listing, name).stdout.startswith(f"{name}: ")
    listed = json.loads(repsim(*given, "plugins", "list", "--json").stdout)[-1]
    assert listed["name"] == "mine"
    assert listed["distribution"] == "mine.py"
    assert listed["version"] == digest(file)
    assert listed["status"] == "ok"
    assert digest(file)[:19] in repsim(*given, "plugins").stdout
    trained = repsim(*given, "train", "--models", "own_net", "--dataset", LEAVES, *COMPARE[-4:])
    assert trained.returncode == 0, trained.stderr
    shown = repsim(*given, *COMPARE, "-j", "1", "--json")
    assert shown.returncode == 0, shown.stderr
    versions = json.loads(json.loads(shown.stdout)["attrs"]["versions"])
    assert versions["mine.py"] == digest(file)


def test_a_file_is_checked_against_the_rules(file, repsim):
    checks = [
        repsim("plugins", "check", str(file)),
        repsim("--plugin", str(file), "plugins", "check", str(file)),
        repsim("--plugin", str(file), "plugins", "check", "mine.py"),
    ]
    for done in checks:
        assert (done.returncode, done.stderr) == (1, "")
        assert done.stdout == checks[0].stdout
    lines = [line for line in checks[0].stdout.splitlines() if "broken" in line]
    assert len(lines) == 1
    assert "repsim_models 'wrapped' of mine.py" in lines[0]
    assert "needs arch=" in lines[0]
    done = repsim("plugins", "check", str(file), "--spec", "wrapped:arch=own_net")
    assert done.returncode == 0, done.stdout


@pytest.mark.process
def test_a_process_takes_files_from_the_environment(file, tmp_path):
    other = tmp_path / "other.py"
    other.write_text(FILE.replace("own_", "other_").replace("wrapped", "other"))
    both = os.pathsep.join(["", str(file), str(other), ""])
    listed = repsim_process("plugins", "--json", REPSIM_PLUGINS=both)
    assert listed.returncode == 0, listed.stderr
    assert [p["distribution"] for p in json.loads(listed.stdout)][-2:] == ["mine.py", "other.py"]


def test_the_report_of_a_machine_names_the_file(file, repsim, monkeypatch):
    monkeypatch.setattr(examination, "all_checks", lambda: iter([]))
    said = repsim("--plugin", str(file), "doctor").stdout
    assert f"mine of mine.py {digest(file)[:19]}: ok" in said


@pytest.mark.process
def test_other_processes_train_a_network_of_a_file_as_this_one_does(
    file, monkeypatch, tmp_path, capfd
):
    file.write_text(FILE + "print('loaded ', end='')\n")
    with pytest.warns(PluginWarning, match="wrote 7 bytes to stdout, beginning with 'loaded '"):
        registry = load_registry(file)
    file.unlink()  # its content is what is sent
    found = {}
    for jobs in (1, 2):
        monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / str(jobs)))
        heard = Heard()
        found[jobs] = rs.compare(
            ["own_net", "wrapped:arch=own_net"],
            LEAVES,
            registry=registry,
            jobs=jobs,
            recipe=RECIPE,
            reporter=heard,
        ).drop_attrs()
        assert len(heard.ended) == 4
        assert bool(heard.watched) == (jobs == 1)
    assert found[1].identical(found[2])
    assert capfd.readouterr() == ("", "")


def test_a_changed_file_trains_anew_and_an_unchanged_one_does_not(file, fresh_cache):
    def runs():
        rs.compare("own_net", LEAVES, recipe=RECIPE, seeds=1, registry=load_registry(file))
        return len(list(fresh_cache.glob("runs/[!.]*/run.json")))

    assert (runs(), runs()) == (1, 1)
    file.write_text(FILE + "\n")
    assert runs() == 2
    moved = file.parent / "elsewhere" / file.name
    moved.parent.mkdir()
    file = file.rename(moved)
    assert load_registry(file).names("model")
    file.write_text(FILE)
    assert runs() == 2


def test_two_versions_of_a_file_are_two_modules(file):
    before = load_registry(file)
    file.write_text(FILE.replace("width: int = 4", "width: int = 6"))
    after = load_registry(file)
    widths = [
        resolve_model(registry, "own_net").build(2, 3)[0].out_channels
        for registry in (before, after, load_registry(file))
    ]
    assert widths == [4, 6, 6]


def test_models_of_a_file_are_pickled_with_its_content(file):
    spec = resolve_model(load_registry(file), "own_net:width=5")
    stored = pickle.dumps(spec)
    (name,) = [name for name in sys.modules if digest(file).removeprefix("sha256:") in name]
    del sys.modules[name]
    file.unlink()
    assert pickle.loads(stored).build(2, 3)[0].out_channels == 5


def test_without_installed_plugins_files_are_loaded_alone(file, install, repsim):
    install("broken", "raise ValueError")
    registry = load_registry([file], installed=False)
    assert {p.distribution for p in registry.plugins} == {"repsim-energy", "mine.py"}
    assert load_dataset(registry, "own_images+own_variant").origins[0].is_file
    done = repsim("--no-plugins", "--plugin", str(file), "plugins", "--json")
    assert {p["distribution"] for p in json.loads(done.stdout)} == {"repsim-energy", "mine.py"}
    with pytest.warns(PluginWarning, match="'broken' of broken 1.0"):
        load_registry(file)


HEAD = "from repsim_energy import hookimpl\n@hookimpl\n"

REFUSED = {
    "syntax": ("def (", "cannot be loaded: SyntaxError"),
    "import": ("import no_such_package", "No module named 'no_such_package'"),
    "exits": ("raise SystemExit(3)", "cannot be loaded: SystemExit: 3"),
    "no-hooks": ("x = 1", "has no hook, expected at least one of repsim_metrics"),
    "built-in": (
        HEAD + "def repsim_models(): return {'vgg11': print}",
        "'vgg11' is already offered by repsim-energy",
    ),
    "plugin": (
        HEAD + "def repsim_models(): return {'installed': print}",
        "'installed' is already offered by other",
    ),
    "misspelt": (HEAD + "def repsim_model(): return {}", "did you mean 'repsim_models'"),
    "raises": (HEAD + "def repsim_models(): return 1 / 0", "hook repsim_models failed"),
    "not-utf8": ("x = '\xff'", "SyntaxError"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_file_is_refused_in_a_line(name, tmp_path, install, repsim):
    install("other", HEAD + "def repsim_models(): return {'installed': print}")
    source, words = REFUSED[name]
    path = tmp_path / f"{name}.py"
    path.write_text(source, encoding="latin-1")
    with pytest.raises(UsageError, match=f"plugin file .*{name}.py"):
        load_registry(path)
    for args in (["models"], ["plugins"], ["plugins", "check", str(path)], COMPARE):
        done = repsim("--plugin", str(path), *args)
        assert done.returncode == 2, args
        assert words in done.stderr
        assert done.stderr.startswith("error: plugin file")
        assert done.stderr.count("\n") == 1
        assert done.stdout == ""


def test_paths_that_are_no_plugin_files_are_refused(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    twin = tmp_path / "a" / "mine.py"
    twin.parent.mkdir()
    twin.write_text(FILE)
    for given, words in {
        ("absent.py",): "is missing",
        ("repsim-timm",): "expected a Python file such as mymetric.py",
        ("a",): "expected a Python file",
        ("",): "expected a Python file",
        (str(file), "mine.py"): "'mine.py' twice",
        ("mine.py", "a/mine.py"): "expected different names",
    }.items():
        with pytest.raises(UsageError, match=words):
            load_registry(given)


def test_names_with_dots_and_hyphens_are_pickled(tmp_path):
    path = tmp_path / "my-first.net.py"
    path.write_text(FILE)
    spec = resolve_model(load_registry(path), "own_net")
    assert pickle.loads(pickle.dumps(spec)).build(2, 3)[0].out_channels == 4
    assert str(spec.origins[0]).startswith("my-first.net.py sha256:")
    assert Path(spec.build.args[0].plugin.file.path) == path
