"""similarity-repository: what the registry finds, and what it is given."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import repsim_energy as rs
import signatures


@pytest.fixture(params=["real", "signature check"])
def registered(request, adapter):
    check = request.param == "signature check"
    module = adapter("similarity_repository", signatures.similarity_repository() if check else None)
    try:
        identifiers = module.register()
    except rs.UsageError as error:
        pytest.skip(f"not run on the real toolkit: {error}")
    import similarity

    return similarity, identifiers


def test_registered_identifiers_are_found_by_pattern(registered):
    similarity, identifiers = registered
    found = similarity.make("measure/repsim_energy/*")
    assert set(found) == set(identifiers)
    assert set(identifiers) <= set(similarity.make("measure/*/*"))
    assert "measure/repsim_energy/energy" in identifiers


def test_every_measure_takes_matrices_of_different_width(registered):
    similarity, _ = registered
    x, y = np.random.default_rng(0).standard_normal((2, 27, 16))
    measures = similarity.make("measure/repsim_energy/*").items()
    scores = {name: measure(x, y[:, :5]) for name, measure in measures}
    assert all(type(score) is float for score in scores.values())


def test_without_the_toolkit_the_remedy_is_named(adapter, monkeypatch):
    monkeypatch.setitem(sys.modules, "similarity", None)
    with pytest.raises(rs.UsageError, match="pip install git.https://github.com/nacloos") as error:
        adapter("similarity_repository").register()
    assert "\n" not in str(error.value)
