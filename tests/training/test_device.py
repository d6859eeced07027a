"""Precision is chosen by what the hardware multiplies, and results say which it was."""

import json

import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.training import device as module
from repsim_energy.training.device import choose_device, choose_precision
from repsim_energy.training.recipe import parse_recipe

CPU = torch.device("cpu")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_was_asked_for_stays(precision):
    recipe = parse_recipe(f"quick:precision={precision}")
    assert choose_precision(recipe, CPU) is recipe


@pytest.mark.parametrize(("units", "chosen"), [((), "float32"), (("avx2",), "bfloat16")])
def test_auto_is_bfloat16_where_the_hardware_has_it(units, chosen, monkeypatch):
    """Every machine that runs these tests on x86 has avx2: it stands for a unit that is there."""
    ask = getattr(torch.cpu, "get_capabilities", dict)  # torch 2.10 does not say
    if units and not ask().get("avx2"):
        pytest.skip("the machine has no avx2 to stand for a unit that is there")
    monkeypatch.setattr(module, "BFLOAT16_UNITS", units)
    assert choose_precision(parse_recipe("quick:precision=auto"), CPU).precision == chosen


def test_results_and_runs_hold_the_precision_that_was_used(pictures, fresh_cache):
    recipe = rs.Recipe(batch=20, steps=2, precision="auto")
    result = rs.compare(["linear_cnn:filters=4"], pictures, seeds=1, recipe=recipe)
    used = json.loads(result.attrs["configuration"])["recipe"]["precision"]
    assert used == choose_precision(recipe, choose_device()).precision
    (manifest,) = fresh_cache.glob("runs/*/run.json")
    assert json.loads(manifest.read_text())["recipe"]["precision"] == used


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(UsageError, match="'tpu' cannot be used here"):
        choose_device("tpu")
