"""Results and the package itself say which code they come from."""

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
import torch
from samples import LEAVES

import repsim_energy as rs
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.results import Variable
from repsim_energy.versions import NOT_INSTALLED, OWN, version_of

RECIPE = "quick:steps=2:batch=10:lr=0.05"
PACKAGE = Path(rs.__file__).parents[1]
SOURCES = {
    "my-model": """
from torch import nn
from repsim_energy import hookimpl
def build(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, num_classes))
@hookimpl
def repsim_models():
    return {"mine": build}
""",
    "my-metric": """
from repsim_energy import hookimpl
from repsim_energy.metrics.energy import EnergyProfileCorrelation
class Mine(EnergyProfileCorrelation):
    name = "mine"
@hookimpl
def repsim_metrics():
    return {"mine": Mine}
""",
    "my-images": """
import torch
from repsim_energy import ImageSet, hookimpl
def load(split):
    images = torch.rand(40, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(40) % 2, ("a", "b"), "mine")
@hookimpl
def repsim_datasets():
    return {"mine": load}
""",
    "my-variant": """
from repsim_energy import hookimpl
@hookimpl
def repsim_variants():
    return {"mine": lambda images: images}
""",
}


@pytest.fixture
def plugins(install):
    for name, source in SOURCES.items():
        install(name, source)


def versions(models, *args, **options):
    trains = any(model == "mine" for model in getattr(models, "values", lambda: models)())
    training = {"recipe": RECIPE, "seeds": 1} if trains else {}
    result = rs.compare(models, *args, **training, **options)
    return json.loads(result.attrs["versions"])


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.InitializationWarning")
@pytest.mark.filterwarnings("ignore:no network is trained here, so that the labels")
def test_a_result_names_every_distribution_that_took_part_and_no_other(plugins, tmp_path):
    always = {"python", "torch", "numpy", "xarray", OWN}
    bank, images = torch.rand(4, 3, 3, 3), torch.rand(40, 3, 8, 8)
    arguments = {
        "my-model": (["mine"], LEAVES, "energy"),
        "my-metric": ([bank], images, "mine"),
        "my-images": ([bank], ["mine", "mine+random_labels"], "energy"),
        "my-variant": ([bank], f"{LEAVES}+mine", "energy"),
    }
    for name, (models, dataset, metric) in arguments.items():
        found = versions(models, dataset, metric)
        assert set(found) == {*always, name}
        assert found[name] == "1.0"
        assert found[OWN] == rs.__version__
        assert found["torch"] == metadata.version("torch")
    assert set(versions([bank], images)) == always
    assert set(versions(["mine"], "mine+mine", "mine")) == {*always, *SOURCES}
    assert set(versions({"renamed": "mine"}, (images, torch.arange(40) % 2), stage="trained")) == {
        *always,
        "my-model",
    }


def test_an_architecture_of_a_checkpoint_is_named_too(plugins, tmp_path):
    registry = load_registry()
    module = resolve_model(registry, "mine").build(2, 3)
    torch.save(module.state_dict(), tmp_path / "mine.pt")
    spec = f"checkpoint:path={tmp_path}/mine.pt:arch=mine"
    assert "my-model" in versions([spec], LEAVES)
    identity = resolve_model(registry, spec).identity
    assert identity["options"]["arch"] == "mine"
    assert identity == resolve_model(load_registry(), spec).identity


def test_results_of_a_reproduction_name_the_data_set_of_their_row(plugins):
    from repsim_energy.experiments.scales import SCALES
    from repsim_energy.experiments.setting import make_setting

    sources = {"cifar10": LEAVES, "celeba": "mine"}
    setting = make_setting(
        load_registry(), SCALES["smoke"], sources, components=[1], recipe=RECIPE, seeds=[0]
    )
    for source, named in (("cifar10", False), ("celeba", True)):
        energy = Variable(("component",), [1.0], "energy profile")
        found = setting.result({"energy": energy}, {"component": [0]}, source)
        assert ("my-images" in json.loads(found.attrs["versions"])) == named


def test_results_from_before_this_was_recorded_are_read(tmp_path):
    result = rs.compare([torch.rand(4, 3, 3, 3)], torch.rand(9, 3, 8, 8), seeds=1)
    result.attrs["versions"] = json.dumps({"python": "3.11.9", "torch": "2.10.0"})
    rs.save_result(result, tmp_path / "old.nc")
    assert rs.open_result(tmp_path / "old.nc").identical(result)


def run(code, *path):
    """What a process prints that has nothing but these folders and the environment's packages."""
    start = f"import sys\nsys.path[:0] = {[str(p) for p in path]}\n"
    done = subprocess.run(
        [sys.executable, "-I", "-c", start + code], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


VERSION = """
import repsim_energy
print(repsim_energy.__version__)
print([name for name in ("torch", "numpy", "pluggy") if name in sys.modules])
"""


@pytest.mark.process
def test_the_version_is_that_of_the_distribution_and_loads_nothing(tmp_path):
    info = tmp_path / "repsim_energy-9.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: repsim-energy\nVersion: 9.9\n")
    assert run(VERSION, tmp_path, PACKAGE) == ["9.9", "[]"]


@pytest.mark.process
def test_a_source_tree_says_that_it_is_not_installed():
    hidden = (
        "from importlib import metadata\n"
        "def version(name): raise metadata.PackageNotFoundError(name)\n"
        "metadata.version = version\n"
    )
    assert run(hidden + VERSION, PACKAGE) == [NOT_INSTALLED, "[]"]
    command = "from repsim_energy.cli import main\nmain(['--version'])"
    assert run(hidden + command, PACKAGE) == ["repsim,", "version", NOT_INSTALLED]


def test_the_command_and_the_package_say_the_same(repsim):
    assert repsim("--version").stdout.split() == ["repsim,", "version", rs.__version__]
    assert rs.__version__ == version_of(OWN)


def test_a_version_that_is_not_there_compares_below_every_release():
    packaging = pytest.importorskip("packaging.version")
    assert packaging.Version(NOT_INSTALLED) < packaging.Version("0.1.0")
