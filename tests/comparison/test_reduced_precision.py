"""Passes in bfloat16: what is computed in it, how much it changes, and where it is refused."""

import numpy as np
import pytest
import torch
from samples import both_splits, noise_images, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.cli.result_text import print_result
from repsim_energy.comparison.reduced_precision import change_of
from repsim_energy.errors import UsageError
from repsim_energy.numerics.processor import processor_features
from repsim_energy.training import device

IMAGES = both_splits(noise_images(60, (3, 12, 12)))


@pytest.fixture
def units(monkeypatch):
    """Every processor has a feature that stands for a unit of bfloat16, and no limit is set.

    oneDNN reads the real limit once, at its first product, so that this may not be changed here.
    """
    monkeypatch.setattr(device, "BFLOAT16_UNITS", processor_features().split()[:1])
    monkeypatch.setattr(device, "LIMITS", ("LIMIT_OF_THIS_TEST",))


def networks():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return {label: small_cnn(2, 3, widths=(6, 8)) for label in "ab"}


class Watching:
    """Compares nothing and keeps what it was given, and a product under the settings there."""

    name = "watching"
    operates_on = "activations"
    direction = "similarity"
    bounds = (0.0, 1.0)
    invariances = frozenset()

    def __init__(self, batch):
        self.batch, self.given, self.products = batch, [], []

    def represent(self, subject):
        self.given.append(subject.values.clone())
        self.products.append((torch.eye(2) @ torch.eye(2)).dtype)
        return np.zeros(1)

    def compare(self, a, b):
        return 0.5

    def null_interval(self, a, b):
        return np.nan, np.nan


@pytest.mark.parametrize("batch", [None, 20])
@pytest.mark.parametrize("pool", ["flatten", "mean"])
def test_networks_compute_in_bfloat16_and_metrics_in_float32(batch, pool, units):
    metric = Watching(batch)
    rs.compare(networks(), IMAGES, metric, layers="convs", pool=pool, precision="bfloat16")
    assert {values.dtype for values in metric.given} == {torch.float32}
    assert set(metric.products) == {torch.float32}
    exact, reduced = metric.given[: len(metric.given) // 3], metric.given[len(metric.given) // 3 :]
    coarse = [torch.equal(values, values.bfloat16().float()) for values in reduced]
    if pool == "flatten":
        assert all(coarse)
    assert not any(torch.equal(values, values.bfloat16().float()) for values in exact)
    assert all(not torch.equal(x, y) for x, y in zip(exact, reduced, strict=False))


@pytest.mark.parametrize("metric", ["cka", "cka:batch=20", "cka:estimator=biased"])
def test_the_recorded_change_is_that_from_float32(metric, units):
    exact, reduced = (
        rs.compare(networks(), IMAGES, metric, layers=["convs", "output"], precision=precision)
        for precision in ("float32", "bfloat16")
    )
    change = np.abs(exact.similarity.values - reduced.similarity.values)
    assert 0 < np.nanmax(change) < 0.005
    assert float(reduced.attrs["precision_change"]) == pytest.approx(np.nanmax(change), rel=0.06)
    assert reduced.attrs["precision_images"] == "60"
    assert 0 <= float(reduced.attrs["precision_median_change"]) < np.nanmax(change)
    assert "precision" not in exact.attrs
    assert reduced.attrs["precision"] == "bfloat16"
    assert "precision='bfloat16'" in reduced.attrs["command"].replace('"', "'")


def test_the_change_is_printed(units, capsys):
    result = rs.compare(networks(), IMAGES, "cka", precision="bfloat16")
    print_result(result)
    change = result.attrs["precision_change"]
    said = " ".join(capsys.readouterr().out.split())
    assert (
        f"images shown in bfloat16; on the first 60, that changes similarities by at most {change}"
        in said
    )


def test_only_the_first_images_are_shown_twice_in_whole_batches(units):
    many = both_splits(noise_images(300, (3, 8, 8)))
    result = rs.compare(networks(), many, "cka:batch=40", images=300, precision="bfloat16")
    assert result.attrs["precision_images"] == "245"  # seven batches of 35 of the first 250
    assert result.n_images.item() == 296


class Offset(nn.Module):
    """Adds a number that bfloat16 stores in steps of 4, far more than what images change."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.conv.bias.data += 1000
        self.head = nn.Linear(6, 2)

    def forward(self, images):
        return self.head(self.conv(images).mean((2, 3)))


def test_a_change_that_is_too_large_is_refused_with_its_layers(units):
    with pytest.raises(UsageError, match=r"layer 'conv' of .*expected at most 0\.005") as said:
        rs.compare(
            {"far": Offset(), **networks()}, IMAGES, "cka", layers="convs", precision="bfloat16"
        )
    assert "\n" not in str(said.value)
    rs.compare({"far": Offset(), **networks()}, IMAGES, "cka", layers="convs")


def test_a_similarity_that_is_lost_changes_infinitely():
    exact = np.array([[1.0, 0.5], [0.5, 1.0]])
    lost = np.array([[1.0, np.nan], [np.nan, 1.0]])
    assert change_of(exact, lost, 9).largest == np.inf
    assert change_of(lost, exact, 9).largest == np.inf
    assert np.isnan(change_of(lost, lost, 9).largest)
    assert np.isnan(change_of(np.eye(1), np.eye(1), 9).largest)  # of one layer there is no pair


@pytest.mark.parametrize(("limit", "units_of"), [("AVX2", 1), ("", 0)])
def test_processors_without_units_refuse_it_before_anything_is_shown(
    limit, units_of, units, monkeypatch
):
    monkeypatch.setattr(device, "BFLOAT16_UNITS", processor_features().split()[:units_of])
    monkeypatch.setenv("LIMIT_OF_THIS_TEST", limit)
    with pytest.raises(UsageError, match="precision=bfloat16, for which this processor"):
        rs.compare(networks(), IMAGES, "cka", precision="bfloat16")


def test_metrics_without_bounds_and_unknown_precisions_are_refused(units):
    metric = Watching(None)
    metric.bounds = (0.0, np.inf)
    with pytest.raises(UsageError, match="metrics with two bounds, and 'watching' has not"):
        rs.compare(networks(), IMAGES, metric, precision="bfloat16")
    with pytest.raises(UsageError, match="unknown precision 'float16'"):
        rs.compare(networks(), IMAGES, "cka", precision="float16")
