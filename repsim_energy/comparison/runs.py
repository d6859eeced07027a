"""Variables of a comparison that say how its networks were trained."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from repsim_energy.comparison.measured import NETWORK_DIMS, Variables
from repsim_energy.comparison.network import Network
from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.results import Variable

__all__ = ["run_variables"]


def run_variables(plan: Plan, networks: Mapping[Key, Network]) -> Variables:
    """Return accuracies, steps and run of each network, and which of them are given."""
    train, test = np.full(plan.shape, np.nan), np.full(plan.shape, np.nan)
    steps = np.full(plan.shape, -1, dtype=np.int64)
    run_id = np.full(plan.shape, "", dtype="U16")
    for key, network in networks.items():
        if (run := network.run) is not None:
            train[key], test[key] = run.history.train_accuracy, run.test_accuracy
            steps[key] = run.history.steps
            run_id[key] = run.run_id
    given = np.zeros(plan.shape[:2], dtype=np.int8)
    for place in plan.trained:
        given[place] = 1
    return {
        "train_accuracy": Variable(NETWORK_DIMS, train, "accuracy on training images, last epoch"),
        "test_accuracy": Variable(NETWORK_DIMS, test, "accuracy on test images after training"),
        "steps": Variable(NETWORK_DIMS, steps, "gradient steps taken, -1 where unknown"),
        "run_id": Variable(
            NETWORK_DIMS, run_id, "identifier of the cached run, empty where there is none", ""
        ),
        "given": Variable(
            NETWORK_DIMS[:2], given, "1 where the network is given, 0 where it is trained here"
        ),
    }
