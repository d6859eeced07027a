"""The pipeline in Python: what goes in, what comes out, and what is refused before it starts."""

import json

import numpy as np
import pytest
import torch
import xarray as xr
from samples import RECIPE, TINY, broken, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.data.selection import balanced_prefix
from repsim_energy.errors import (
    DataError,
    InitializationWarning,
    RepsimWarning,
    ShapeError,
    TrainingError,
    UsageError,
)
from repsim_energy.interfaces import ImageSet
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.numerics.profiles.energy import unchecked_profile
from repsim_energy.registry import load_registry, resolve_model
from repsim_energy.results import summarize, to_json
from repsim_energy.training.inputs import as_input
from repsim_energy.training.training import Training


@pytest.fixture
def result(data):
    return rs.compare([TINY, small_cnn], data, recipe=RECIPE, seeds=3)


def test_a_result_follows_the_schema(result, tmp_path):
    assert dict(result.similarity.sizes) == {
        "dataset": 1,
        "model": 2,
        "seed": 3,
        "dataset_ref": 1,
        "model_ref": 2,
        "seed_ref": 3,
    }
    assert dict(result.energy.sizes) == {
        "dataset": 1,
        "model": 2,
        "seed": 3,
        "stage": 3,
        "component": 27,
    }
    assert result.components.shape == (1, 27, 3, 3, 3)
    assert result.model.values.tolist() == [TINY, "small_cnn"]
    for name, variable in result.data_vars.items():
        assert variable.attrs["long_name"], name
        assert "units" in variable.attrs, name
    assert result.attrs["stage"] == "change"
    assert result.first_layer.values.tolist() == ["conv", "0"]
    assert result.attrs["self_check"] == "passed"
    assert set(result.patch_products.item().split(",")) <= {"int8", "float32", "float64"}
    assert all(isinstance(value, str | int) for value in result.attrs.values())
    assert json.loads(result.attrs["configuration"])["recipe"]["steps"] == 6
    rs.save_result(result, tmp_path / "r.nc")
    assert rs.open_result(tmp_path / "r.nc").identical(result)
    with xr.open_dataset(tmp_path / "r.nc") as plain:
        assert plain.load().identical(result)
    with xr.open_datatree(tmp_path / "r.nc") as tree:
        assert tree.to_dataset().load().identical(result)


def test_similarities_are_the_correlations_of_the_energies(result):
    change = result.energy.sel(stage="change").values.reshape(6, 27)
    expected = np.corrcoef(change)
    np.testing.assert_allclose(result.similarity.values.reshape(6, 6), expected, atol=1e-10)
    np.testing.assert_allclose(np.diag(expected), 1)


def test_energies_are_those_of_the_kept_filters_on_the_kept_basis(result, data, pictures):
    basis = rs.patch_moments(pictures.images, (3, 3)).basis()
    assert result.basis_id.item() == basis.basis_id
    np.testing.assert_allclose(result.components.values[0].reshape(27, 27), basis.components)
    np.testing.assert_allclose(result.snapshot_energy[0, 0, 0, 0], 0, atol=1e-12)
    np.testing.assert_allclose(
        result.snapshot_energy[0, 0, 0, -1], result.energy[0, 0, 0].sel(stage="change")
    )


def test_a_summary_takes_each_pair_of_seeds_once(result):
    similarity = result.similarity.values[0, :, :, 0]
    summary = summarize(result)
    within = [similarity[0, a, 0, b] for a, b in ((0, 1), (0, 2), (1, 2))]
    assert float(summary["mean"][0, 0]) == pytest.approx(np.mean(within))
    assert float(summary["spread"][0, 0]) == pytest.approx(np.std(within, ddof=1))
    assert float(summary["mean"][0, 1]) == pytest.approx(similarity[0, :, 1].mean())
    assert float(summary["null_high"][0, 1]) == pytest.approx(
        result.null_high.values[0, 0, :, 0, 1].mean()
    )


def test_json_holds_no_nan(result):
    json.loads(to_json(result), parse_constant=lambda name: pytest.fail(name))


def test_own_modules_and_filters_are_taken_as_they_are(pictures, rng):
    module = small_cnn(3, 3)
    bank = torch.randn(5, 3, 3, 3, generator=rng)
    found = rs.compare(
        {"mine": module, "bank": bank, "same": module[0].weight.detach()}, pictures.images
    )
    assert found.attrs["stage"] == "trained"
    assert float(found.similarity.sel(model="mine", model_ref="same")[0, 0, 0, 0]) == pytest.approx(
        1
    )
    assert found.energy.sel(stage="init").isnull().all()
    assert found.sizes["seed"] == found.sizes["seed_ref"] == 1
    assert found.similarity.notnull().all()


def test_cka_sees_the_layers_before_an_inplace_relu_overwrites_them(data):
    module = small_cnn(3, 3)
    found = rs.compare([module], data, "cka", layers=["0", "1", "output"], seeds=1)
    matrix = found.similarity.values.reshape(3, 3)
    assert matrix[0, 1] < 0.999
    np.testing.assert_allclose(np.diag(matrix), 1)
    assert "energy" not in found
    assert found.layer.values.tolist() == ["0", "1", "output"]


def test_cka_of_trained_networks_equals_cka_of_their_activations(data, pictures):
    found = rs.compare([TINY], data, "cka:estimator=biased", seeds=2, recipe=RECIPE, images=30)
    spec = resolve_model(load_registry(), TINY)
    chosen = balanced_prefix(pictures.labels, 30)
    assert pictures.labels[chosen].bincount().tolist() == [10, 10, 10]
    maps = []
    for seed in (0, 1):
        run = Training(spec, data, seed, RECIPE).run(torch.device("cpu"))
        conv = run.network().conv
        maps.append(conv(as_input(pictures.images[chosen], run.normalization)).flatten(1))
    expected = rs.cka(*maps, estimator="biased")
    assert float(found.similarity[0, 0, 0, 0, 0, 0, 1, 0]) == pytest.approx(expected, abs=1e-6)


def test_variants_share_a_basis_and_other_images_do_not(pictures_npz):
    base = f"npz:path={pictures_npz}"
    found = rs.compare([TINY], [base, f"{base}+random_labels"], recipe=RECIPE, seeds=1)
    ids = found.basis_id.values
    assert ids[0] == ids[1]
    assert found.similarity.notnull().all()
    with pytest.warns(RepsimWarning, match="different patch bases"):
        found = rs.compare([TINY], [base, f"{base}:limit=30"], recipe=RECIPE, seeds=1)
    assert np.isnan(found.similarity.values[0, 0, 0, 1, 0, 0])


def test_stages_can_be_chosen(data):
    init = rs.compare([TINY], data, recipe=RECIPE, stage="init")
    with pytest.warns(InitializationWarning, match="seed 0', .* seed 1' has the profile of its"):
        trained = rs.compare([TINY], data, recipe=RECIPE, stage="trained")
    for found, stage in ((init, "init"), (trained, "trained")):
        profiles = found.energy.sel(stage=stage).values[0, 0]
        assert float(found.similarity[0, 0, 0, 0, 0, 1]) == pytest.approx(
            np.corrcoef(profiles)[0, 1]
        )
    with pytest.raises(UsageError, match="initial weights of 'Sequential'"):
        rs.compare([small_cnn(3, 3)], data, stage="change")


def test_a_failed_training_leaves_the_others_and_is_named(data):
    found = rs.compare([TINY, broken], data, recipe=RECIPE, seeds=2)
    failures = found.attrs["failures"].splitlines()
    assert len(failures) == 2
    assert "broken seed 0" in failures[0]
    assert found.similarity.sel(model="broken").isnull().all()
    assert found.similarity.sel(model=TINY, model_ref=TINY).notnull().all()
    with pytest.raises(TrainingError, match="12x12"):
        rs.compare([broken], data, recipe=RECIPE)


def gray(images):
    return ImageSet(images.images[:, :1], images.labels, images.classes, "gray")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (
            {"models": ["vgg11", "lenet5"]},
            ShapeError,
            "'vgg11' sees 3x3x3 patches and 'lenet5' 5x5x3",
        ),
        ({"models": []}, UsageError, "no models"),
        ({"models": ["vgg1"]}, UsageError, "did you mean 'vgg1"),
        ({"models": ["vgg11:widht=2"]}, UsageError, "did you mean 'width'"),
        ({"models": ["vgg11:width=0"]}, UsageError, "got width=0.0"),
        ({"models": [TINY, TINY]}, UsageError, "is listed twice"),
        ({"models": [3]}, UsageError, "type int"),
        ({"metric": "enegry"}, UsageError, "did you mean 'energy'"),
        ({"stage": "late"}, UsageError, "unknown stage 'late'"),
        ({"seeds": 0}, UsageError, "at least one"),
        ({"seeds": [1, 1]}, UsageError, "each once"),
        ({"metric": "cka", "layers": ["nowhere"]}, UsageError, "unknown layer"),
        ({"dataset": torch.full((9, 3, 8, 8), 0.5)}, DataError, "constant"),
        ({"dataset": torch.zeros(0, 3, 8, 8)}, DataError, "no images"),
        ({"dataset": torch.full((9, 3, 8, 8), torch.nan)}, DataError, "NaN"),
        ({"dataset": (torch.rand(9, 3, 2, 2), [0] * 9)}, ShapeError, "smaller than the 3x3 kernel"),
        ({"dataset": (torch.rand(1, 3, 4, 4), [0])}, DataError, "4 patches for 27 components"),
        (
            {"dataset": torch.rand(9, 4, 8, 8), "models": [torch.rand(2, 3, 3, 3)]},
            ShapeError,
            "4 channels but the filters of 'filters' see 3",
        ),
        ({"models": [torch.rand(2, 3, 3, 3)], "metric": "cka"}, UsageError, "filters alone"),
    ],
)
def test_bad_input_is_refused_in_one_line_before_anything_is_trained(
    arguments, error, words, data, fresh_cache
):
    arguments = {"models": [TINY], "dataset": data, "recipe": RECIPE, **arguments}
    with pytest.raises(error, match=words) as caught:
        rs.compare(**arguments)
    assert "\n" not in str(caught.value)
    assert not (fresh_cache / "runs").exists()


def test_gray_images_go_with_networks_built_for_them(data):
    found = rs.compare([TINY], gray(data.train), recipe=RECIPE)
    assert found.sizes["component"] == 9


@pytest.mark.slow
def test_seeds_agree_and_theory_fits_on_real_images(cifar_subset):
    """5,170 CIFAR-10 images, 20 epochs of batch 64 at lr 0.01."""
    found = rs.compare(
        ["vgg11:width=0.25"], f"npz:path={cifar_subset}", recipe="paper:batch=64:epochs=20"
    )
    assert float(summarize(found)["mean"][0, 0]) >= 0.88
    assert float(found.fit_correlation.sel(stage="change").mean()) >= 0.88


@pytest.fixture(params=[torch.float64, torch.float16, torch.bfloat16])
def default_dtype(request):
    """Another default dtype than torch starts with, as scripts set it."""
    before = torch.get_default_dtype()
    yield lambda: torch.set_default_dtype(request.param)
    torch.set_default_dtype(before)


@pytest.mark.parametrize("metric", ["energy", "cka"])
def test_networks_that_are_given_compare_alike_under_any_default_dtype(
    metric, default_dtype, pictures, tmp_path
):
    first, second = small_cnn(3, 3), small_cnn(3, 3)
    torch.save(second.state_dict(), tmp_path / "second.pt")
    models = [first, second] + [f"checkpoint:path={tmp_path}/second.pt"] * (metric == "energy")
    models += [first[0].weight.detach()] * (metric == "energy")
    layers = {"layers": ["0", "output"]} if metric == "cka" else {}
    expected = rs.compare(models, pictures, metric, **layers)
    default_dtype()
    found = rs.compare(models, pictures, metric, **layers)
    np.testing.assert_array_equal(found.similarity, expected.similarity)
    if metric == "energy":
        np.testing.assert_array_equal(found.energy, expected.energy)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_networks_of_any_dtype_are_shown_images(dtype, pictures):
    first, second = small_cnn(3, 3), small_cnn(3, 3)
    expected = rs.compare([first, second], pictures, "cka")
    found = rs.compare([first.to(dtype), second.to(dtype)], pictures, "cka")
    np.testing.assert_allclose(found.similarity, expected.similarity, atol=0.02)


def recorded(metric):
    bank = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    result = rs.compare([bank], noise_images(20, (3, 8, 8)), metric)
    return json.loads(result.attrs["configuration"])["metric"]


class Power(EnergyProfileCorrelation):
    """Has an option that is a public attribute, and something for itself."""

    def __init__(self, power=2):
        self.power, self.calls, self._cache = power, 0, object()


class Hidden(EnergyProfileCorrelation):
    """Does not say what its options are."""

    def __init__(self, power=2, center=True):
        self._power, self.center = power, center


class Slots:
    """Has the whole interface, and no dictionary."""

    __slots__ = ()
    name, operates_on, direction = "slots", "filters", "similarity"
    bounds, invariances = (-1.0, 1.0), frozenset()
    represent = EnergyProfileCorrelation.represent
    compare = EnergyProfileCorrelation.compare
    null_interval = EnergyProfileCorrelation.null_interval


def test_a_metric_is_recorded_by_its_spec_or_its_class_and_public_options():
    name = EnergyProfileCorrelation.name
    for metric, options in ((Power(3), {"power": 3}), (Hidden(), {}), (Slots(), {})):
        place = f"{__name__}.{type(metric).__name__}"
        assert recorded(metric) == {"name": metric.name, "class": place, "options": options}
    assert recorded("energy") == {"name": "energy", "options": {"norm": "none"}}
    assert recorded(name) == {"name": name, "options": {"norm": "none"}}
    found = rs.compare(small_cnn(2, 3), noise_images(20, (3, 8, 8)), "cka:estimator=biased")
    assert json.loads(found.attrs["configuration"])["metric"] == {
        "name": "cka",
        "options": {"batch": None, "estimator": "biased"},
    }


def test_a_profile_is_measured_once_per_network_and_stage(monkeypatch):
    """Each measurement is of other filters, and the metric measures none again."""
    seen = []

    def measured(filters, basis):
        seen.append(filters.numpy().tobytes())
        return unchecked_profile(filters, basis)

    for module in ("comparison.common_patch", "metrics.energy"):
        monkeypatch.setattr(f"repsim_energy.{module}.unchecked_profile", measured)
    generator = torch.Generator().manual_seed(0)
    banks = [torch.randn(4, 3, 3, 3, generator=generator) for _ in range(3)]
    rs.compare(banks, noise_images(20, (3, 8, 8)), resamples=0, null="metric")
    assert len(seen) == len(set(seen)) == 3
