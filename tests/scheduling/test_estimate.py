"""An estimate leaves no trace, and adds up what single steps take."""

import pytest
import torch
from samples import RECIPE, TINY, Heard, both_splits, broken, noise_images, with_dropout

import repsim_energy as rs
from repsim_energy.comparison import make_plan, train_networks
from repsim_energy.interfaces import ModelSpec
from repsim_energy.registry import load_registry
from repsim_energy.scheduling import estimate
from repsim_energy.scheduling.estimate import makespan
from repsim_energy.scheduling.local import Local
from repsim_energy.training.timing import step_seconds
from repsim_energy.training.training import Training


def planned(models, data, recipe=RECIPE):
    return make_plan(load_registry(plugins=False), models, [data], 2, recipe, "cpu")


def line_for(plan, scheduler):
    missing = [training for training in plan.trainings.values() if not training.is_cached]
    return estimate.estimate(missing, plan.device, scheduler, plan.untrained)


def seconds(spec, data, beside):
    training = Training(spec, data, 0, RECIPE)
    return step_seconds(training, training.new_network(), torch.device("cpu"), beside, 1.0)


@pytest.mark.parametrize("beside", [0, 1, 3])
def test_measuring_a_step_changes_no_random_state_and_no_thread_count(data, beside):
    spec = ModelSpec("dropout", with_dropout, None)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    assert seconds(spec, data, beside) > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_a_network_that_cannot_be_trained_takes_no_time(data):
    spec = ModelSpec("broken", broken, None)
    assert seconds(spec, data, 2) == 0


def test_the_runs_after_an_estimate_are_those_without(data, fresh_cache, monkeypatch):
    plan = planned([ModelSpec("dropout", with_dropout, None)], data)
    alone, _ = train_networks(plan)
    monkeypatch.setattr(estimate, "MIN_ANNOUNCED_SECONDS", 0.0)
    monkeypatch.setattr(estimate, "MIN_STEPS_PER_MODEL", 1)
    heard = Heard()
    announced, _ = train_networks(plan, reporter=heard)
    for key, network in alone.items():
        assert torch.equal(network.filters["trained"], announced[key].filters["trained"])
    (line,) = heard.lines
    assert line.startswith(
        "2 runs to train, about 0 min in this process (measured on up to 3 steps each)"
    )


def test_a_short_or_finished_sweep_is_not_worth_a_word(data, fresh_cache):
    plan = planned(["linear_cnn:filters=8"], data)
    assert line_for(plan, Local(1)) is None
    long = planned(["linear_cnn:filters=8"], data, rs.Recipe(steps=10**7, batch=20))
    line = line_for(long, Local(2))
    assert line.startswith("2 runs to train, about ")
    assert line.endswith(" on 2 processes (measured on up to 3 steps each)")
    train_networks(plan)
    assert line_for(plan, Local(1)) is None


def test_more_hands_never_take_longer_and_never_less_than_their_share():
    seconds = [5.0, 1.0, 4.0, 2.0, 2.0, 6.0]
    spans = [makespan(seconds, hands) for hands in range(1, 8)]
    assert spans[0] == sum(seconds)
    assert spans[-1] == max(seconds)
    assert all(s >= max(sum(seconds) / h, max(seconds)) for h, s in enumerate(spans, 1))


@pytest.mark.parametrize(("before", "lines"), [(0, []), (1, ["1 of 3"]), (2, ["2 of 3"]), (3, [])])
def test_a_resumed_sweep_says_what_it_reads_and_what_it_trains(fresh_cache, before, lines):
    images, heard = both_splits(noise_images(20, (3, 8, 8))), Heard()
    options = {"recipe": RECIPE, "metric": "cka"}
    if before:
        rs.compare(TINY, images, seeds=before, **options)
    rs.compare(TINY, images, seeds=3, reporter=heard, **options)
    expected = [f"{line} runs are read from the cache, {3 - before} to train" for line in lines]
    assert heard.lines == expected
