"""A sweep survives a bad run, says why and where it failed, and does not repeat it unasked."""

import re

import pytest
import torch
from samples import RECIPE, TINY, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.files.seals import unsealed_json
from repsim_energy.interfaces import ModelSpec


class Failing(nn.Module):
    """Works for two steps, and then raises."""

    def __init__(self, classes, channels, error):
        super().__init__()
        self.network, self.error, self.left = small_cnn(classes, channels), error, 2

    def forward(self, images):
        if self.training:
            self.left -= 1
            if self.left < 0:
                raise self.error
        return self.network(images)


class Own(Exception):
    """An error of a class that nobody expects."""


ERRORS = {
    "raises": (Own("my layer is upset"), "my layer is upset"),
    "exits": (SystemExit(7), "SystemExit: 7"),
    "memory": (MemoryError("6 GiB"), "make room in memory"),
    "torch memory": (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "make room"),
    "input": (ValueError("too small"), "try another size="),
    "file": (OSError(5, "Input/output error"), "Input/output error"),
}
built = []


def failing(name):
    def build(classes, channels):
        built.append(name)
        return Failing(classes, channels, ERRORS[name][0])

    return ModelSpec(name, build, {"name": name})


def diverging(recipe=RECIPE):
    return rs.Recipe(**{**recipe.as_options(), "lr": 1e30, "loss": "mse"})


@pytest.mark.parametrize("name", ERRORS)
def test_whatever_a_network_raises_the_others_finish(name, data, fresh_cache):
    result = rs.compare([TINY, failing(name)], data, recipe=RECIPE)
    lines = result.attrs["failures"].splitlines()
    assert [line.partition(":")[0] for line in lines] == [f"{name} seed 0", f"{name} seed 1"]
    assert all(ERRORS[name][1] in line and "in step 3" in line for line in lines)
    label = str(result.model[0].item())
    assert result.similarity.sel(model=label, model_ref=label).notnull().all()
    assert result.similarity.sel(model=name).isnull().all()
    for path in fresh_cache.glob("failed/*"):
        facts = unsealed_json(path.read_bytes(), path, "")
        assert facts["step"] == 3
        assert facts["model"] == name
    assert len(list(fresh_cache.glob("failed/*"))) == 2
    assert not list(fresh_cache.glob("partial/*"))


def test_a_loss_that_is_not_finite_is_named_with_its_first_step(data, fresh_cache):
    with pytest.raises(rs.TrainingError, match=r"NaN in step \d+ at lr=1e\+30") as caught:
        rs.compare(TINY, data, recipe=diverging(), seeds=1)
    step = int(re.search(r"in step (\d+)", str(caught.value))[1])
    assert 1 <= step <= RECIPE.steps


def test_a_failed_training_is_not_repeated_unless_that_is_asked_for(data, fresh_cache):
    first = rs.compare([TINY, failing("raises")], data, recipe=RECIPE, seeds=1)
    del built[:]
    again = rs.compare([TINY, failing("raises")], data, recipe=RECIPE, seeds=1)
    planned = len(built)  # to find its first layer
    assert first.attrs["failures"] in again.attrs["failures"]
    assert "it failed on 20" in again.attrs["failures"]
    assert "without retry_failed=True" in again.attrs["failures"]
    rs.compare([TINY, failing("raises")], data, recipe=RECIPE, seeds=1, retry_failed=True)
    assert len(built) > 2 * planned, "it was not trained again"


def test_a_training_that_succeeds_when_repeated_is_a_failure_no_more(data, fresh_cache):
    spec = failing("input")
    rs.compare([TINY, spec], data, recipe=RECIPE, seeds=1)
    mended = ModelSpec("input", small_cnn, spec.identity)
    assert rs.compare([TINY, mended], data, recipe=RECIPE, seeds=1).attrs["failures"]
    repaired = rs.compare([TINY, mended], data, recipe=RECIPE, seeds=1, retry_failed=True)
    assert repaired.attrs["failures"] == ""
    assert not list(fresh_cache.glob("failed/*"))
    assert rs.compare([TINY, mended], data, recipe=RECIPE, seeds=1).attrs["failures"] == ""


def test_a_damaged_record_of_a_failure_is_named_and_the_training_repeated(data, fresh_cache):
    rs.compare([TINY, failing("file")], data, recipe=RECIPE, seeds=1)
    (path,) = fresh_cache.glob("failed/*")
    path.write_bytes(path.read_bytes().replace(b"Input", b"input"))
    with pytest.warns(rs.RepsimWarning, match="is damaged"):
        result = rs.compare([TINY, failing("file")], data, recipe=RECIPE, seeds=1)
    assert "it failed on" not in result.attrs["failures"]


def test_trainings_that_nobody_can_name_leave_no_record(data, fresh_cache):
    spec = ModelSpec("own", lambda c, i: Failing(c, i, Own("no")), None)
    for _ in range(2):
        result = rs.compare([TINY, spec], data, recipe=RECIPE, seeds=1)
        assert "it failed on" not in result.attrs["failures"]
    assert not list(fresh_cache.glob("failed/*"))


def test_the_command_says_what_failed_and_how_to_repeat_it(repsim, pictures_npz, fresh_cache):
    wild = "quick:steps=4:batch=16:lr=1e30:loss=mse:precision=float32"
    command = ["compare", "--dataset", f"npz:path={pictures_npz}", "--seeds", "1", "--jobs", "1"]
    command += ["--models", f"{TINY},a={TINY}", "--recipe", wild]
    first, second = repsim(*command), repsim(*command)
    assert first.returncode == second.returncode == 1  # no network is left
    assert "--retry-failed" in second.stderr
    assert "retry_failed" not in second.stderr
    third = repsim(*command, "--retry-failed")
    assert "it failed on" not in third.stderr
    assert "Traceback" not in first.stderr + second.stderr + third.stderr


def test_memory_that_runs_out_is_named_with_a_remedy(data, fresh_cache):
    """A real allocation that no machine can serve."""

    class Greedy(nn.Module):
        def __init__(self, classes, channels):
            super().__init__()
            self.network = small_cnn(classes, channels)

        def forward(self, images):
            torch.empty(2**52)
            return self.network(images)

    spec = ModelSpec("greedy", Greedy, {"name": "greedy"})
    result = rs.compare([TINY, spec], data, recipe=RECIPE, seeds=1)
    assert "make room in memory" in result.attrs["failures"]
