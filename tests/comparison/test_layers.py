"""Many layers in one pass: batches against a slow sum, groups against the whole, memory."""

import numpy as np
import pytest
import torch
from samples import RECIPE, TINY, broken, small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison import layers as compared_layers
from repsim_energy.comparison import memory
from repsim_energy.comparison.layers import groups_of
from repsim_energy.errors import RepsimError, RepsimWarning, UsageError
from repsim_energy.interfaces import Dataset, ImageSet
from repsim_energy.results import summarize
from repsim_energy.training.inputs import as_input, normalization_of


def net(*widths):
    return small_cnn(3, 3, widths=widths)


def hsic(x, y):
    """Equation 5 of Song et al. (2012), written out."""
    k, m = x @ x.T, y @ y.T
    k, m = k - torch.diag(k.diagonal()), m - torch.diag(m.diagonal())
    n, one = len(x), torch.ones(len(x), dtype=torch.float64)
    return float(
        torch.trace(k @ m)
        + (one @ k @ one) * (one @ m @ one) / ((n - 1) * (n - 2))
        - 2 / (n - 2) * (one @ k @ m @ one)
    ) / (n * (n - 3))


def test_batches_are_summed_before_the_one_ratio_is_taken(data, pictures):
    """Against the definition, on the images in the order in which they are dealt out."""
    first, second = net(5, 6), net(5, 6)
    found = rs.compare({"a": first, "b": second}, data, "cka:batch=24", layers=["convs"], images=60)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(0))
    normalization = normalization_of(pictures)
    features = []
    for module in (first, second):
        for last in (1, 3):
            with torch.no_grad():
                maps = module[:last](as_input(pictures.images[order], normalization))
            features.append(maps.flatten(1).double().split(20))  # three batches of at most 24
    sums = np.array([[sum(map(hsic, x, y)) for y in features] for x in features])
    expected = sums / np.sqrt(np.outer(sums.diagonal(), sums.diagonal()))
    matrix = found.similarity.values[0, :, 0, :, 0, :, 0, :].reshape(4, 4)
    np.testing.assert_allclose(matrix, expected, atol=1e-6)
    assert found.layer.values.tolist() == ["0", "2"]
    assert found.n_images.values.tolist() == [60]
    assert (found.null_low < found.null_high).values[0, 0, 0, 0, 0, 1, 0, 0]


def test_a_batch_of_all_images_is_the_whole(data):
    modules = {"a": net(5, 6), "b": net(5, 6)}
    whole, once = (
        rs.compare(modules, data, metric, layers=["convs", "output"], images=60)
        for metric in ("cka", "cka:batch=60")
    )
    for name in ("similarity", "null_low", "null_high"):
        np.testing.assert_allclose(whole[name], once[name], atol=1e-6)


def test_layers_in_groups_are_the_layers_at_once(data, monkeypatch):
    module = net(5, 6, 7)
    at_once = rs.compare([module], data, "cka", layers=["convs", "output"], images=40)
    monkeypatch.setattr(compared_layers, "MAX_ACTIVATION_BYTES", 4 * 40 * 600)
    sizes = {"0": 5 * 10 * 10, "2": 6 * 8 * 8, "4": 7 * 6 * 6, "output": 3}
    assert groups_of(sizes, 40) == [["0"], ["2"], ["4", "output"]]
    in_groups = rs.compare([module], data, "cka", layers=["convs", "output"], images=40)
    np.testing.assert_array_equal(at_once.similarity, in_groups.similarity)


def test_groups_fit_and_hold_every_layer_once(monkeypatch):
    monkeypatch.setattr(compared_layers, "MAX_ACTIVATION_BYTES", 4000)
    assert groups_of({"a": 30, "b": 70, "c": 1, "d": 500, "e": 99}, 10) == [
        ["a", "b"],
        ["c"],
        ["d"],
        ["e"],
    ]


def test_models_need_not_share_layers(data):
    found = rs.compare(
        {"a": net(5, 6), "b": net(4, 4, 4)}, data, "cka:batch=20", layers=["convs"], images=60
    )
    assert found.layer.values.tolist() == ["0", "2", "4"]
    own = found.similarity.sel(seed=0, seed_ref=0).squeeze(drop=True)
    assert own.sel(model="a", layer="4").isnull().all()
    assert own.sel(model="a", model_ref="b", layer="2", layer_ref="4").notnull()


def test_other_labels_are_shown_the_same_images(data, pictures):
    other = ImageSet(pictures.images, pictures.labels.flip(0), pictures.classes, "flipped")
    sets = [data, Dataset("flipped", other, other)]
    module = net(5, 6)
    found = rs.compare([module], sets, "cka", layers=["2"], images=20)
    assert found.similarity.sel(seed=0, seed_ref=0).values == pytest.approx(1)


def test_a_model_is_summarized_across_its_networks(data):
    found = rs.compare([TINY], data, "cka", layers=["conv", "output"], recipe=RECIPE, seeds=2)
    values = found.similarity.values[0, 0, :, :, 0, 0]  # seed, layer, seed_ref, layer_ref
    summary = summarize(found)["mean"].values
    assert summary[0, 0] == pytest.approx(values[0, 0, 1, 0])
    assert summary[0, 1] == pytest.approx((values[0, 0, 1, 1] + values[1, 0, 0, 1]) / 2)
    alone = rs.compare([net(5, 6)], data, "cka", layers=["0", "2"])
    within = alone.similarity.values[0, 0, 0, 0, 0, 0, 0, 1]
    assert summarize(alone)["mean"].values[0, 1] == pytest.approx(within)


def test_what_does_not_fit_is_refused_before_anything_is_trained(data, monkeypatch, fresh_cache):
    monkeypatch.setattr(memory, "available_memory", lambda: 30_000.0)
    with pytest.raises(UsageError, match=r"60 images and 2 layers take .* cka:batch=256"):
        rs.compare([TINY], data, "cka", layers=["conv", "output"], recipe=RECIPE)
    with pytest.raises(UsageError, match="name fewer layers$"):
        rs.compare([TINY], data, "cka:batch=20", layers=["conv", "output"], recipe=RECIPE)
    assert not (fresh_cache / "runs").exists()


def test_much_memory_is_said_beforehand(data, monkeypatch):
    monkeypatch.setattr(memory, "MIN_ANNOUNCED_BYTES", 1000)
    with pytest.warns(RepsimWarning, match="60 images and 1 layers take 0.0 GB of memory"):
        rs.compare([net(5, 6)], data, "cka")


@pytest.mark.parametrize(
    ("metric", "layers", "error", "words"),
    [
        ("cka:batch=3", ["first"], UsageError, "batch is 3, expected at least 12"),
        ("cka:batch=30:estimator=biased", ["first"], UsageError, "debiased estimator alone"),
        ("cka", ["1"], UsageError, "'1' is used several times"),
    ],
)
def test_bad_input_is_refused_before_anything_is_trained(
    metric, layers, error, words, data, fresh_cache
):
    def twice(num_classes, in_channels):
        shared = nn.ReLU()
        return nn.Sequential(nn.Conv2d(in_channels, 4, 3), shared, nn.Sequential(shared))

    with pytest.raises(error, match=words):
        rs.compare([twice], data, metric, layers=layers, recipe=RECIPE)
    assert not (fresh_cache / "runs").exists()


def test_a_model_that_fails_on_the_images_is_named(data):
    with pytest.raises(RepsimError, match="'broken' failed on the images"):
        rs.compare([broken], data, "cka", recipe=RECIPE)
