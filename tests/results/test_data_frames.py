"""Tables of a result as data frames: their rows are the numbers of the result, none is padding."""

import importlib.util
import itertools
import re
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import RECIPE, TINY, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.errors import UsageError

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")

IMAGES = noise_images(20, (3, 8, 8))


@pytest.fixture(scope="module")
def result():
    """A given network and three trained ones on two data sets, compared by their filters."""
    other = noise_images(20, (3, 8, 8), seed=1, name="other")
    models = {"given": small_cnn(2, 3), "run": TINY}
    return rs.compare(models, [IMAGES, other], recipe=RECIPE, seeds=3, stage="trained")


@pytest.fixture(scope="module")
def layered():
    """Two networks that are given, with layers of different names, and two that are trained."""
    models = {"one": small_cnn(2, 3), "three": small_cnn(2, 3, widths=(4, 5, 6)), "run": TINY}
    return rs.compare(models, IMAGES, "cka", recipe=RECIPE, seeds=2, layers=["convs"])


NETWORKS = [("given", 0), ("run", 0), ("run", 1), ("run", 2)]


def side(row, suffix=""):
    names = ("dataset", "model", "seed", "layer")
    return tuple(row[f"{n}{suffix}"] for n in names if f"{n}{suffix}" in row)


def value_at(result, name, one, other):
    dims = ("dataset", "model", "seed", "layer")[: len(one)]
    at = dict(zip(dims, one, strict=True))
    at |= {f"{dim}_ref": label for dim, label in zip(dims, other, strict=True)}
    return float(result[name].sel(at))


def test_every_pair_of_different_networks_is_one_row(result):
    rows = rs.pairs(result).to_dict("records")
    networks = [(d, *network) for d in ("noise", "other") for network in NETWORKS]
    pairs = [(side(row), side(row, "_ref")) for row in rows]
    assert pairs == list(itertools.combinations(networks, 2))
    for row in rows:
        for name in ("similarity", "null_low", "null_high"):
            for ends in ((side(row), side(row, "_ref")), (side(row, "_ref"), side(row))):
                np.testing.assert_equal(row[name], value_at(result, name, *ends))


def test_layers_that_a_model_does_not_have_are_no_rows(layered):
    entries = [("noise", "one", 0, "0")]
    entries += [("noise", "three", 0, layer) for layer in ("0", "2", "4")]
    entries += [("noise", "run", seed, "conv") for seed in (0, 1)]
    frame = rs.pairs(layered)
    assert layered.similarity.isnull().mean() > 0.8
    assert frame.notna().all(axis=None)
    rows = frame.to_dict("records")
    assert {frozenset((side(row), side(row, "_ref"))) for row in rows} == {
        frozenset(pair) for pair in itertools.combinations(entries, 2)
    }
    assert list(rs.table(layered).index) == ["one 0", "three 0", "three 2", "three 4", "run conv"]


def test_a_table_has_the_statistics_of_the_pairs(result):
    one = result.isel(dataset=[0], dataset_ref=[0])
    rows = rs.pairs(one).to_dict("records")
    for a, b in itertools.product(("given", "run"), repeat=2):
        among = [row for row in rows if {row["model"], row["model_ref"]} == {a, b}]
        values = [row["similarity"] for row in among]
        expected = {
            "mean": statistics.fmean(values) if values else np.nan,
            "std": statistics.stdev(values) if len(values) > 1 else np.nan,
            "n": len(values),
            "low": statistics.fmean(row["null_low"] for row in among) if values else np.nan,
            "high": statistics.fmean(row["null_high"] for row in among) if values else np.nan,
        }
        for name, number in expected.items():
            np.testing.assert_allclose(rs.table(one, name).loc[a, b], number, rtol=1e-12)
    assert rs.table(one).index.name == "model"
    assert rs.table(result).index.name == "dataset model"
    assert list(rs.table(result).columns)[1] == "noise run"


@pytest.mark.parametrize("stage", [None, "init", "change"])
def test_profiles_are_those_of_the_result(result, stage):
    label = stage or "trained"
    networks = [network for network in NETWORKS if label == "trained" or network[0] == "run"]
    frame = rs.profiles(result, stage)
    scaled = rs.profiles(result, stage, normalized=True)
    assert len(frame) == len(scaled) == 2 * len(networks) * 27
    profiles = frame.groupby(["dataset", "model", "seed"], sort=False)
    for (data, model, seed), profile in profiles:
        at = {"dataset": data, "model": model, "seed": seed, "stage": label}
        energy = result.energy.sel(at).values
        assert profile.energy.tolist() == energy.tolist()
        assert profile.eigenvalue.tolist() == result.eigenvalue.sel(dataset=data).values.tolist()
        assert profile.component.tolist() == list(range(27))
        same = scaled.loc[profile.index]
        np.testing.assert_allclose(same.energy, energy / max(energy), rtol=1e-15)
        assert max(same.energy) == 1
    assert set(frame.stage) == {label}


def test_components_without_variance_are_no_rows():
    gray = noise_images(20, (1, 8, 8)).images.expand(-1, 3, -1, -1)
    frame = rs.profiles(rs.compare({"bank": torch.rand(4, 3, 2, 2)}, gray))
    assert len(frame) == 4
    assert frame.notna().all(axis=None)


def test_a_variable_is_a_row_for_each_value_that_exists(result):
    frame = rs.to_dataframe(result, "energy")
    assert len(frame) == 2 * (1 * 1 + 3 * 3) * 27
    assert frame.energy.notna().all()
    assert len(frame) == result.energy.notnull().sum()
    for row in frame.iloc[::17].to_dict("records"):
        at = {dim: row[dim] for dim in result.energy.dims}
        assert row["energy"] == float(result.energy.sel(at))
        assert row["basis_id"] == result.basis_id.sel(dataset=row["dataset"]).item()
        assert row["first_layer"] == result.first_layer.sel(model=row["model"]).item()
    steps = rs.to_dataframe(result, "snapshot_step")
    assert len(steps) == int((result.snapshot_step >= 0).sum())
    assert steps.snapshot.tolist() == sorted(set(steps.snapshot)) * 6
    assert len(rs.to_dataframe(result, "similarity")) == 8 * 8
    assert rs.to_dataframe(result, "basis_id").dataset.tolist() == ["noise", "other"]
    assert rs.to_dataframe(result.isel(dataset=0), "given").given.tolist() == [1, 0]


def test_a_failed_training_has_rows_without_numbers(result):
    failed = result.copy(deep=True)
    for name in ("energy", "snapshot_energy", "similarity"):
        failed[name].loc[{"model": "run", "seed": 1}] = np.nan
    failed["similarity"].loc[{"model_ref": "run", "seed_ref": 1}] = np.nan
    failed["steps"].loc[{"model": "run", "seed": 1}] = -1
    for frame, column in (
        (rs.pairs(failed), "similarity"),
        (rs.profiles(failed), "energy"),
        (rs.to_dataframe(failed, "energy"), "energy"),
    ):
        ours = (frame.model == "run") & (frame.seed == 1)
        assert ours.any()
        assert frame[ours][column].isna().all()
    assert len(rs.pairs(failed)) == len(rs.pairs(result))


def test_a_part_of_a_result_has_the_rows_of_the_part(result):
    whole = rs.pairs(result)
    part = {"model": ["run"], "model_ref": ["run"], "seed": [0, 2], "seed_ref": [0, 2]}
    ours = whole[["model", "model_ref"]].eq("run").all(axis=1)
    ours &= whole[["seed", "seed_ref"]].isin([0, 2]).all(axis=1)
    expected = whole[ours].reset_index(drop=True)
    corrected = ["p_holm", "p_bh"]  # which depend on the number of rows
    found = rs.pairs(result.sel(part))
    assert found.drop(columns=corrected).equals(expected.drop(columns=corrected))
    assert not (found.p_holm > expected.p_holm).any()
    single = {"dataset": "other", "dataset_ref": "other"}
    expected = whole[whole.dataset.eq("other") & whole.dataset_ref.eq("other")]
    found = rs.pairs(result.sel(single)).drop(columns=corrected)
    assert found.equals(expected.drop(columns=corrected).reset_index(drop=True))


def test_what_a_result_does_not_have_is_refused_by_name(result, layered):
    for call, message in (
        (lambda: rs.to_dataframe(result, "enery"), "did you mean 'energy'"),
        (
            lambda: rs.table(result, "median"),
            "known: ci_high, ci_low, high, low, mean, n, n_missing, std",
        ),
        (lambda: rs.profiles(result, "end"), "unknown stage 'end'"),
        (lambda: rs.profiles(layered), "without energy profiles"),
        (lambda: rs.pairs(result.energy.to_dataset()), "without 'similarity'"),
        (lambda: rs.pairs(result.sel(model="run", model_ref="given")), "model_ref=given"),
    ):
        with pytest.raises(UsageError, match=message):
            call()


def test_the_functions_are_methods_of_a_result(result, tmp_path):
    rs.save_result(result, tmp_path / "r.nc")
    ours = rs.open_result(tmp_path / "r.nc").repsim
    assert ours.pairs().equals(rs.pairs(result))
    assert ours.table("n").equals(rs.table(result, "n"))
    assert ours.profiles("init").equals(rs.profiles(result, "init"))
    assert ours.to_dataframe("run_id").equals(rs.to_dataframe(result, "run_id"))
    assert ours.summary().identical(rs.summarize(result))


def test_the_mean_over_the_array_counts_each_network_with_itself(result):
    run = {"dataset": "noise", "dataset_ref": "noise", "model": "run", "model_ref": "run"}
    everything = float(result.similarity.sel(run).mean(["seed", "seed_ref"]))
    pairs = rs.table(result).loc["noise run", "noise run"]
    np.testing.assert_allclose(everything, (3 * 1 + 6 * pairs) / 9, rtol=1e-12)


def test_the_page_on_reading_a_result_runs(result, tmp_path, monkeypatch, capsys):
    page = Path(__file__).parents[2] / "docs" / "how-to" / "read-a-result.md"
    code = "\n".join(
        re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    )
    rs.save_result(result.isel(dataset=[0], dataset_ref=[0]), tmp_path / "result.nc")
    monkeypatch.chdir(tmp_path)
    exec(code, {})  # noqa: S102 (the page is ours)
    assert "model_ref" in capsys.readouterr().out


def test_figures_without_matplotlib_are_an_error_that_says_what_to_install(result, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"pip install 'repsim-energy\[plot\]'"):
        _ = result.repsim.plot.profiles
