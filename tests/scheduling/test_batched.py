"""Runs that differ in their seed alone are made together; the others are left."""

from weakref import WeakSet

import pytest
import torch
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison import make_plan
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.registry import load_registry
from repsim_energy.scheduling.batched import run_batched
from repsim_energy.scheduling.tally import Tally

CPU = torch.device("cpu")
RECIPE = rs.Recipe(lr=0.01, batch=20, steps=3)


def depends_on_its_values(num_classes, in_channels):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, 4, 3)

        def forward(self, images):
            maps = self.conv(images)
            return maps.mean((2, 3))[:, :num_classes] * (2 if float(maps.sum()) > 0 else 1)

    return Network()


def asks_for_a_missing_axis(num_classes, in_channels):
    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(in_channels, 4, 3)

        def forward(self, images):
            return self.conv(images).mean(tuple(range(9)))

    return Network()


class Hungry(nn.Module):
    """A network that has no memory while more than three of its kind are there."""

    there = WeakSet()

    def __init__(self, num_classes, in_channels):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 3)
        self.there.add(self)

    def forward(self, images):
        if self.training and len(self.there) > 3:
            raise torch.OutOfMemoryError("out of memory")
        return self.conv(images).mean((2, 3))


def planned(models, pictures, seeds):
    data = Dataset("pictures", pictures, pictures)
    return make_plan(load_registry(plugins=False), models, [data], seeds, RECIPE, "cpu").trainings


@pytest.fixture
def trainings(pictures):
    models = [
        "linear_cnn:filters=8",
        ModelSpec("values", depends_on_its_values, {"name": "values"}),
        ModelSpec("broken", asks_for_a_missing_axis, {"name": "broken"}),
        ModelSpec("unnamed", depends_on_its_values, None),
    ]
    return planned(models, pictures, 3)


@pytest.mark.parametrize(("at_once", "made"), [(None, 3), (2, 2), (1, 0)])
def test_what_can_be_batched_is_made_and_the_rest_left(trainings, at_once, made, fresh_cache):
    found = dict(run_batched(trainings, CPU, Tally(rs.Reporter(), len(trainings)), at_once))
    assert list(found) == [(0, 0, seed) for seed in range(made)]
    assert [run.key for run in found.values()] == [trainings[key].key for key in found]
    assert len(list(fresh_cache.glob("runs/*/run.json"))) == made


def test_a_batch_that_does_not_fit_is_made_in_parts(pictures, fresh_cache):
    trainings = planned([ModelSpec("hungry", Hungry, {"name": "hungry"})], pictures, 5)
    found = dict(run_batched(trainings, CPU, Tally(rs.Reporter(), len(trainings))))
    assert list(found) == [(0, 0, seed) for seed in range(4)]  # five do not fit, two and two do
    assert [run.key for run in found.values()] == [trainings[key].key for key in found]
