"""Numbers that a metric adds to the result."""

import numpy as np
import pytest
import torch
from samples import noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.errors import PluginError
from repsim_energy.metrics.cka import LinearCKA
from repsim_energy.metrics.energy import EnergyProfileCorrelation

GRAY = noise_images(20, (1, 8, 8))


def bank(size, seed):
    return torch.randn(size, 1, 3, 3, generator=torch.Generator().manual_seed(seed))


class Described(EnergyProfileCorrelation):
    """Adds what a function says of each profile."""

    def __init__(self, describe):
        self.describe = describe

    def variables(self, representation):
        return self.describe(representation)


def two_numbers(profile):
    return {
        "total": rs.Variable((), profile.sum(), "sum of the profile", "weight units"),
        "share": rs.Variable(("component",), profile / profile.sum(), "share of the sum"),
        "ends": rs.Variable(("end",), profile[[0, -1]], "first and last component"),
    }


def test_variables_of_a_metric_are_those_of_each_network():
    models = {"a": bank(4, 0), "nan": bank(4, 1) * torch.nan, "b": small_cnn(2, 1)}
    found = rs.compare(models, [GRAY], Described(two_numbers))
    energy = found.energy.sel(stage="trained")
    np.testing.assert_array_equal(found.total, energy.sum("component", skipna=False))
    np.testing.assert_array_equal(found.share, energy / energy.sum("component", skipna=False))
    np.testing.assert_array_equal(found.ends, energy.isel(component=[0, -1]))
    assert found.total.dims == ("dataset", "model", "seed")
    assert found.total.isnull().values.ravel().tolist() == [False, True, False]
    assert found.total.attrs == {"long_name": "sum of the profile", "units": "weight units"}
    plain = rs.compare({"a": models["a"], "b": models["b"]}, [GRAY])
    assert set(found.variables) - set(plain.variables) == {"total", "share", "ends"}


def test_variables_of_a_metric_on_activations_are_those_of_each_layer(tmp_path):
    class Norm(LinearCKA):
        """Adds the squared norm of the matrix that it compares."""

        def variables(self, representation):
            return {"norm": rs.Variable((), representation[1], "squared norm")}

    net = small_cnn(2, 1)
    found = rs.compare({"net": net}, [GRAY], Norm(), layers=["first", "output"])
    assert found.norm.dims == ("dataset", "model", "seed", "layer")
    for layer in ("first", "output"):
        alone = rs.compare({"net": net}, [GRAY], Norm(), layers=[layer])
        assert alone.norm.item() == found.norm.sel(layer=layer).item()
    rs.save_result(found, tmp_path / "r.nc")
    assert rs.open_result(tmp_path / "r.nc").identical(found)


WRONG = {
    "no mapping": (lambda p: [p], "got variables gave list, expected a mapping"),
    "no variable": (
        lambda p: {"x": p},
        "'x' is of type ndarray, expected a repsim_energy.Variable",
    ),
    "text": (lambda p: {"x": rs.Variable((), "a", "")}, "has <U1 values"),
    "dimensions": (lambda p: {"x": rs.Variable(("end",), 1.0, "")}, r"of shape \(\), expected"),
    "a variable": (lambda p: {"energy": rs.Variable((), 1.0, "")}, "'energy', which the result"),
    "a coordinate": (lambda p: {"basis_id": rs.Variable((), 1.0, "")}, "'basis_id', which the"),
    "a label": (lambda p: {"seed": rs.Variable((), 1.0, "")}, "'seed', which the result"),
    "twice": (lambda p: {"x": rs.Variable(("seed",), [1.0], "")}, "'seed' of size 1, which is"),
    "size": (lambda p: {"x": rs.Variable(("component",), p[:2], "")}, "'component' of size 2"),
    "of a coordinate": (lambda p: {"x": rs.Variable(("folded",), p, "")}, "'folded' of size 9"),
    "two sizes": (
        lambda p: {n: rs.Variable(("y",), [1.0] * k, "") for n, k in (("x", 2), ("z", 3))},
        "'y' of size 3, which is in use",
    ),
    "two dimensions": (
        lambda p: {"x": rs.Variable(("y" if (p > 9).any() else "z",), [1.0], "")},
        "expected .* another",
    ),
    "ragged": (
        lambda p: {"x": rs.Variable(("y",), [1.0] * (2 + (p > 9).any()), "")},
        "expected .* another",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_variable_of_its_own_is_refused(name):
    describe, words = WRONG[name]
    banks = [bank(4, 2), 100 * bank(4, 2)]
    with pytest.raises(PluginError, match=words):
        rs.compare(banks, [GRAY], Described(describe))
