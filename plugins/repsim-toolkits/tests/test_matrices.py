"""The matrix of a bank: its shape, its profile, what it refuses."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import repsim_energy as rs
import torch
from conftest import normal, tiny
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from repsim_toolkits import (
    component_matrices,
    component_matrix,
    energy_profile_angle,
    energy_profile_correlation,
    energy_profile_of,
    matrices,
)


def test_entries_are_the_responses_of_a_slow_loop(banks, basis):
    found = component_matrix(banks[0], basis)
    for i, component in enumerate(basis.components):
        for k, bank in enumerate(banks[0]):
            response = sum(w * u for w, u in zip(bank.double().flatten(), component, strict=True))
            assert found[i, k] == pytest.approx(float(response), abs=1e-12)


def test_profile_comes_back(banks, basis):
    for bank in banks:
        back = energy_profile_of(component_matrix(bank, basis))
        np.testing.assert_allclose(back, rs.energy_profile(bank, basis), rtol=1e-12)


def test_profile_is_the_diagonal_of_the_gram_matrix(banks, basis):
    x = component_matrix(banks[1], basis)
    expected = np.sqrt(np.diag(x @ x.T) / x.shape[1])
    np.testing.assert_allclose(energy_profile_of(x), expected, rtol=1e-12)


@pytest.mark.parametrize("kind", ["flat tensor", "array", "network", "named layer"])
def test_a_bank_may_come_in_any_form(banks, basis, kind):
    bank = banks[2]
    network = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 4, 3), nn.Conv2d(3, 16, 3))
    with torch.no_grad():
        network[2 if kind == "named layer" else 0].weight.copy_(bank)
    given = {"flat tensor": bank.flatten(1), "array": bank.numpy()}.get(kind, network)
    layer = "2" if kind == "named layer" else None
    np.testing.assert_array_equal(
        component_matrix(given, basis, layer=layer), component_matrix(bank, basis)
    )


def test_a_trained_network_gives_the_profile_of_the_result(result):
    network = tiny(2, 3)
    bank = normal(8, 3, 3, 3, seed=5)
    network[0] = nn.Conv2d(3, 8, 3)
    with torch.no_grad():
        network[0].weight.copy_(bank)
    row = result.energy.sel(model="bank", seed=0, stage="trained").values[0]
    np.testing.assert_allclose(
        energy_profile_of(component_matrix(network, result)), row, rtol=1e-12
    )


def test_matrices_of_a_result_have_its_profiles_and_similarities(result):
    found = component_matrices(result)
    networks = [("tiny", 0), ("tiny", 1), ("wide", 0), ("wide", 1), ("bank", 0)]
    assert list(found) == [("images", *network) for network in networks]
    for (data, model, seed), x in found.items():
        at = {"dataset": data, "model": model, "seed": seed}
        expected = result.energy.sel(at).sel(stage=result.attrs["stage"])
        np.testing.assert_allclose(energy_profile_of(x), expected, rtol=1e-15)
        for (data2, model2, seed2), y in found.items():
            ref = {"dataset_ref": data2, "model_ref": model2, "seed_ref": seed2}
            expected = result.similarity.sel({**at, **ref}).item()
            assert energy_profile_correlation(x, y) == pytest.approx(expected, abs=1e-12)


def test_another_stage_has_other_profiles(result):
    init = component_matrices(result, "init")
    trained = component_matrices(result, "trained")
    assert ("images", "bank", 0) not in init  # its start is not known
    assert not np.array_equal(init["images", "tiny", 0], trained["images", "tiny", 0])


@given(st.integers(1, 9), st.integers(3, 12), st.integers(0, 2**32 - 1))
def test_mixing_filters_changes_nothing_and_mixing_components_does(k, d, seed):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((d, k)), rng.standard_normal((d, k + 2))
    rotation = np.linalg.qr(rng.standard_normal((k, k)))[0]
    r = energy_profile_correlation(x, y)
    for same in (x @ rotation, x[:, rng.permutation(k)], -3 * x, np.hstack([x, x])):
        assert energy_profile_correlation(same, y) == pytest.approx(r, abs=1e-10)
        assert energy_profile_correlation(y, same) == pytest.approx(r, abs=1e-10)
    turned = np.linalg.qr(rng.standard_normal((d, d)))[0] @ x
    assert abs(energy_profile_correlation(turned, y) - r) > 1e-9


@given(st.integers(3, 12), st.integers(0, 2**32 - 1))
def test_the_angle_is_a_metric(d, seed):
    x, y, z = np.random.default_rng(seed).standard_normal((3, d, 4))
    assert energy_profile_angle(x, x) < 1e-7
    assert energy_profile_angle(x, y) == pytest.approx(energy_profile_angle(y, x), abs=1e-12)
    over = energy_profile_angle(x, y) + energy_profile_angle(y, z)
    assert energy_profile_angle(x, z) <= over + 1e-7
    r = energy_profile_correlation(x, y)
    assert energy_profile_angle(x, y) == pytest.approx(math.acos(r), abs=1e-12)


def test_flat_profiles_are_undefined():
    flat = np.ones((5, 3))
    for measure in (energy_profile_correlation, energy_profile_angle):
        with pytest.warns(rs.RepsimWarning, match="flat"):
            assert math.isnan(measure(flat, np.arange(10.0).reshape(5, 2)))


def test_torch_tensors_that_learn_are_taken():
    x = torch.randn(5, 2, requires_grad=True)
    np.testing.assert_allclose(energy_profile_of(x), energy_profile_of(x.detach().numpy()))


def test_examples_in_the_docstrings_are_right():
    failed, tried = doctest.testmod(matrices)
    assert (failed, tried > 4) == (0, True)


def one_line(error):
    return "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda b: component_matrix(torch.zeros(4, 3, 7, 7), b), "fit the basis with the patch"),
        (lambda b: component_matrix(nn.Linear(3, 3), b), "no Conv2d layer"),
        (lambda b: component_matrix("vgg11", b), "got a str as filter bank"),
        (lambda b: component_matrix(torch.zeros(4, 27), "x.nc"), "got a str without 'comp"),
        (lambda b: energy_profile_of([1.0, 2.0]), r"shape \(2,\), expected \(components"),
        (lambda b: energy_profile_of(np.zeros((3, 0))), r"shape \(3, 0\)"),
        (lambda b: energy_profile_of(np.zeros((2, 3, 4, 4))), "component_matrix"),
        (lambda b: energy_profile_correlation(np.eye(3), np.eye(4)), "on one basis"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(basis, call, message):
    with pytest.raises(rs.UsageError, match=message) as error:
        call(basis)
    assert one_line(error)


def test_results_without_profiles_or_with_several_bases_are_refused(result, cka_result, banks):
    with pytest.raises(rs.UsageError, match="a Dataset without 'components'") as error:
        component_matrix(banks[0], cka_result)
    assert one_line(error)
    with pytest.raises(rs.UsageError, match="a Dataset without 'energy'"):
        component_matrices(cka_result)
    with pytest.raises(rs.UsageError, match="got stage 'late', expected one of init, trained"):
        component_matrices(result, "late")
    twice = result.isel(dataset=[0, 0]).assign_coords(dataset=["a", "b"])
    with pytest.raises(rs.UsageError, match="a basis for each of a, b"):
        component_matrix(banks[0], twice)
    np.testing.assert_array_equal(
        component_matrix(banks[0], twice.isel(dataset=1)), component_matrix(banks[0], result)
    )
