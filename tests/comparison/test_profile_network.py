"""The profile of one network: a comparison with the atlas, and the quality of its filters."""

import math

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samples import LEAVES, TINY, noise_images, small_cnn
from torch import nn

import repsim_energy as rs

RECIPE = "quick:steps=4:batch=20:snapshots=2:precision=float32"


@pytest.fixture
def network(rng):
    """A network with a batch norm, a dead filter and two that are duplicates."""
    torch.manual_seed(0)
    net = small_cnn(10, 3, widths=(8,), norm=True)
    with torch.no_grad():
        net[0].weight[2] = -3 * net[0].weight[1]
        net[0].weight[5] = 0
        net[1].weight.copy_(torch.rand(8, generator=rng) + 0.5)
        net[1].running_var.copy_(torch.rand(8, generator=rng) + 0.5)
    return net.eval()


def same_size(shape=(3, 3, 3)):
    return {n: e for n, e in rs.open_atlas().items() if tuple(e.filters.shape[1:]) == shape}


@pytest.mark.parametrize("fold", ["", "bn"])
def test_it_is_a_comparison_with_the_atlas(network, pictures, fold):
    profiled = rs.profile_network({"mine": network}, pictures, fold=fold)
    banks = {n: e.folded if fold else e.filters for n, e in same_size().items()}
    words = {"fold": {"mine": "bn"}} if fold else {}
    words |= {"stage": "trained", "null": "white", "resamples": 0}
    compared = rs.compare({"mine": network, **banks}, pictures, seeds=1, **words)
    for name in compared.variables:
        assert profiled[name].variable.identical(compared[name].variable), name
    assert profiled.attrs["profiled"] == "mine"
    assert profiled.attrs["atlas_left_out"] == len(rs.open_atlas()) - len(banks)
    assert profiled.model.values.tolist() == ["mine", *banks]


def test_quality_is_that_of_the_filters_compared(network, pictures):
    result = rs.profile_network({"mine": network}, pictures)
    wanted = rs.filter_quality(network[0].weight)
    assert (wanted["dead"], wanted["duplicates"]) == (1, 1)
    own = result.sel(model="mine").squeeze()
    for name, value in wanted.items():
        stored = own["filters" if name == "filters" else f"filters_{name}"]
        np.testing.assert_allclose(float(stored), value, rtol=1e-6)
    other = result.sel(model="ppocrv4_det").squeeze()
    entry = rs.open_atlas()["ppocrv4_det"]
    assert float(other.filters_effective_rank) == rs.filter_quality(entry.filters)["effective_rank"]
    for one in (own, other):
        profile = one.energy.sel(stage="trained")
        wanted = rs.whitening_distance(profile, result.eigenvalue.values[0])
        assert float(one.whitening_distance) == wanted


def test_entries_are_described(pictures):
    entry = rs.open_atlas()["ultraface_rfb_640"]
    result = rs.profile_network({"mine": entry.filters}, pictures)
    other = result.sel(model="ultraface_rfb_640")
    for fact in ("family", "trained_on", "norm", "license", "source"):
        assert str(other[fact].item()) == getattr(entry, fact)
        assert result[fact].values[0] == ""


def test_a_network_that_is_in_the_atlas_is_nearest_to_itself(pictures):
    entry = rs.open_atlas()["mtcnn_onet"]
    result = rs.profile_network({"mtcnn_onet": 7 * entry.filters}, pictures)
    similarity = result.similarity.sel(model="mtcnn_onet").squeeze()
    nearest = similarity.drop_sel(model_ref="mtcnn_onet").idxmax().item()
    assert nearest == "mtcnn_onet (atlas)"
    assert float(similarity.sel(model_ref=nearest)) == pytest.approx(1)


def test_files_with_blue_first_are_reordered(tmp_path, pictures):
    entry = rs.open_atlas()["3ddfa_mobilenet_v1_05"]
    path = tmp_path / "mine.safetensors"
    save_file({"conv1.weight": entry.filters.flip(1).contiguous()}, path)
    found = {
        channels: float(
            rs.profile_network(str(path), pictures, channels=channels)
            .similarity.sel(model="mine", model_ref="3ddfa_mobilenet_v1_05")
            .squeeze()
        )
        for channels in ("", "bgr")
    }
    assert found["bgr"] == pytest.approx(1)
    assert found[""] < 0.9999


def test_a_given_network_is_built_once(pictures):
    calls = []

    def build(*_):
        calls.append(1)
        return rs.TrainedModel(small_cnn(10, 3).eval())

    rs.profile_network({"mine": build}, pictures)
    assert len(calls) == 1


@pytest.mark.filterwarnings("ignore::repsim_energy.InitializationWarning")
def test_an_architecture_is_trained_once(fresh_cache):
    result = rs.profile_network(TINY, LEAVES, recipe=RECIPE, seed=3)
    again = rs.profile_network(TINY, LEAVES, recipe=RECIPE, seed=3)
    assert len(list(fresh_cache.rglob("run.json"))) == 1
    assert result.seed.values.tolist() == [3]
    own = result.isel(model=0).squeeze()
    assert int(own.steps) == 4
    run = rs.open_run(str(own.run_id.values))
    wanted = rs.filter_quality(run.filters["trained"])["effective_rank"]
    assert float(own.filters_effective_rank) == wanted
    assert not np.isnan(float(own.init_similarity))
    np.testing.assert_array_equal(result.similarity, again.similarity)


def test_gray_networks_meet_gray_entries():
    images = noise_images(40, (1, 12, 12))
    result = rs.profile_network({"mine": torch.randn(8, 1, 5, 5)}, images)
    assert result.model.values.tolist() == ["mine", "lenet5_mnist"]


def test_a_size_without_entries_has_no_neighbors(pictures):
    result = rs.profile_network({"mine": torch.randn(8, 3, 2, 2)}, pictures)
    assert result.model.values.tolist() == ["mine"]
    assert result.attrs["atlas_left_out"] == len(rs.open_atlas())
    assert float(result.filters_effective_rank.squeeze()) > 1
    assert math.isnan(float(result.filters_variance_entropy.squeeze()))


def test_dilated_networks_do_not_meet_plain_entries(pictures):
    net = nn.Sequential(nn.Conv2d(3, 4, 3, dilation=2), nn.Flatten())
    assert rs.profile_network({"mine": net}, pictures).sizes["model"] == 1


def test_it_is_stored_and_drawn_as_a_comparison(tmp_path, network, pictures):
    result = rs.profile_network({"mine": network}, pictures)
    rs.save_result(result, tmp_path / "x.nc")
    assert rs.open_result(tmp_path / "x.nc").identical(result)
    assert len(rs.pairs(result)) > 20
    assert "rs.profile_network(" in result.attrs["command"]


@pytest.mark.filterwarnings("ignore::repsim_energy.InitializationWarning")
def test_the_call_is_recorded():
    result = rs.profile_network("linear_cnn:filters=8", LEAVES, recipe=RECIPE)
    assert 'rs.profile_network(\n    "linear_cnn:filters=8",' in result.attrs["command"]
    assert f'images="{LEAVES}"' in result.attrs["command"]


def test_one_network_and_one_data_set_are_asked_for(pictures):
    with pytest.raises(rs.UsageError, match="got 2 networks .*; use compare for more"):
        rs.profile_network("vgg11,resnet18", pictures)
    with pytest.raises(rs.UsageError, match="got 2 data sets"):
        rs.profile_network("vgg11", [pictures, noise_images(9, (3, 8, 8))])


def test_filters_that_are_not_finite_are_refused(pictures):
    with pytest.raises(rs.DataError, match="of 'mine' hold NaN or infinite"):
        rs.profile_network({"mine": torch.full((4, 3, 3, 3), torch.nan)}, pictures)
