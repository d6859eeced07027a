"""Precision is chosen by what the hardware multiplies, and results say which it was."""

import json

import pytest
import torch

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.numerics.processor import processor_features
from repsim_energy.training import device as module
from repsim_energy.training.device import choose_device, choose_precision
from repsim_energy.training.recipe import parse_recipe

CPU = torch.device("cpu")
AUTO = parse_recipe("quick:precision=auto")


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_was_asked_for_stays(precision):
    recipe = parse_recipe(f"quick:precision={precision}")
    assert choose_precision(recipe, CPU) is recipe


@pytest.fixture
def units(monkeypatch):
    """Every processor has a feature that stands for a unit of bfloat16, and no limit is set."""
    monkeypatch.setattr(module, "BFLOAT16_UNITS", processor_features().split()[:1])
    for limit in module.LIMITS:
        monkeypatch.delenv(limit, raising=False)


def test_auto_is_bfloat16_where_the_hardware_has_it(units, monkeypatch):
    assert choose_precision(AUTO, CPU).precision == "bfloat16"
    monkeypatch.setattr(module, "BFLOAT16_UNITS", ())
    assert choose_precision(AUTO, CPU).precision == "float32"


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
@pytest.mark.parametrize(
    ("limit", "chosen"),
    [
        ("AVX2", "float32"),
        ("avx512_core", "float32"),
        ("AVX512_CORE_BF16", "bfloat16"),
        ("DEFAULT", "bfloat16"),
    ],
)
def test_auto_is_float32_where_the_units_may_not_be_used(name, limit, chosen, units, monkeypatch):
    monkeypatch.setenv(name, limit)
    assert choose_precision(AUTO, CPU).precision == chosen


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
