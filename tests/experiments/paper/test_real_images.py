"""Experiments without training, on real images, against published numbers."""

import pytest

from repsim_energy.experiments.outcome import Outcome
from repsim_energy.experiments.paper import decorrelation, formula_over_time, theorem
from repsim_energy.experiments.scales import SCALES
from repsim_energy.experiments.setting import make_setting
from repsim_energy.numerics.autocorrelation.autocorrelation import autocorrelation
from repsim_energy.numerics.profiles.theory import whitening_filters
from repsim_energy.registry import load_registry

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def setting(cifar_subset):
    scale = SCALES["cpu"]
    return make_setting(
        load_registry(plugins=False),
        scale,
        {"cifar10": f"npz:path={cifar_subset}"},
        seeds=[0],
        recipe=scale.recipe,
        components=scale.components,
    )


def means(outcome: Outcome):
    return {quantity.name: quantity.values.mean() for quantity in outcome.quantities}


def test_the_linear_cnn_follows_closed_form_and_formula(setting):
    found = means(theorem.run(setting))
    assert found["simulation vs closed form: largest relative difference"] <= 1e-9
    assert found["formula vs simulation: random labels"] >= 0.95
    assert found["formula vs simulation: patches shuffled among images"] >= 0.95
    cost = "formula vs simulation: individual patches of the images as they are"
    assert 0.7 <= found[cost] <= 0.9  # the assumption is not free


def test_the_formula_ends_in_whitening(setting):
    found = means(formula_over_time.run(setting))
    assert found["t → ∞: largest correlation of two responses at one place"] <= 1e-9
    far = [value for name, value in found.items() if "autocorrelation at 10" in name]
    assert far == sorted(far, reverse=True)


def test_random_banks_see_what_pixels_do_and_the_whitening_bank_does_not(setting):
    train = setting.data("cifar10").train
    lags = setting.autocovariance(train, (3, 3), decorrelation.MAX_SHIFT)
    rgb = autocorrelation(train.images).curve
    banks = decorrelation._random_banks(100, lags.patch)
    random = sum(lags.autocorrelation(bank).curve for bank in banks) / len(banks)
    assert (random - rgb).abs().max() <= 0.05
    assert rgb[10] == pytest.approx(0.39, abs=0.01)
    whitening = lags.autocorrelation(whitening_filters(setting.basis(train))).curve
    assert whitening[3:].abs().max() <= 0.2
    assert whitening[10].abs() <= 0.1
