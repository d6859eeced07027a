"""A warning names the line of the user that it is about, whatever is called in between."""

import importlib.util
import re
import sys
import threading
import tomllib
import warnings
from contextlib import contextmanager
from functools import wraps
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import repsim_energy as rs
from repsim_energy import errors
from repsim_energy.workers import result_of, submit, worker_pool

ROOT = Path(__file__).parents[1]

SETUP = """
import numpy as np
import torch
import repsim_energy as rs
from repsim_energy import testing
generator = torch.Generator().manual_seed(0)
images = rs.ImageSet(
    torch.randint(0, 256, (30, 3, 8, 8), generator=generator, dtype=torch.uint8),
    torch.arange(30) % 2, ("a", "b"), "noise",
)
data = rs.Dataset("noise", images, images)
bank = torch.randn(4, 3, 3, 3, generator=generator)
other = torch.randn(4, 3, 3, 3, generator=generator)
flat = torch.ones(20, 1, 6, 6)
flat[:, :, :3] = torch.randn(20, 1, 3, 6, generator=generator)
net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 5, 3))
with torch.no_grad():
    net[0].weight[1], net[0].bias[1] = 0.0, 1.0

class Metric:
    "A metric of a plugin, whose numbers are undefined."
    name, operates_on, direction, bounds = "undefined", "filters", "similarity", (-1.0, 1.0)
    invariances = frozenset()
    def represent(self, subject):
        rs.warn("a plugin found something")
        return np.ones(3)
    def compare(self, a, b):
        return rs.profile_similarity(a, b)
    def null_interval(self, a, b):
        return np.nan, np.nan

def load(split, *, shift: int = 0):
    pixels = images.images if split == "train" else images.images.flip(-1)
    return rs.ImageSet(pixels, images.labels, images.classes, "noise")
"""

CALLS = {
    "profile_similarity": "rs.profile_similarity([1.0, 1.0], [2.0, 1.0])",
    "profile_similarities": "rs.profile_similarities(np.ones((2, 3)))",
    "beyond_theory": "rs.beyond_theory([1.0, 2, 3], [3.0, 2, 1], [3.0, 2, 1])",
    "whitening_distance": "rs.whitening_distance([0, 0, 0], [3, 2, 1])",
    "whitening_exponent": "rs.whitening_exponent([0, 0, 0], [3, 2, 1])",
    "misalignment": "rs.misalignment(np.zeros((3, 3)))",
    "compare_covariances": "rs.compare_covariances(np.eye(2), np.zeros((2, 2)))",
    "filter_quality": "rs.filter_quality(np.zeros((4, 3, 3, 3)))",
    "wavelike": "rs.wavelike(np.zeros((4, 3, 5, 5)))",
    "cka": "rs.cka(torch.ones(10, 3), torch.randn(10, 3))",
    "PatchMoments.basis": "rs.patch_moments(flat.repeat(1, 2, 1, 1), (2, 2)).basis()",
    "layer_bases": "rs.layer_bases(net, ['1'], images.images)",
    "split_half_reliability": (
        "rs.split_half_reliability(bank[:1], rs.patch_moments(images.images, (3, 3)).basis())"
    ),
    "compare": "rs.compare([bank, other], data, seeds=5)",
    "compare, with a plugin": "rs.compare([bank, other], data, Metric())",
    "compare, of floats": "rs.compare([bank, other], images.images * 1.5)",
    "sweep": "rs.sweep('linear_cnn:filters=4', data, vary={'recipe.batch': [20, 200]},"
    " recipe='quick:steps=1')",
    "maximize_activation": "rs.maximize_activation(net, '0', 0, images, seed=3, steps=1)",
    "check_dataset": "testing.check_dataset(load)",
}


def as_a_module(path):
    spec = importlib.util.spec_from_file_location("study", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))


def as_a_script(path):
    exec(compile(path.read_text(), path, "exec"), {"__name__": "__main__"})


def as_a_cell(path):
    """A cell has no file of its own; this one has not even the name of a module."""
    exec(compile(path.read_text(), path, "exec"), {})


@contextmanager
def places():
    """The file and line of each warning of this package."""
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", rs.RepsimWarning)
        yield found
    found += [(one.filename, one.lineno) for one in caught]


@pytest.mark.parametrize(
    ("call", "run"),
    [
        *((call, as_a_script) for call in CALLS),
        ("compare", as_a_module),
        ("compare", as_a_cell),
        ("profile_similarity", as_a_module),
        ("profile_similarity", as_a_cell),
    ],
)
def test_every_warning_names_the_line_that_called(call, run, tmp_path):
    path = tmp_path / "study.py"
    path.write_text(SETUP + CALLS[call] + "\n")
    with places() as found:
        run(path)
    assert set(found) == {(str(path), len(SETUP.splitlines()) + 1)}


def through_a_decorator(function):
    @wraps(function)
    def inner():
        return function()

    return inner


def flat():
    return rs.profile_similarity([1, 1], [1, 2])


def test_the_line_in_a_function_of_the_user_is_named_and_not_that_which_calls_it():
    with places() as found:
        through_a_decorator(flat)()
        sorted([2, 1], key=lambda _: flat())
    assert found == [(__file__, flat.__code__.co_firstlineno + 1)] * 3


def test_a_line_is_shown_once_and_another_line_again():
    """As Python does by default; a filter may name the module."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(3):
            rs.profile_similarity([1, 1], [1, 2])
        rs.profile_similarity([1, 1], [1, 2])
        warnings.filterwarnings("ignore", module=__name__)
        rs.profile_similarity([1, 1], [1, 2])
    first, second = (one.lineno for one in caught)
    assert second == first + 1


def test_an_error_is_raised_by_the_filter_that_asks_for_it():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(rs.FlatProfileWarning):
            flat()


def test_a_thread_of_the_user_is_the_user():
    with places() as found:
        thread = threading.Thread(target=flat)
        thread.start()
        thread.join()
    assert found == [(__file__, flat.__code__.co_firstlineno + 1)]


def test_a_thread_that_begins_in_this_package_names_the_line_that_warns():
    with places() as found:
        thread = threading.Thread(target=rs.profile_similarity, args=([1, 1], [1, 2]))
        thread.start()
        thread.join()
    ((file, line),) = found
    root = Path(errors.__file__).parent
    assert Path(file).is_relative_to(root)
    assert "warn(" in Path(file).read_text().splitlines()[line - 1]


@pytest.mark.process
def test_a_warning_in_another_process_is_given_here():
    """Those of other libraries keep their place."""
    with worker_pool(1) as pool:
        ours = submit(pool, rs.profile_similarity, [1, 1], [1, 2])
        other = submit(pool, warnings.warn, "of another library")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("default")
            for _ in range(2):
                assert result_of(ours) != result_of(ours)  # NaN
                result_of(other)
    assert [(one.category, one.filename == __file__) for one in caught] == [
        (rs.FlatProfileWarning, True),
        (UserWarning, False),
    ]


@pytest.mark.parametrize("silenced", [False, True])
def test_a_warning_of_a_command_is_about_the_program(
    silenced, tmp_path, pictures_npz, monkeypatch, capsys
):
    """Filters of Python apply to the module that calls the command."""
    bank = {"conv.weight": torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))}
    path = tmp_path / "bank.safetensors"
    save_file(bank, path)
    call = [
        "compare",
        "--models",
        str(path),
        "--dataset",
        f"npz:path={pictures_npz}",
        "--seeds",
        "5",
    ]
    monkeypatch.setattr(sys, "warnoptions", ["default"])  # so that the command adds no filters
    program = f"from repsim_energy.cli import main\nmain({call})\n"
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        if silenced:
            warnings.filterwarnings("ignore", module="bin_repsim")
        with pytest.raises(SystemExit, match="0"):
            exec(compile(program, "repsim", "exec"), {"__name__": "bin_repsim"})
    assert ("--seeds 5 changed nothing" in capsys.readouterr().err) == (not silenced)


def test_libraries_that_calls_pass_through_are_those_that_are_required():
    pyproject = ROOT / "pyproject.toml"
    if not pyproject.exists():
        pytest.skip("this copy of the source has no pyproject.toml")
    required = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["dependencies"]
    names = {re.split(r"[^\w-]", one)[0].replace("-", "_").lower() for one in required}
    modules = names - {"pillow"} | {"pil"}  # the others are called as their distributions
    assert modules <= {name.lower() for name in errors.BETWEEN}


COUNTED = re.compile(r"\bwarnings\.warn\(|\bstacklevel\b|\bfrom warnings import\b")
"""Warnings whose place is a number of levels, which every new function in between makes wrong."""


@pytest.mark.parametrize(
    "source", ["warnings.warn('a')", "f(stacklevel=2)", "from warnings import warn as w"]
)
def test_a_number_of_levels_is_noticed(source):
    assert COUNTED.search(source)


def test_nothing_counts_levels_of_the_stack():
    folders = [Path(errors.__file__).parent, *ROOT.glob("[pd]*/repsim-*/repsim_*")]
    files = [file for folder in folders for file in folder.rglob("*.py*") if file.suffix != ".pyc"]
    assert len(files) > 100
    assert [file for file in files if COUNTED.search(file.read_text(encoding="utf-8"))] == []
