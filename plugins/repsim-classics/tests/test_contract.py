"""Each metric is what it declares, and naming them imports nothing heavy."""

import subprocess
import sys

import pytest
from cases import METRICS, ONE_OF_EACH
from repsim_energy.testing import check_metric

from repsim_classics import repsim_metrics


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_keeps_the_rules_and_what_it_declares(name):
    check_metric(METRICS[name])


def test_every_metric_has_the_name_that_users_type():
    assert repsim_metrics().keys() == ONE_OF_EACH.keys()
    for name, metric in ONE_OF_EACH.items():
        assert metric.name == name


def test_naming_the_metrics_imports_nothing_heavy():
    code = (
        "import sys, repsim_classics; repsim_classics.repsim_metrics();"
        "print([m for m in ('torch', 'numpy', 'scipy', 'rsatoolbox') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_rsatoolbox_rsa_says_what_to_install():
    code = (
        "import sys; sys.modules['rsatoolbox'] = None\n"
        "import torch, repsim_energy as rs\n"
        "from repsim_classics.rsa import RSA\n"
        "try: RSA().represent(rs.Activations(torch.randn(9, 4)))\n"
        "except rs.UsageError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.count("\n") == 1
    assert "pip install rsatoolbox" in done.stdout
