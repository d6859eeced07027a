"""ReSi: what its benchmark reads of a measure, and how it calls it."""

from __future__ import annotations

import numpy as np
import pytest
import repsim_energy as rs
import signatures


@pytest.fixture(params=["real", "signature check"])
def measure(request, adapter):
    module = adapter("resi", signatures.resi() if request.param == "signature check" else None)
    return module.EnergyProfileCorrelation()


def test_it_is_registered_by_its_name(measure):
    from repsim.measures import ALL_MEASURES

    ALL_MEASURES[measure.name] = measure
    assert measure.name == "EnergyProfileCorrelation"
    x = np.random.default_rng(0).standard_normal((27, 8))
    assert ALL_MEASURES["EnergyProfileCorrelation"](x, x, "nd") == pytest.approx(1)


def test_declared_properties_hold_and_the_others_fail(measure):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((2, 27, 8))
    rotation = np.linalg.qr(rng.standard_normal((8, 8)))[0]
    changes = {
        "ortho": x @ rotation,
        "permutation": x[:, rng.permutation(8)],
        "isotropic_scaling": 3 * x,
        "translation": x + rng.standard_normal(8),
        "invertible_linear": x @ rng.standard_normal((8, 8)),
        "affine": x @ rng.standard_normal((8, 8)) + 1,
    }
    for name, changed in changes.items():
        same = measure(changed, y, "nd") == pytest.approx(measure(x, y, "nd"), abs=1e-10)
        assert same == getattr(measure, f"invariant_to_{name}"), name
    assert measure.is_symmetric
    assert measure(x, y, "nd") == pytest.approx(measure(y, x, "nd"), abs=1e-12)
    assert measure.larger_is_more_similar


@pytest.mark.parametrize("shape", ["ntd", "nchw"])
def test_activations_are_refused(measure, shape):
    with pytest.raises(rs.UsageError, match=f"shape '{shape}', expected 'nd'"):
        measure(np.zeros((4, 3, 2, 2)), np.zeros((4, 3, 2, 2)), shape)
