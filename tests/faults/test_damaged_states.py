"""No damaged state of a training, and no damaged record of a failure, is ever used."""

import warnings

import pytest
import torch
from mutants import mutants
from samples import RECIPE, small_cnn

from repsim_energy.errors import RepsimWarning, TrainingError
from repsim_energy.interfaces import ModelSpec
from repsim_energy.training import partial_run
from repsim_energy.training.failures import record_failure, recorded_failure
from repsim_energy.training.inputs import layouts_of
from repsim_energy.training.partial_run import PartialRun, partial_path
from repsim_energy.training.training import Training

CPU = torch.device("cpu")

COUNTS = pytest.mark.parametrize("count", [200, pytest.param(10_000, marks=pytest.mark.faults)])


@pytest.fixture
def training(data, fresh_cache):
    return Training(ModelSpec("small", small_cnn, {"name": "small"}), data, 0, RECIPE)


def warned(function):
    """Call a function that must warn; return what it returns."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = function()
    assert caught
    assert all(issubclass(one.category, RepsimWarning) for one in caught)
    return found


@COUNTS
def test_a_damaged_state_begins_anew(count, training, monkeypatch):
    monkeypatch.setattr(partial_run, "SECONDS", 0.0)
    monkeypatch.setattr(partial_run, "MAX_SHARE", 1.0)

    def stop(step, _):
        if step == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(CPU, stop)
    module = training.new_network()
    known, layout = module.state_dict(), layouts_of(module)[0]
    path = partial_path(training.key)
    whole = path.read_bytes()
    assert PartialRun(training.key, training.facts, CPU).read(known, layout) is not None
    for fault, damaged in mutants(whole, count):
        path.write_bytes(damaged)
        file = PartialRun(training.key, training.facts, CPU)
        assert warned(lambda: file.read(known, layout)) is None, fault  # noqa: B023 (called here)


@COUNTS
def test_a_damaged_record_of_a_failure_is_removed(count, training, fresh_cache):
    record_failure(training, TrainingError("the loss became infinite", 3))
    assert recorded_failure(training).step == 3
    (path,) = fresh_cache.glob("failed/*")
    whole = path.read_bytes()
    for fault, damaged in mutants(whole, count):
        path.write_bytes(damaged)
        assert warned(lambda: recorded_failure(training)) is None, fault
        assert not path.exists()
