"""A training under way in a file: what it goes on from, and what makes it begin anew."""

import os

import pytest
import torch
from samples import RECIPE, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.interfaces import ModelSpec
from repsim_energy.scheduling.batched import run_batched
from repsim_energy.scheduling.tally import Tally
from repsim_energy.training import partial_run
from repsim_energy.training.inputs import layouts_of
from repsim_energy.training.together import run_together
from repsim_energy.training.training import Training

CPU = torch.device("cpu")
SPEC = ModelSpec("small", small_cnn, {"name": "small"})


@pytest.fixture(autouse=True)
def _stored_after_each_step(monkeypatch, fresh_cache):
    monkeypatch.setattr(partial_run, "SECONDS", 0.0)
    monkeypatch.setattr(partial_run, "MAX_SHARE", 1.0)


@pytest.fixture
def training(data):
    return Training(SPEC, data, 0, RECIPE)


def tensors_of(run):
    return {**run.tensors(), **run.network().state_dict()}


def interrupted(training, after):
    """Run a training that Ctrl-C ends after some steps."""

    def on_step(step, _):
        if step == after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        training.run(CPU, on_step)
    assert training.is_partial == (after > 1)  # on_step is called before the state is stored


def steps_of(training):
    """Run a training; return its run and the steps that it took."""
    steps = []
    return training.run(CPU, lambda step, _: steps.append(step)), steps


def assert_equal(one, other):
    one, other = tensors_of(one), tensors_of(other)
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


@pytest.fixture
def undisturbed(training, tmp_path, monkeypatch):
    """The run of a training that nobody interrupts."""
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("REPSIM_CACHE", str(tmp_path / "elsewhere"))
        run = training.run(CPU)
        return tensors_of(run)


def assert_as_undisturbed(run, undisturbed):
    found = tensors_of(run)
    assert found.keys() == undisturbed.keys()
    for name, tensor in found.items():
        assert torch.equal(tensor, undisturbed[name]), name


@pytest.mark.parametrize("after", range(1, RECIPE.steps + 1))
def test_a_training_goes_on_from_its_last_state(after, training, undisturbed):
    interrupted(training, after)
    run, steps = steps_of(training)
    assert steps == list(range(max(1, after), RECIPE.steps + 1))
    assert_as_undisturbed(run, undisturbed)
    assert not training.is_partial


AS_PEOPLE_TRAIN = rs.Recipe(
    **{**RECIPE.as_options(), "momentum": 0.9, "weight_decay": 0.01, "evaluations": 2},
    nesterov=True,
    decay_norms=False,
    label_smoothing=0.1,
    crop=2,
    flip=True,
    ema=0.8,
)


@pytest.mark.parametrize("together", [False, True])
def test_crops_and_the_average_go_on_too(together, data, tmp_path, monkeypatch):
    """Killed in the middle: at the storing of a state."""

    def network(classes, channels):
        return small_cnn(classes, channels, norm=True)

    spec = ModelSpec("normed", network, {"name": "normed"})
    trainings = [Training(spec, data, seed, AS_PEOPLE_TRAIN) for seed in range(1 + together)]

    def runs():
        return run_together(trainings, CPU) if together else [trainings[0].run(CPU)]

    def dies(file, state, record, layout):
        write(file, state, record, layout)
        if record.steps == 3:
            raise KeyboardInterrupt

    write = partial_run.PartialRun.write
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("REPSIM_CACHE", str(tmp_path / "elsewhere"))
        expected = [tensors_of(run) for run in runs()]
    with monkeypatch.context() as deadly:
        deadly.setattr(partial_run.PartialRun, "write", dies)
        with pytest.raises(KeyboardInterrupt):
            runs()
    assert len(list((tmp_path / "cache" / "partial").iterdir())) == 1
    for run, known in zip(runs(), expected, strict=True):
        assert_as_undisturbed(run, known)


def test_nothing_is_stored_in_the_first_minute(training, monkeypatch):
    monkeypatch.setattr(partial_run, "SECONDS", 60.0)
    with pytest.raises(KeyboardInterrupt):
        training.run(CPU, lambda step, _: (_ for _ in ()).throw(KeyboardInterrupt))
    assert not training.is_partial


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


CHANGES = {
    "is damaged": lambda path, monkeypatch: damage(path),
    "ONEDNN_MAX_CPU_ISA": lambda _, patch: patch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2"),
    "processor": lambda _, patch: patch.setattr(partial_run, "processor_name", lambda: "other"),
    "is damaged: its bytes": lambda path, _: path.write_bytes(b""),
    "torch": lambda _, patch: patch.setattr(torch, "__version__", "2.99"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_state_that_is_damaged_or_of_another_machine_is_named_and_not_used(
    change, training, undisturbed, monkeypatch
):
    interrupted(training, 4)
    CHANGES[change](partial_run.partial_path(training.key), monkeypatch)
    with pytest.warns(rs.RepsimWarning, match=f"small seed 0.*{change}.*begins anew"):
        run, steps = steps_of(training)
    assert steps == list(range(1, RECIPE.steps + 1))
    assert_as_undisturbed(run, undisturbed)


def test_another_number_of_threads_begins_anew(training):
    interrupted(training, 4)
    before = torch.get_num_threads()
    torch.set_num_threads(before + 1)
    try:
        with pytest.warns(rs.RepsimWarning, match=f"threads {before}, now {before + 1}"):
            _, steps = steps_of(training)
    finally:
        torch.set_num_threads(before)
    assert steps[0] == 1


def test_a_network_that_was_changed_meanwhile_begins_anew(training, data):
    interrupted(training, 4)

    def wider(classes, channels):
        return nn.Sequential(small_cnn(classes, channels), nn.Linear(classes, classes))

    changed = Training(ModelSpec("small", wider, {"name": "small"}), data, 0, RECIPE)
    with pytest.warns(rs.RepsimWarning, match="had other weights; it begins anew"):
        _, steps = steps_of(changed)
    assert steps[0] == 1


def test_a_full_disk_ends_the_storing_and_not_the_training(training, undisturbed, files_of_at_most):
    with (
        pytest.warns(rs.RepsimWarning) as caught,
        files_of_at_most(2000),
    ):
        run, _ = steps_of(training)
    said = [str(one.message) for one in caught]
    assert sum("goes on, but would begin anew after an interruption" in line for line in said) == 1
    assert_as_undisturbed(run, undisturbed)


def test_the_state_stays_until_the_run_is_stored(training, fresh_cache, files_of_at_most):
    interrupted(training, 4)
    size = partial_run.partial_path(training.key).stat().st_size
    with pytest.warns(rs.RepsimWarning) as caught, files_of_at_most(0):
        training.run(CPU)
    assert any("held in memory" in str(one.message) for one in caught)
    assert training.is_partial
    assert partial_run.partial_path(training.key).stat().st_size == size


def test_a_training_that_fails_leaves_no_state(data):
    wild = rs.Recipe(**{**RECIPE.as_options(), "lr": 1e30, "loss": "mse"})
    training = Training(SPEC, data, 0, wild)
    with pytest.raises(rs.TrainingError):
        training.run(CPU)
    assert not training.is_partial


def test_the_seconds_of_a_run_count_those_before_an_interruption(training):
    with pytest.MonkeyPatch.context() as long:
        long.setattr(partial_run.PartialRun, "seconds", 1000.0)
        interrupted(training, 4)
    file = partial_run.PartialRun(training.key, training.facts, CPU)
    module = training.new_network()
    assert file.read(module.state_dict(), layouts_of(module)[0]) is not None
    assert 1000 <= file.seconds < 1100


def test_a_comparison_says_how_many_trainings_go_on(data, capsys):
    interrupted(Training(SPEC, data, 0, RECIPE), 4)
    lines = []

    class Heard(rs.Reporter):
        def announce(self, text):
            lines.append(text)

    rs.compare([SPEC], data, recipe=RECIPE, seeds=2, reporter=Heard())
    assert "0 of 2 runs are read from the cache, 2 to train, of which 1 goes on" in lines[0]


def test_code_without_a_name_stores_nothing(data, fresh_cache):
    Training(ModelSpec("own", small_cnn, None), data, 0, RECIPE).run(CPU)
    assert not os.path.exists(fresh_cache / "partial")


class Dropping(nn.Module):
    """Draws random numbers, so that it depends on the networks beside it in a batch."""

    def __init__(self, classes, channels):
        super().__init__()
        self.network = small_cnn(classes, channels)
        self.drop = nn.Dropout(0.5)

    def forward(self, images):
        return self.network(self.drop(images))


def test_a_batch_goes_on_whole_although_some_of_its_runs_are_stored(data, tmp_path, monkeypatch):
    """As after a death between the storing of two of its runs."""
    spec = ModelSpec("dropping", Dropping, {"name": "dropping"})
    trainings = [Training(spec, data, seed, RECIPE) for seed in range(3)]

    class Death(BaseException):
        pass

    def dies(training, run, seconds):
        if training.seed == 1:
            raise Death
        keep(training, run, seconds)

    keep = Training.keep
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("REPSIM_CACHE", str(tmp_path / "elsewhere"))
        expected = [tensors_of(run) for run in run_together(trainings, CPU)]
    with monkeypatch.context() as deadly:
        deadly.setattr(Training, "keep", dies)
        with pytest.raises(Death):
            run_together(trainings, CPU)
    assert [training.is_cached for training in trainings] == [True, False, False]
    named = {training.seed: training for training in trainings[1:]}
    runs = dict(run_batched(named, CPU, Tally(rs.Reporter(), 2)))
    assert sorted(runs) == [1, 2]
    for seed, run in runs.items():
        found = tensors_of(run)
        assert all(torch.equal(found[name], expected[seed][name]) for name in expected[seed]), seed
    assert not list((tmp_path / "cache" / "partial").iterdir())


def test_a_death_after_a_run_was_stored_leaves_nothing_for_long(data, fresh_cache, monkeypatch):
    training, other = (Training(SPEC, data, seed, RECIPE) for seed in (0, 1))
    with monkeypatch.context() as deadly:
        deadly.setattr(partial_run.PartialRun, "remove", lambda _: None)
        training.run(CPU)
        run_together([other, Training(SPEC, data, 2, RECIPE)], CPU)
    assert len(list((fresh_cache / "partial").iterdir())) == 2
    training.run(CPU)
    assert not training.is_partial
    rs.compare([SPEC], data, recipe=RECIPE, seeds=3)
    assert not list((fresh_cache / "partial").iterdir())
