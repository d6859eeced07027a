"""Filters of deeper layers: equal networks, known first layers, slow alignment, refusals."""

import copy
import warnings

import numpy as np
import pytest
import torch
from samples import RECIPE, both_splits, noise_images, small_cnn
from scipy.linalg import orthogonal_procrustes
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison.layer_alignment import InputMoments, carry_filters
from repsim_energy.comparison.layer_patches import layer_bases
from repsim_energy.comparison.layer_profiles import profile_of

WAYS = ("rank", "input")


@pytest.fixture(autouse=True)
def same_weights():
    torch.manual_seed(0)


def net(*widths, padding=0):
    made = small_cnn(3, 3, widths=widths)
    for part in made.modules():
        if isinstance(part, nn.Conv2d):
            part.padding = (padding, padding)
            nn.init.uniform_(part.bias, 0.2, 0.4)  # no dead channels
    return made


def permuted(network):
    """The same function of the image, with the channels of the first convolution permuted."""
    other = copy.deepcopy(network)
    order = torch.tensor([3, 0, 4, 1, 2])
    with torch.no_grad():
        other[0].weight.copy_(network[0].weight[order])
        other[0].bias.copy_(network[0].bias[order])
        other[2].weight.copy_(network[2].weight[:, order])
    return other


def between(result, variable="similarity"):
    """The (layer, layer) numbers between the first two networks."""
    return result[variable].values[0, 0, 0, :, 0, 1, 0, :]


@pytest.mark.parametrize("align", WAYS)
def test_permuted_channels_are_the_same_network(data, align):
    one = net(5, 6, padding=1)
    result = rs.compare({"a": one, "b": permuted(one)}, data, layers="convs", align=align)
    np.testing.assert_allclose(np.diag(between(result)), 1, atol=1e-6)
    further = {"rank": "compared_components", "input": "input_similarity"}[align]
    expected = {"rank": [27, 45], "input": [1, 1]}[align]
    np.testing.assert_allclose(np.diag(between(result, further)), expected, atol=1e-6)
    assert result.attrs["align"] == align
    assert result.attrs["basis"] == "own"
    other = rs.compare({"a": one, "b": net(5, 6, padding=1)}, data, layers="convs", align=align)
    assert np.diag(between(other))[1] < 0.9


@pytest.mark.parametrize("align", WAYS)
def test_first_layers_have_the_similarity_on_the_basis_of_the_images(data, align):
    """Their input is the image: no alignment changes it, and both have one basis."""
    pair = {"a": net(5, 6), "b": net(5, 6)}
    known = rs.compare(pair, data, null="metric")
    found = rs.compare(pair, data, layers=["0", "2"], align=align, images=60)
    np.testing.assert_allclose(
        between(found)[0, 0], known.similarity.values[0, 0, 0, 0, 1, 0], 1e-5
    )
    low, high = (known[name].values[0, 0, 0, 0, 1, 0] for name in ("null_low", "null_high"))
    assert between(found, "null_low")[0, 0] == low
    assert between(found, "null_high")[0, 0] == high
    np.testing.assert_allclose(
        found.layer_energy.values[0, :, 0, 0, :27],
        known.energy.sel(stage="trained").values[0, :, 0],
        rtol=1e-4,
    )


def test_input_alignment_is_that_of_procrustes_on_all_positions():
    generator = torch.Generator().manual_seed(1)
    a, b = (torch.randn(9, c, 4, 5, generator=generator) for c in (3, 5))
    b[:, :3] += 2 * a.flip(1)
    moments = InputMoments({(0,): 3, (1,): 5})
    for part in (slice(0, 4), slice(4, 9)):
        moments.add({(0,): a[part], (1,): b[part]})
    alignment, similarity = moments.align((0,), (1,))
    rows = [x.double().transpose(0, 1).flatten(1).T.numpy() for x in (a, b)]
    rows = [x - x.mean(0) for x in rows]
    u, s, vh = np.linalg.svd(rows[0].T @ rows[1], full_matrices=False)
    np.testing.assert_allclose(alignment, u @ vh, atol=1e-10)
    scale = np.linalg.norm(rows[0]) * np.linalg.norm(rows[1])
    assert similarity == pytest.approx(s.sum() / scale)
    square, _ = orthogonal_procrustes(rows[1][:, :3], rows[0])
    third = InputMoments({(0,): 3, (1,): 3})
    third.add({(0,): a, (1,): b[:, :3]})
    np.testing.assert_allclose(third.align((0,), (1,))[0], square.T, atol=1e-10)


def test_carried_filters_respond_to_the_rotated_input_as_before():
    generator = torch.Generator().manual_seed(2)
    maps = torch.randn(2, 4, 6, 6, generator=generator, dtype=torch.float64)
    filters = torch.randn(3, 4, 3, 3, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    rotated = torch.einsum("ac,nchw->nahw", rotation, maps)
    before = nn.functional.conv2d(maps, filters)
    after = nn.functional.conv2d(rotated, carry_filters(filters, rotation))
    torch.testing.assert_close(after, before)


def test_the_mean_of_both_directions_written_out(data):
    a, b = net(5, 6), net(4, 6)
    result = rs.compare({"a": a, "b": b}, data, layers=["2"], align="input", normalize="none")
    images = data.train.images.float() / 255
    with torch.no_grad():
        x, y = a[:2](images), b[:2](images)
    rows = [maps.double().transpose(0, 1).flatten(1).T for maps in (x, y)]
    rows = [maps - maps.mean(0) for maps in rows]
    u, _, vh = torch.linalg.svd(rows[0].T @ rows[1], full_matrices=False)
    bases = [layer_bases(each, ["2"], images)["2"] for each in (a, b)]
    filters = [each[2].weight.detach().double() for each in (a, b)]
    carried = [
        torch.einsum("ac,kcij->kaij", u @ vh, filters[1]),
        torch.einsum("ca,kcij->kaij", u @ vh, filters[0]),
    ]
    r = [
        rs.profile_similarity(rs.energy_profile(own, basis), rs.energy_profile(other, basis))
        for own, other, basis in zip(filters, carried, bases, strict=True)
    ]
    assert between(result)[0, 0] == pytest.approx(np.mean(r), abs=1e-6)


def test_by_rank_the_common_leading_components_are_compared(data):
    result = rs.compare({"a": net(5, 6), "b": net(4, 6)}, data, layers=["2"], align="rank")
    energy = result.layer_energy.values[0, :, 0, 0]
    assert between(result, "compared_components")[0, 0] == 36
    assert result.components_with_variance.values.ravel().tolist() == [45, 36]
    expected = np.corrcoef(energy[0, :36], energy[1, :36])[0, 1]
    assert between(result)[0, 0] == pytest.approx(expected)
    assert between(result, "null_high")[0, 0] == rs.pearson_null_interval(36)[1]


def test_what_layers_do_not_have_in_common_is_nan(data):
    mixed = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Tanh(), nn.Conv2d(5, 6, 5), nn.AvgPool2d(2))
    pair = {"a": net(5, 6), "b": nn.Sequential(*mixed, nn.Flatten(), nn.LazyLinear(3))}
    pair["b"](torch.zeros(1, 3, 12, 12))
    result = rs.compare(pair, data, layers="convs", align="input")
    similarity = between(result)
    assert np.isfinite(similarity[0, 0])
    assert np.isnan(similarity[1, 1])  # 3x3 and 5x5
    assert np.isnan(similarity[0, 1])  # maps of different size


def two_convolutions(num_classes, in_channels):
    return small_cnn(num_classes, in_channels, widths=(5, 6))


@pytest.mark.filterwarnings("ignore:components of the patches")
def test_stages_of_networks_that_are_trained_here(data):
    options = {"seeds": 2, "recipe": RECIPE}
    deeper = {"layers": "convs", "align": "rank", "images": 60, **options}
    stages = {
        stage: rs.compare(two_convolutions, data, stage=stage, **deeper)
        for stage in ("init", "trained", "change", "auto")
    }
    assert stages["auto"].attrs["stage"] == "change"
    np.testing.assert_array_equal(stages["auto"].layer_energy, stages["change"].layer_energy)
    first = rs.compare(two_convolutions, data, **options)
    for stage in ("init", "trained", "change"):
        deep = stages[stage].sel(layer="0").layer_energy.values[..., :27]
        known = first.energy.sel(stage=stage).values
        np.testing.assert_allclose(deep, known, rtol=1e-3)  # no padding: the basis of the images
    assert np.isfinite(stages["change"].similarity.values[0, 0, 0, :, 0, 0, 1, :].diagonal()).all()


def test_one_network_needs_no_word_and_has_profiles(data):
    one = net(5, 6)
    result = rs.compare({"a": one}, data, layers="all", normalize="none", images=60)
    assert result.layer.values.tolist() == ["0", "2", "6"]
    assert result.attrs["align"] == ""
    basis = layer_bases(one, ["2"], data.train.images)["2"]
    expected = profile_of(one[2].weight, basis)
    numbers = result.sel(layer="2").isel(dataset=0, model=0, seed=0)
    np.testing.assert_allclose(numbers.layer_energy.values[:45], expected.energy, rtol=1e-6)
    assert np.isnan(numbers.layer_energy.values[45:]).all()
    assert float(numbers.layer_fit_correlation) == pytest.approx(expected.fit.correlation)
    assert float(numbers.whitening_exponent) == pytest.approx(expected.whitening)
    assert int(numbers.whitened_components) == expected.whitened


def test_components_that_theory_has_whitened():
    images = torch.rand(20, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    basis = rs.patch_moments(images.cumsum(3), (2, 2)).basis()
    variance = basis.eigenvalues
    step_size = 0.5 / float(variance[0])
    for steps, expected in ((1, 0), (1e9, 8), (2.2, 1)):
        curve = rs.theoretical_profile(variance, step_size=step_size, steps=steps)
        found = profile_of(torch.from_numpy(curve)[:, None] * basis.components * 8**0.5, basis)
        np.testing.assert_allclose(found.energy, curve, rtol=1e-6)
        assert found.whitened == expected


def test_a_metric_of_a_plugin_gets_the_filters_on_their_own_basis(data):
    class Share:
        name, operates_on, direction = "share", "filters", "similarity"
        bounds, invariances = (-1.0, 1.0), frozenset()

        def represent(self, bank):
            return rs.energy_profile(bank.filters, bank.basis)

        def compare(self, a, b):
            return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

        def null_interval(self, a, b):
            return (0.0, 0.5)

    one = net(5, 6)
    for align in WAYS:
        result = rs.compare({"a": one, "b": permuted(one)}, data, Share(), layers="2", align=align)
        assert between(result)[0, 0] == pytest.approx(1)
        assert between(result, "null_high")[0, 0] == 0.5


def test_refusals_say_what_to_write(data):
    pair = {"a": net(5, 6), "b": net(5, 6)}
    with pytest.raises(rs.UsageError, match=r"no common basis.*align=rank: .*; align=input: "):
        rs.compare(pair, data, layers="convs")
    with pytest.raises(rs.UsageError, match=r"got align='svd', expected one of: align=rank"):
        rs.compare(pair, data, layers="convs", align="svd")
    with pytest.raises(rs.UsageError, match="stage 'change' of deeper layers needs the network"):
        rs.compare(pair, data, layers="convs", align="rank", stage="change")
    with pytest.raises(rs.UsageError, match="fold=bn, which applies to first layers"):
        rs.compare(pair, data, layers="convs", align="rank", fold="bn")
    with pytest.raises(rs.UsageError, match="filters alone and has no deeper layers"):
        rs.compare({"a": torch.randn(4, 3, 3, 3)}, data, layers="convs")
    with pytest.raises(rs.UsageError, match="'a': .*nothing"):
        rs.compare(pair, data, layers="nothing", align="rank")
    with pytest.raises(rs.UsageError, match="images=0"):
        rs.compare(pair, data, layers="convs", align="rank", images=0)
    scaled = "deadleaves:count=60+alpha_scaled:component=1:alpha=2"
    with pytest.raises(rs.UsageError, match="transformed in the first layer alone"):
        rs.compare("vgg11:width=0.03125", scaled, layers="convs", align="rank", recipe=RECIPE)


def test_a_broken_network_fails_alone(data):
    broken = net(5, 6)
    broken[2].weight.data.fill_(torch.nan)
    pair = {"a": net(5, 6), "b": broken}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = rs.compare(pair, data, layers="convs", align="rank")
    line = "b: the filters of layer '2' hold NaN or infinite numbers; its pairs are NaN"
    assert result.attrs["failures"] == line
    assert np.isfinite(between(result)[:, 0]).all()
    assert np.isnan(between(result)[:, 1]).all()
    broken[0].bias.data.fill_(torch.inf)
    result = rs.compare(pair, data, layers="2", align="rank")
    assert "b: layer '2': the input of the layer holds NaN" in result.attrs["failures"]
    with pytest.raises(rs.RepsimError, match="holds NaN"):
        rs.compare({"b": broken}, data, layers="2")


@pytest.mark.parametrize("align", WAYS)
def test_the_command_prints_layers(repsim, tmp_path, align, fresh_cache):
    done = repsim(
        *(
            "compare",
            "--models",
            "vgg11:width=0.03125:filters=4",
            "--dataset",
            "deadleaves:count=120",
        ),
        *(
            "--layer",
            "features.0.0,features.2.0",
            "--align",
            align,
            "--recipe",
            "quick:steps=4:batch=20",
        ),
        *("--jobs", "1", "-o", str(tmp_path / "x.nc")),
    )
    assert done.returncode == 0, done.stderr
    assert f"stage change, align {align}" in done.stdout
    assert "features.2.0" in done.stdout
    result = rs.open_result(tmp_path / "x.nc")
    assert result.attrs["align"] == align
    assert result.sizes["layer"] == 2
    rs.write_report(result, tmp_path / "x.html", figures=False)
    text = (tmp_path / "x.html").read_text("utf-8")
    assert "all filters of the layer" in text
    assert {"rank": "those of equal rank", "input": "orthogonal alignment"}[align] in text


def test_images_are_of_the_training_split():
    both = both_splits(noise_images(80, (3, 12, 12)))
    result = rs.compare({"a": net(3, 3)}, both, layers="convs", images=50)
    assert result.n_images.values.tolist() == [50]
    with pytest.warns(rs.RepsimWarning, match="images=90, but 'noise' has 80 training images"):
        result = rs.compare({"a": net(3, 3)}, both, layers="convs", images=90)
    assert result.n_images.values.tolist() == [80]


@pytest.mark.parametrize(("option", "value"), [("null", "smooth"), ("resamples", 20)])
def test_options_of_first_layers_are_refused_for_deeper_ones(data, option, value):
    with pytest.raises(rs.UsageError, match=f"got {option}={value}, which is for first layers"):
        rs.compare({"a": net(5, 6)}, data, layers="convs", **{option: value})
