"""Installed plugins that load and then misbehave: the check and the commands say so in a line."""

import json
import textwrap
import warnings
from dataclasses import replace

import pytest
from samples import noise_images, small_cnn

import repsim_energy as rs
from repsim_energy import testing
from repsim_energy.data.npz import npz
from repsim_energy.data.variants import random_labels
from repsim_energy.errors import PluginError, UndescribedOptionWarning, UsageError
from repsim_energy.metrics.cka import LinearCKA
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.models.architectures.lenet import lenet5
from repsim_energy.registry import load_registry
from repsim_energy.testing.distribution import check_plugin

METRIC = """
import numpy as np
import torch
from repsim_energy import hookimpl

class Lengths:
    '''Cosine of the lengths of what filters do to each pixel.'''
    name, operates_on, direction, bounds = "lengths", "filters", "similarity", (0.0, 1.0)
    invariances = frozenset({"permutation", "scale", "orthogonal"})
    def represent(self, subject):
        return subject.filters.flatten(1).double().square().sum(0).sqrt().numpy()
    def compare(self, a, b):
        with np.errstate(invalid="ignore"):
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    def null_interval(self, a, b):
        return float("nan"), float("nan")

class Changed(Lengths):
    BODY

@hookimpl
def repsim_metrics():
    return {"changed": Changed}
"""

MODEL = """
from torch import nn
from repsim_energy import hookimpl

def build(num_classes, in_channels):
    BODY

@hookimpl
def repsim_models():
    return {"changed": build}
"""

DATASET = """
import torch
from repsim_energy import hookimpl, ImageSet

def load(split, *, shift: int = 0):
    generator = torch.Generator().manual_seed(len(split))
    images = torch.randint(256, (40, 3, 32, 32), generator=generator, dtype=torch.uint8)
    labels = torch.arange(40) % 4
    BODY
    return ImageSet(images, labels, ("a", "b", "c", "d"), "noise")

@hookimpl
def repsim_datasets():
    return {"changed": load}
"""

VARIANT = """
from dataclasses import replace
from repsim_energy import hookimpl

def change(images):
    BODY

@hookimpl
def repsim_variants():
    return {"changed": change}
"""

KINDS = {"metric": METRIC, "model": MODEL, "dataset": DATASET, "variant": VARIANT}

LIARS = {
    "lies": ("metric", "invariances = frozenset({'translation'})", "but changes by 0.1", None),
    "lists": ("metric", "represent = lambda self, subject: [1.0]", "returns list", "returned list"),
    "nan": ("metric", "compare = lambda self, a, b: float('nan')", "returns nan", "returns NaN"),
    "spoils": (
        "metric",
        "represent = lambda self, s: Lengths.represent(self, "
        "s.__class__(s.filters.mul_(2), s.basis))",
        "work on a copy",
        None,
    ),
    "imports": (
        "metric",
        "def __init__(self): import no_such_package",
        "no_such_package",
        "No module named 'no_such_package'",
    ),
    "raises": (
        "metric",
        "def compare(self, a, b): raise KeyError('oops')",
        "KeyError: 'oops'",
        "failed in compare (KeyError: 'oops')",
    ),
    "lacks": ("metric", "compare = property()", "lacks compare", "lacks compare"),
    "text": (
        "metric",
        "compare = lambda self, a, b: 'alike'",
        "compare returns str",
        "compare returned str",
    ),
    "shape": (
        "model",
        "return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.Flatten())",
        "expected (4, 10)",
        None,
    ),
    "no-net": ("model", "return 'net'", "builds str", "built str"),
    "no-filters": (
        "model",
        "return nn.Sequential(nn.Flatten(), nn.LazyLinear(num_classes))",
        "no Conv2d layer",
        "its layer is a lazy one",
    ),
    "fails": (
        "model",
        "return nn.Conv2d(1 / 0, 4, 3)",
        "ZeroDivisionError",
        "cannot be built (ZeroDivisionError",
    ),
    "labels": (
        "dataset",
        "labels = labels + 7",
        "labels go from 7 to 10",
        "labels go from 7 to 10",
    ),
    "pixels": ("dataset", "images = images.float() / 0", "NaN or infinite", "NaN or infinite"),
    "drawn": (
        "dataset",
        "images = torch.randint(256, (40, 3, 32, 32), dtype=torch.uint8)",
        "the second time",
        None,
    ),
    "none": ("variant", "return None", "NoneType", "NoneType"),
    "shrinks": (
        "variant",
        "return replace(images, labels=images.labels[1:])",
        "give one label per image",
        "give one label per image",
    ),
}
"""Kind, what is changed, what the check says of it, what compare says (None: it cannot know)."""


def write(install, name, thing="changed"):
    kind, body, *_ = LIARS[name]
    source = textwrap.dedent(KINDS[kind]).replace("BODY", body)
    install(name, source.replace('"changed"', f'"{thing}"'))
    return kind


@pytest.mark.parametrize("name", LIARS)
def test_the_check_names_distribution_hook_and_remedy(name, install):
    kind = write(install, name)
    reports = list(check_plugin(load_registry(), name))
    assert [(r.distribution, r.hook, r.spec) for r in reports] == [
        (name, f"repsim_{kind}s", "changed")
    ]
    said = [finding.problem for report in reports for finding in report.broken]
    assert any(LIARS[name][2] in problem for problem in said), said


USUAL = {"recipe": "quick:steps=2", "seeds": 1}


@pytest.mark.parametrize("name", [name for name, liar in LIARS.items() if liar[3]])
def test_a_comparison_says_it_in_a_line_with_the_name(name, install, pictures_npz):
    kind = write(install, name)
    images, net = f"npz:path={pictures_npz}", "linear_cnn:filters=4"
    arguments = {
        "metric": {"models": [net], "dataset": images, "metric": "changed", "seeds": 2},
        "model": {"models": ["changed"], "dataset": images},
        "dataset": {"models": [net], "dataset": "changed"},
        "variant": {"models": [net], "dataset": images + "+changed"},
    }[kind]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", rs.RepsimWarning)
        try:
            rs.compare(**USUAL | arguments)
        except rs.RepsimError as error:
            warned.append(error)
    lines = {str(getattr(w, "message", w)) for w in warned}
    (said,) = {line for line in lines if not line.startswith("the similarity of ")}
    assert LIARS[name][3] in said
    assert "\n" not in said
    assert f"of {name}" in said or "no Conv2d" in said


def test_commands_go_on_beside_all_of_them(install, repsim, pictures_npz):
    for name in LIARS:
        write(install, name, thing=name)
    for args in (["--help"], ["plugins"]):
        assert repsim(*args).returncode == 0, args
    compare = [
        "compare",
        "--models",
        "linear_cnn:filters=4",
        "--recipe",
        "quick:steps=2",
        "-q",
        "--dataset",
        f"npz:path={pictures_npz}",
        "--jobs",
        "1",
    ]
    done = repsim(*compare)
    assert done.returncode == 0, done.stderr
    done = repsim(*compare, "--metric", "raises")
    assert done.returncode == 1
    assert done.stderr == (
        "error: metric 'raises' of raises failed in compare (KeyError: 'oops'); "
        "see repsim plugins check raises\n"
    )


def test_the_command_tells_the_exit_code_and_json(install, repsim):
    write(install, "lies")
    done = repsim("plugins", "check", "lies")
    assert done.returncode == 1
    assert "broken: repsim_metrics 'changed' of lies: invariant to translation" in done.stdout
    (report,) = json.loads(repsim("plugins", "check", "lies", "--json").stdout)
    assert report["spec"] == "changed"
    unknown = repsim("plugins", "check", "lie")
    assert unknown.returncode == 2
    assert "did you mean 'lies'" in unknown.stderr


def test_a_name_that_is_taken_and_an_entry_that_fails_are_said(install):
    install("taken", MODEL.replace("BODY", "return 1").replace('"changed"', '"vgg11"'))
    install("broken", "import no_such_package")
    with pytest.warns(match="left out"):
        registry = load_registry()
    (report,) = check_plugin(registry, "taken")
    assert report.hook == "entry point"
    assert "rename yours" in report.broken[0].problem
    (report,) = check_plugin(registry, "broken")
    assert "no_such_package" in report.broken[0].problem


def test_options_without_default_are_given_as_a_spec(install, repsim):
    body = DATASET.replace("shift: int = 0", "shift: int").replace("BODY", "labels += shift * 0")
    install("needy", body)
    registry = load_registry()
    (report,) = check_plugin(registry, "needy")
    assert "needs shift=" in report.broken[0].problem
    assert "specs=changed:OPTION=" in report.broken[0].problem
    assert "--spec changed:OPTION=" in repsim("plugins", "check", "needy").stdout
    (report,) = check_plugin(registry, "needy", ["changed:shift=1"])
    assert not report.broken
    with pytest.raises(UsageError, match="unknown name of that plugin 'chnged'"):
        list(check_plugin(registry, "needy", ["chnged:shift=1"]))


def test_a_strict_registry_names_the_first_problem(install):
    install("taken", MODEL.replace("BODY", "return 1").replace('"changed"', '"vgg11"'))
    with pytest.raises(PluginError, match="'taken' of taken 1.0"):
        load_registry(strict=True)


PLAIN = """
from repsim_energy import hookimpl

def build(num_classes, in_channels, *, width: int = 4, depth: int = 1):
    DOC
    from samples import small_cnn
    return small_cnn(num_classes, in_channels, widths=(width,) * depth)

@hookimpl
def repsim_models():
    return {"plain": build}
"""

HALF = "'''Return it.\\n\\n    Parameters\\n    ----------\\n    width : of all layers\\n    '''"


@pytest.mark.parametrize(
    ("doc", "missing"), [("", "width, depth"), (HALF, "depth")], ids=["none", "half"]
)
def test_options_that_are_not_described_are_advised_of_and_break_no_rule(
    doc, missing, install, repsim
):
    install("plain", PLAIN.replace("DOC", doc.replace("\\n", "\n")))
    (report,) = check_plugin(load_registry(), "plain")
    assert not report.broken
    assert f"model 'plain' of plain does not describe {missing}; add" in report.advice
    done = repsim("plugins", "check", "plain")
    assert done.returncode == 0
    assert f"advice: {report.advice}" in done.stdout
    (kept,) = json.loads(repsim("plugins", "check", "plain", "--json").stdout)
    assert kept["advice"] == report.advice


class Undescribed(EnergyProfileCorrelation):
    """An option more."""

    def __init__(self, *, power: float = 1.0):
        self.power = power


def load(split, *, shift: int = 0):
    return noise_images(40, (3, 12, 12), seed=shift + len(split))


def change(images, train, *, by: int = 1):
    return replace(images, labels=images.labels.roll(by), name="rolled")


@pytest.mark.parametrize(
    ("check", "thing", "option"),
    [
        (testing.check_metric, Undescribed(), "power"),
        (testing.check_dataset, load, "shift"),
        (testing.check_variant, change, "by"),
        (testing.check_model, small_cnn, "widths, norm"),
    ],
)
def test_checks_in_tests_warn_of_options_that_are_not_described(check, thing, option):
    with pytest.warns(UndescribedOptionWarning, match=f"does not describe {option}"):
        check(thing)


@pytest.mark.parametrize(
    ("check", "thing"),
    [
        (testing.check_metric, LinearCKA()),
        (testing.check_model, lenet5),
        (testing.check_dataset, npz),
        (testing.check_variant, random_labels),
    ],
)
def test_of_described_options_nothing_is_said(check, thing, pictures_npz):
    options = {"path": pictures_npz} if thing is npz else {}
    check(thing, **options)  # warnings are errors here
