"""A network that is compared after training and has hardly left its initialization is named."""

import re
import warnings

import pytest
import torch
from samples import noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.errors import InitializationWarning, RepsimWarning

IMAGES = noise_images(40, (3, 12, 12))
INITIAL, OTHER = torch.randn(2, 6, 3, 3, 3, generator=torch.Generator().manual_seed(3)).abs()


def network(trained):
    """A network whose weights before and after training are known."""
    module = small_cnn(2, 3)
    with torch.no_grad():
        module[0].weight.copy_(trained)
    return rs.TrainedModel(module, initial=INITIAL)


def close_to(r):
    """Filters whose profile correlates with the initial one at r, found by bisection."""
    basis = rs.patch_moments(IMAGES.images, (3, 3)).basis()
    initial = rs.energy_profile(INITIAL, basis)
    low, high = 0.0, 1.0
    for _ in range(40):
        share = (low + high) / 2
        mixed = (1 - share) * INITIAL + share * OTHER.roll(5, 0).flip(-1, 2)
        found = rs.profile_similarity(rs.energy_profile(mixed, basis), initial)
        low, high = (share, high) if found > r else (low, share)
    return mixed


def compared(models, stage):
    """What is warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rs.compare(models, IMAGES, stage=stage)
    assert all(issubclass(one.category, InitializationWarning) for one in said)
    return [str(one.message) for one in said]


@pytest.mark.parametrize(("r", "near"), [(0.951, True), (0.949, False), (0.6, False)])
def test_above_095_it_is_named_with_its_correlation(r, near):
    said = compared({"net": network(close_to(r)), "other": network(OTHER)}, "trained")
    assert len(said) == near
    if near:
        assert "the stage 'trained' of 'net' has the profile" in said[0]
        assert float(re.search(r"r with init ([\d.]+)", said[0])[1]) == pytest.approx(r, abs=1e-3)


def test_a_change_along_the_initial_weights_is_named():
    models = {"grown": network(1.5 * INITIAL), "other": network(OTHER)}
    (line,) = compared(models, "change")
    assert "'grown'" in line
    assert "grown or shrunk as a whole" in line
    assert "'other'" not in line


def test_the_initialization_itself_and_networks_without_a_known_one_are_not():
    assert compared({"net": network(INITIAL)}, "init") == []
    assert compared({"bank": INITIAL, "net": small_cnn(2, 3)}, "trained") == []
    assert compared({"frozen": network(INITIAL)}, "trained")


def test_many_networks_are_counted():
    (line,) = compared({f"net{n}": network(INITIAL) for n in range(8)}, "trained")
    assert "'net0', 'net1', 'net2' and 5 more has the profile" in line
    assert "r with init 1.000 or more" in line


def always_the_same(num_classes, in_channels):
    torch.manual_seed(0)
    return small_cnn(num_classes, in_channels)


def from_the_same_weights(num_classes, in_channels):
    module = small_cnn(num_classes, in_channels)
    with torch.no_grad():
        module[0].weight.copy_(INITIAL)
    return module


@pytest.mark.parametrize("build", [always_the_same, from_the_same_weights])
def test_seeds_that_begin_with_the_same_filters_are_said(build):
    with pytest.warns(RepsimWarning, match="'net' begins with the same filters"):
        rs.compare({"net": build}, IMAGES, recipe="quick:steps=3:batch=20", seeds=2)


def test_seeds_that_begin_differently_are_not():
    rs.compare([small_cnn], IMAGES, recipe="quick:steps=3:batch=20", seeds=2)  # warnings are errors
