"""A comparison of cached networks starts fast: it imports nothing that it does not need."""

import re
import subprocess
import sys

import pytest

ARGUMENTS = (
    *("compare", "--metric", "energy", "--models", "linear_cnn:filters=8:sigma=0.1"),
    *("--dataset", "deadleaves:count=400", "--recipe", "quick:steps=2", "--jobs", "1"),
)

NOT_NEEDED = (
    *("torch._dynamo", "torch._inductor", "torchvision", "sympy", "matplotlib", "netCDF4", "h5py"),
    *("scipy.stats", "scipy.ndimage", "scipy.optimize", "loky", "distributed", "PIL.Image"),
    *("repsim_energy.models.architectures", "repsim_energy.models.checkpoint"),
    *("repsim_energy.comparison.of_layers", "repsim_energy.comparison.of_activations"),
)
"""Modules that take long to import, and those that build networks."""


@pytest.mark.process
def test_a_comparison_of_cached_networks_imports_no_more_than_it_needs(repsim, fresh_cache):
    first = repsim(*ARGUMENTS)
    assert first.returncode == 0, first.stderr
    command = [sys.executable, "-X", "importtime", "-m", "repsim_energy", *ARGUMENTS]
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 0
    assert again.stdout == first.stdout
    imported = set(re.findall(r"^import time:.*\| +(\S+)$", again.stderr, re.MULTILINE))
    assert {"torch", "xarray", "repsim_energy.comparison.of_filters"} <= imported
    assert not imported & set(NOT_NEEDED)
