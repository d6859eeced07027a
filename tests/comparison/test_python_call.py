"""A result names the call that makes it, and that call makes it again."""

import ast

import numpy as np
import pytest
import torch
from samples import LEAVES, RECIPE, TINY, small_cnn

import repsim_energy as rs
from repsim_energy.comparison.python_call import python_call

QUICK = "quick:steps=3:batch=10"


def again(result, **own):
    names = dict(own)
    exec(result.attrs["command"], names)
    return names["result"]


def check_same(first, second):
    assert first.drop_attrs().identical(second.drop_attrs())
    left = {key: value for key, value in first.attrs.items() if key != "created"}
    assert left == {key: value for key, value in second.attrs.items() if key != "created"}


def test_the_call_of_trained_networks_gives_the_same_numbers_and_runs():
    result = rs.compare(
        {"one": TINY, 'it\'s "two"': "linear_cnn:filters=6"},
        [LEAVES, f"{LEAVES}+random_labels"],
        seeds=[1, 4],
        recipe=RECIPE,
        stage="change",
        jobs=1,
    )
    second = again(result)
    check_same(result, second)
    assert (second.run_id.values != "").all()
    assert "jobs" not in result.attrs["command"]


def test_a_call_has_the_arguments_that_differ_from_the_defaults():
    result = rs.compare([TINY], LEAVES, seeds=2, recipe=QUICK, device="auto")
    call = ast.parse(result.attrs["command"]).body[-1].value
    assert [ast.literal_eval(argument) for argument in call.args] == [[TINY]]
    given = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
    assert given == {"dataset": LEAVES, "recipe": QUICK}


def test_objects_of_the_caller_are_named_and_no_part_of_the_call(rng):
    bank, net = torch.randn(4, 3, 3, 3, generator=rng), small_cnn(2, 3)
    result = rs.compare({"b": bank, "net": net, "same": bank}, LEAVES)
    lines = result.attrs["command"].splitlines()
    assert lines[2:4] == [
        "# own_1: Tensor of shape (4, 3, 3, 3) in models['b'], which the result does not contain",
        "# own_2: Sequential in models['net'], which the result does not contain",
    ]
    with pytest.raises(NameError, match="own_1"):
        again(result)
    check_same(result, again(result, own_1=bank, own_2=net))


def test_paths_stay_paths(photos, rng):
    bank = torch.randn(4, 3, 3, 3, generator=rng)
    result = rs.compare({"b": bank}, photos)
    assert "from pathlib import Path\n" in result.attrs["command"]
    check_same(result, again(result, own_1=bank))


@pytest.mark.parametrize(
    "value",
    [
        *("a'b", 'a"b', "a\\b", "a\nb", "\u202eb", "\udc80", "", "ü"),
        *(3, np.int64(3), 0.1, np.float32(0.5), True, None, range(2, 4)),
        *([], [1], (1,), (1, 2), ["a", ["b"]], {"a": "b", "c": (1,)}, rs.Recipe(lr=0.1, steps=3)),
    ],
)
def test_values_are_written_as_python_reads_them(value):
    def compare(models):
        return models

    code = python_call(compare, {"models": value})
    code.encode()
    names = {}
    exec(code.replace("rs.compare(", "compare("), {"compare": compare}, names)
    assert names["result"] == value
    assert isinstance(names["result"], list | tuple) == isinstance(value, list | tuple)
    assert "own_" not in code


def test_a_command_replaces_the_call(repsim, tmp_path):
    path = tmp_path / "r.nc"
    arguments = ("--models", TINY, "--dataset", LEAVES, "--recipe", QUICK, "--jobs", "1", "-q")
    done = repsim("compare", *arguments, "-o", str(path))
    assert done.returncode == 0, done.stderr
    assert "rs.compare" not in rs.open_result(path).attrs["command"]
