"""Sweeps: each point is a comparison of its own, trainings are shared, failures are contained."""

import json
import warnings
from collections import Counter

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from samples import Heard, both_splits, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.comparison.axes import axes_of
from repsim_energy.errors import RepsimWarning, TrainingError, UsageError
from repsim_energy.results import as_comparison
from repsim_energy.training.training import Training

DATA = both_splits(noise_images(60, (3, 8, 8)))
FAST = "quick:steps=3:batch=20:precision=float32"
CHEAP = {"null": "metric", "resamples": 0}
"""Without the draws that take most of the time of a point."""

OWN = {"command", "configuration", "created", "failures", "sweep"}


@pytest.fixture
def trained(monkeypatch):
    """The labels of the trainings that were run, not read from the cache."""
    labels = []
    before = Training._train

    def train(self, *args):
        labels.append(self.label)
        return before(self, *args)

    monkeypatch.setattr(Training, "_train", train)
    return labels


@pytest.fixture
def file(tmp_path):
    """The images as a file, whose options can be varied."""
    path = tmp_path / "noise.npz"
    images = DATA.train.images.permute(0, 2, 3, 1).numpy()
    labels = DATA.train.labels.numpy()
    np.savez(path, x_train=images, y_train=labels, x_test=images, y_test=labels)
    return f"npz:path={path}"


def assert_is(point, alone, axes):
    """Compare a point of a sweep with the comparison that it is."""
    point = point.drop_vars(axes)
    assert set(point.data_vars) == set(alone.data_vars)
    for name, variable in alone.variables.items():
        if name in point.variables:
            xr.testing.assert_identical(point[name].variable, variable)
        else:
            assert variable.attrs["long_name"].startswith("option ")
    shared = {k: v for k, v in alone.attrs.items() if k not in OWN}
    assert {k: v for k, v in point.attrs.items() if k not in OWN} == shared


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_each_point_is_the_comparison_with_its_values(fresh_cache, file):
    vary = {"model.filters": [4, 6], "dataset.limit": "40,60", "recipe.lr": [0.1]}
    models = ["linear_cnn", "two=linear_cnn:width=2"]
    how = {"null": "white", "resamples": 4}
    swept = rs.sweep(models, file, vary=vary, recipe=FAST, **how)
    assert list(swept.sizes)[:3] == ["model_filters", "dataset_limit", "recipe_lr"]
    assert swept.dataset_limit.dtype == np.int64
    assert swept.recipe_lr.dtype == np.float64
    for filters, limit, lr in ((4, 60, 0.1), (6, 40, 0.1)):
        models = [f"linear_cnn=linear_cnn:filters={filters}"]
        models += [f"two=linear_cnn:width=2:filters={filters}"]
        data = rs.load_images(f"{file}:limit={limit}")
        data = rs.Dataset(file, data.train, data.test, data.origins)
        alone = rs.compare(models, data, recipe=f"{FAST}:lr={lr}", **how)
        point = swept.sel(model_filters=filters, dataset_limit=limit, recipe_lr=lr)
        assert_is(point, alone, ["model_filters", "dataset_limit", "recipe_lr"])


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_values_of_the_metric_share_their_trainings(fresh_cache, trained):
    heard = Heard()
    vary = {"recipe.lr": [0.01, 0.1], "metric.estimator": ["debiased", "biased"]}
    swept = rs.sweep(small_cnn, DATA, "cka", vary=vary, recipe=FAST, reporter=heard)
    assert sorted(Counter(trained).values()) == [1, 1, 1, 1]  # two seeds at two step sizes
    assert (
        "4 points (2 recipe.lr x 2 metric.estimator) of 8 networks, which share 4"
        in (heard.lines[0])
    )
    debiased, biased = (swept.similarity.sel(metric_estimator=e) for e in ("debiased", "biased"))
    assert not np.allclose(debiased, biased, equal_nan=True)
    assert swept.metric_estimator.values.tolist() == ["debiased", "biased"]


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_the_command_of_a_sweep_makes_it_again(fresh_cache, file):
    vary = {"recipe.lr": [0.01, 0.1]}
    swept = rs.sweep("linear_cnn:filters=4", file, vary=vary, recipe=FAST, null="white", jobs=1)
    made = {}
    exec(swept.attrs["command"], made)  # noqa: S102
    assert "null=" in swept.attrs["command"]
    assert "jobs" not in swept.attrs["command"]
    again = made["result"].drop_attrs(deep=False)
    xr.testing.assert_identical(again, swept.drop_attrs(deep=False))


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_a_sweep_goes_on_with_what_is_in_the_cache(fresh_cache, trained):
    first = rs.sweep("linear_cnn", DATA, vary={"model.filters": [4]}, recipe=FAST, **CHEAP)
    more = rs.sweep("linear_cnn", DATA, vary={"model.filters": [6, 4]}, recipe=FAST, **CHEAP)
    assert len(trained) == 4
    xr.testing.assert_equal(first.energy.isel(model_filters=0), more.energy.sel(model_filters=4))


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_a_point_whose_trainings_fail_is_nan_and_named(fresh_cache, trained):
    vary = {"recipe.lr": [0.01, 1e38]}
    with pytest.warns(RepsimWarning, match=r"no network was trained at 1 of 2 .*recipe_lr=1e\+38"):
        swept = rs.sweep("two_layer_cnn", DATA, vary=vary, recipe=FAST, **CHEAP)
    lines = swept.attrs["failures"].splitlines()
    assert [line.partition(":")[0] for line in lines] == [
        f"two_layer_cnn seed {seed} at recipe_lr=1e+38" for seed in (0, 1)
    ]
    assert swept.energy.sel(recipe_lr=0.01).notnull().any()
    assert swept.energy.sel(recipe_lr=1e38).isnull().all()
    assert (swept.steps.sel(recipe_lr=1e38) == -1).all()
    assert swept.eigenvalue.dims == ("dataset", "component")  # of the other point
    with pytest.warns(RepsimWarning, match="no network was trained"):
        again = rs.sweep("two_layer_cnn", DATA, vary=vary, recipe=FAST, **CHEAP)
    assert "not trained again" in again.attrs["failures"]
    assert len(trained) == 4
    with pytest.warns(RepsimWarning, match="no network was trained"):
        rs.sweep("two_layer_cnn", DATA, vary=vary, recipe=FAST, retry_failed=True, **CHEAP)
    assert len(trained) == 6
    with pytest.raises(TrainingError, match="seed 0 at recipe_lr"):
        rs.sweep("two_layer_cnn", DATA, vary={"recipe.lr": [1e38]}, recipe=FAST, **CHEAP)


@pytest.mark.filterwarnings("ignore:.*(recipe|initial)")
def test_points_with_other_components_are_padded_and_counted(fresh_cache):
    with pytest.warns(RepsimWarning, match="12, 27 components"):
        swept = rs.sweep(
            "linear_cnn:filters=4", DATA, vary={"model.kernel": [2, 3]}, recipe=FAST, **CHEAP
        )
    known = swept.energy.sel(stage="trained").notnull().sum("component")
    assert (known.sel(model_kernel=2) == 12).all()
    assert (known.sel(model_kernel=3) == 27).all()
    assert swept.eigenvalue.dims == ("model_kernel", "dataset", "component")
    assert swept.component.values.tolist() == list(range(27))
    assert len(set(swept.basis_id.values.ravel())) == 2


def test_a_warning_names_the_points_that_it_is_about(fresh_cache):
    vary = {"recipe.batch": [20, 200]}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        rs.sweep("linear_cnn:filters=4", DATA, vary=vary, recipe="quick:steps=3")
    lines = [str(one.message) for one in said if "batches of 200" in str(one.message)]
    assert len(lines) == 1
    assert lines[0].startswith("at 1 of 2 points, (recipe_batch=200): ")
    assert {one.filename for one in said} == {__file__}


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({}, "expected options"),
        ({"filters": [1]}, "expected model.OPTION, dataset.OPTION"),
        ({"stage": ["init"]}, r"write comparison\.stage=VALUE"),
        ({"comparison.stages": ["init"]}, "did you mean 'stage'"),
        ({"comparison.seeds": [2]}, "known: .*images"),
        ({"comparison.stage": ["init", "last"]}, "unknown stage 'last'"),
        ({"comparison.images": [5, 10]}, "is for metrics that show images"),
        ({"comparison.images": ["few"]}, "at comparison_images=few: .* expected int"),
        ({"dataset.a.b.c": [2]}, "expected model.OPTION"),
        ({"model": ["vgg11"]}, r"model\.OPTION=VALUE"),
        ({"model.filtrs": [4]}, "did you mean 'filters'"),
        ({"recipe.lrr": [4]}, "did you mean 'lr'"),
        ({"metric.nothing": [4]}, "nothing"),
        ({"model.filters": []}, "empty value"),
        ({"model.filters": "4,,6"}, "empty value"),
        ({"recipe.lr": [0.1, "1e-1"]}, "same value"),
        ({"model.frozen": "true,yes"}, "same value"),
        ({"model.first": "'a"}, "quote"),
        ({"model.filters": [object()]}, "of type object"),
        ({"model.filters": ["x"]}, "at model_filters=x: model 'linear_cnn' option filters"),
        ({"recipe.lr": np.linspace(1, 2, 101), "recipe.momentum": np.linspace(0, 1, 100)}, "10000"),
        ({"dataset.limit": [4]}, "as an object"),
    ],
)
def test_what_cannot_be_varied_is_refused_before_training(vary, message, trained):
    with pytest.raises(UsageError, match=message):
        rs.sweep("linear_cnn", DATA, vary=vary, recipe=FAST, **CHEAP)
    assert not trained


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
@pytest.mark.parametrize(
    ("vary", "metric", "how"),
    [
        ({"comparison.stage": ["init", "trained"]}, "energy", CHEAP),
        ({"comparison.patch": ["3x3", "4x5"]}, "energy", CHEAP),
        ({"comparison.null": ["white", "smooth"]}, "energy", {}),
        ({"comparison.images": [20, 40]}, "cka", {"layers": "output"}),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_arguments_of_the_comparison_are_varied(vary, metric, how, fresh_cache, trained):
    (axis, values), *_ = vary.items()
    swept = rs.sweep("linear_cnn:filters=4", DATA, metric, vary=vary, recipe=FAST, **how)
    assert len(trained) == 2  # which both points share
    dim = axis.replace(".", "_")
    for value in values:
        argument = {axis.partition(".")[2]: value}
        alone = rs.compare("linear_cnn:filters=4", DATA, metric, recipe=FAST, **how, **argument)
        point = as_comparison(swept.sel({dim: value}))
        assert {k: v for k, v in alone.attrs.items() if k not in OWN}.items() <= point.attrs.items()
        xr.testing.assert_equal(rs.summarize(point), rs.summarize(alone))
        for name in set(alone.data_vars) - {"energy", "components", "eigenvalue"}:
            found = point[name].values
            if found.shape == alone[name].shape:  # others are padded
                np.testing.assert_array_equal(found, alone[name].values)


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_readers_of_a_point_know_its_stage(fresh_cache, tmp_path):
    vary = {"comparison.stage": ["init", "trained"]}
    swept = rs.sweep("linear_cnn:filters=4", DATA, vary=vary, recipe=FAST, **CHEAP)
    assert swept.stage.values.tolist() == ["init", "trained", "change"]
    assert swept.compared_stage.values.tolist() == ["init", "trained"]
    rs.save_result(swept, tmp_path / "sweep.nc")
    point = rs.open_result(tmp_path / "sweep.nc").sel(comparison_stage="init")
    assert set(rs.profiles(point).stage) == {"init"}
    drawn = rs.plot.table(point, "profiles")
    assert drawn.equals(rs.plot.table(point, "profiles", stage="init"))
    assert "stage init" in rs.plot.profiles(point).get_title()


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_a_direction_that_differs_is_that_of_each_point(fresh_cache):
    vary = {"metric.kind": ["cosine", "operator"]}
    swept = rs.sweep("linear_cnn:filters=4", DATA, "covariance", vary=vary, recipe=FAST, **CHEAP)
    point = as_comparison(swept.sel(metric_kind="operator"))
    assert point.attrs["direction"] == "distance"


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_options_of_variants_are_varied(fresh_cache, file):
    scaled = f"{file}+alpha_scaled:component=3"
    vary = {"dataset.alpha": [1, 2], "dataset.limit": [40]}
    swept = rs.sweep("linear_cnn:filters=4", scaled, vary=vary, recipe=FAST, **CHEAP)
    data = rs.load_images(f"{file}:limit=40+alpha_scaled:component=3:alpha=2")
    alone = rs.compare("linear_cnn:filters=4", data, recipe=FAST, **CHEAP)
    point = swept.sel(dataset_alpha=2, dataset_limit=40)
    np.testing.assert_array_equal(point.energy.values, alone.energy.values)
    assert not point.identical(swept.sel(dataset_alpha=1, dataset_limit=40))


@pytest.mark.parametrize(
    ("vary", "message"),
    [
        ({"dataset.alpha": [1, 2]}, "unknown option of .* 'alpha'; known: .*, seed, size"),
        ({"dataset.seed": [1, 2]}, "dataset.random_labels.seed and dataset.random_labels.seed"),
        ({"dataset.random_labels.alpha": [1]}, "known: .*random_labels.seed"),
        ({"dataset.random_label.seed": [1]}, "did you mean 'random_labels.seed'"),
    ],
)
def test_options_that_no_part_or_several_parts_have_are_refused(vary, message, file, trained):
    with pytest.raises(UsageError, match=message):
        rs.sweep("linear_cnn", f"{file}+random_labels+random_labels:seed=3", vary=vary)
    assert not trained


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_an_option_of_several_parts_is_written_with_its_part(fresh_cache):
    vary = {"dataset.random_labels.seed": [1, 2]}
    swept = rs.sweep(
        "linear_cnn:filters=4", "deadleaves:limit=40+random_labels", vary=vary, recipe=FAST, **CHEAP
    )
    assert swept.dataset_random_labels_seed.values.tolist() == [1, 2]
    assert len(set(swept.run_id.values.ravel())) == 4
    assert json.loads(swept.attrs["sweep"]) == {
        "dataset_random_labels_seed": "dataset.random_labels.seed"
    }


def test_an_option_is_not_both_varied_and_given():
    with pytest.raises(UsageError, match="expected one of them"):
        rs.sweep("linear_cnn", DATA, vary={"comparison.stage": ["init"]}, stage="init")
    with pytest.raises(UsageError, match="expected one of them"):
        rs.sweep("linear_cnn:filters=3", DATA, vary={"model.filters": [4]})
    with pytest.raises(UsageError, match="expected one of them"):
        rs.sweep("linear_cnn", DATA, vary={"recipe.steps": [4]}, recipe="quick:steps=3")


def test_recipes_of_given_networks_are_not_varied():
    bank = np.random.default_rng(0).normal(size=(4, 3, 3, 3))
    with pytest.raises(UsageError, match="none is trained"):
        rs.sweep({"mine": bank}, DATA, vary={"recipe.lr": [0.1, 0.2]})


def test_an_argument_that_compare_does_not_have_is_refused():
    with pytest.raises(UsageError, match="did you mean 'layers'"):
        rs.sweep("linear_cnn", DATA, vary={"model.filters": [4]}, layer="conv")


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1), min_size=1, unique=True))
def test_any_text_in_quotes_is_one_value(texts):
    quoted = ",".join("'" + text.replace("'", "''") + "'" for text in texts)
    try:
        (axis,) = axes_of({"model.first": quoted})
    except UsageError as error:
        assert "same value" in str(error)  # noqa: PT017 (such as '1' and '1.0')
    else:
        assert list(axis.texts) == texts


def test_a_sweep_is_written_and_read_as_it_is(fresh_cache, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RepsimWarning)
        vary = {"model.filters": [4, 6], "model.first": ["none", "frame/dct"]}
        swept = rs.sweep("linear_cnn", DATA, vary=vary, recipe=FAST, **CHEAP)
    rs.save_result(swept, tmp_path / "sweep.nc")
    xr.testing.assert_identical(rs.open_result(tmp_path / "sweep.nc"), swept)
    options = {"model_filters": "model.filters", "model_first": "model.first"}
    assert json.loads(swept.attrs["sweep"]) == options


@pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")
def test_readers_of_a_comparison_ask_for_a_point(fresh_cache):
    swept = rs.sweep("linear_cnn", DATA, vary={"model.filters": [4, 6]}, recipe=FAST, **CHEAP)
    for read in (rs.summarize, rs.table, rs.pairs, rs.profiles, rs.adjust_p_values):
        with pytest.raises(UsageError, match=r"result.sel\(model_filters=4\)"):
            read(swept)
    with pytest.raises(UsageError, match="sel"):
        rs.plot.table(swept, "profiles")
    assert rs.summarize(swept.sel(model_filters=6))["n"].item() == 1
    frame = rs.to_dataframe(swept, "train_accuracy")
    assert frame.groupby("model_filters").size().tolist() == [2, 2]
