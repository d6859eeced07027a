"""A training that was killed and goes on is the one that nobody disturbed, bit for bit."""

import hashlib
import json
import random
import time
from itertools import count, product
from pathlib import Path

import pytest
from children import call, start
from commands import needs_signals, wait_until
from trainings import MODELS, RECIPES, run, run_batched, training_of

from repsim_energy.files.seals import unsealed
from repsim_energy.training.run_files import FILES, MANIFEST

pytestmark = [pytest.mark.process, needs_signals]

KINDS = list(product(MODELS, RECIPES))


def files_of(cache, key):
    """What a training found and the hashes of its files, which must be complete and undamaged."""
    folder = cache / "runs" / key
    facts = json.loads((folder / MANIFEST).read_bytes())
    for name in FILES:
        content = (folder / name).read_bytes()
        assert hashlib.sha256(content).hexdigest() == facts["sha256"][name]
    return {name: facts[name] for name in ("train_accuracy", "test_accuracy", "steps", "sha256")}


def partial_of(cache):
    """The stored states of trainings."""
    return list(Path(cache, "partial").glob("[0-9a-f]*"))


def killed_until_done(function, arguments, cache, seed, longest, most=40):
    """Start a training again and again, and kill it at random moments, at most so often.

    Returns how many kills there were, and how many of them left a state from which to go on.
    """
    rng, kills, gone_on = random.Random(seed), 0, 0
    while True:
        child = start(function, *arguments, REPSIM_CACHE=str(cache))
        if inside := kills % 2 == 0:  # every second death comes soon after a state was stored
            wait_until(lambda: partial_of(cache) or child.exitcode is not None, "a state")  # noqa: B023
        delay = rng.uniform(0, longest / 10 if inside else longest)
        child.join(delay if kills < most else None)
        if child.exitcode is not None:
            assert child.exitcode == 0, f"ended with {child.exitcode}"
            return kills, gone_on
        child.kill()
        child.join()
        kills += 1
        for path in partial_of(cache):
            unsealed(path.read_bytes(), path, "")  # is whole at any time
            gone_on += 1
        for path in Path(cache, "runs").glob("[0-9a-f]*"):
            files_of(cache, path.name)


def undisturbed(function, arguments, cache):
    """Train in one go; return the seconds that it took."""
    begun = time.monotonic()
    outcome = call(function, *arguments, REPSIM_CACHE=str(cache))
    assert outcome.kind == "returned", outcome
    return time.monotonic() - begun


@pytest.mark.parametrize(
    ("trainings", "kills"), [(1, 1), pytest.param(60, 500, marks=pytest.mark.faults)]
)
def test_killed_trainings_go_on_as_if_nothing_had_happened(trainings, kills, tmp_path):
    """The figure of the guarantees: the kills are spread over whole trainings of every kind."""
    killed = gone_on = 0
    for number in count():
        if number >= trainings and killed >= kills:
            break
        model, recipe = KINDS[(11 + 7 * number) % len(KINDS)]
        arguments = (model, recipe, number)
        whole, parts = tmp_path / f"whole-{number}", tmp_path / f"parts-{number}"
        seconds = undisturbed(run, arguments, whole)
        most = min(kills + 2, 10)
        kills_here, gone_on_here = killed_until_done(run, arguments, parts, number, seconds, most)
        killed, gone_on = killed + kills_here, gone_on + gone_on_here
        key = training_of(*arguments).key
        assert files_of(parts, key) == files_of(whole, key), arguments
        assert not partial_of(parts), "a state was left behind"
    print(f"{number} trainings, {killed} kills, of which {gone_on} left a state to go on from")
    assert gone_on >= kills / 2, "too few of the kills fell into the training itself"


@pytest.mark.parametrize(
    ("model", "seeds", "most"),
    [
        pytest.param("counting", (0, 1, 2, 3), 10, marks=pytest.mark.faults),
        pytest.param("vgg", (0, 1, 2, 3), 10, marks=pytest.mark.faults),
    ],
)
def test_batched_trainings_go_on_too(model, seeds, most, tmp_path):
    recipe = "cycle" if model == "vgg" else "adam"
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    seconds = undisturbed(run_batched, (model, recipe, seeds), whole)
    killed_until_done(run_batched, (model, recipe, seeds), parts, 5, seconds, most)
    for seed in seeds:
        key = training_of(model, recipe, seed).key
        assert files_of(parts, key) == files_of(whole, key), seed
