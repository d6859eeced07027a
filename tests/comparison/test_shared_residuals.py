"""What networks share beyond the theory, in results and their tables."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from samples import TINY

import repsim_energy as rs

EIGENVALUES = np.geomspace(1.0, 1e-3, 27)


@pytest.fixture
def banks(pictures):
    """Filters with the theoretical profile of some step, times a factor that two of them share."""
    basis = rs.patch_moments(pictures.images, (3, 3)).basis()
    random = np.random.default_rng(0)
    variance = basis.eigenvalues.numpy()
    shared = np.exp(random.normal(0, 0.4, 27))

    def bank(steps, factor):
        step_size = 0.5 / variance.max()
        profile = rs.theoretical_profile(variance, step_size=step_size, steps=steps) * factor
        profile /= profile.max()
        return (basis.components * torch.from_numpy(profile)[:, None]).view(-1, 3, 3, 3).float()

    other = np.exp(random.normal(0, 0.4, 27))
    return {
        "a": bank(20, shared),
        "b": bank(500, shared),
        "c": bank(20, other),
        "white": torch.randn(64, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    }


@pytest.fixture
def result(banks, pictures):
    return rs.compare(banks, pictures)


def test_every_pair_is_that_of_the_function(result):
    energy = result.energy.sel(stage="trained").isel(dataset=0, seed=0)
    eigenvalues = result.eigenvalue.values[0]
    for a in "abc":
        for b in "abc":
            expected = rs.beyond_theory(
                energy.sel(model=a).values, energy.sel(model=b).values, eigenvalues
            )
            pair = {"model": a, "model_ref": b, "seed": 0, "seed_ref": 0}
            assert result.beyond_theory.sel(pair).item() == pytest.approx(expected, abs=1e-9)
            ends = [
                result[name].sel(pair).item() for name in ("beyond_null_low", "beyond_null_high")
            ]
            interval = (np.nan, np.nan) if a == b else rs.pearson_null_interval(27)
            assert ends == pytest.approx(interval, nan_ok=True)
    assert result.beyond_theory.sel(model="a", model_ref="b").item() > 0.8
    assert abs(result.beyond_theory.sel(model="a", model_ref="c").item()) < 0.6


def test_filters_that_the_theory_does_not_describe_have_none(result):
    white = result.sel(model="white")
    assert white.theory_residual.isnull().all()
    assert white.beyond_theory.isnull().all()
    assert white.energy.sel(stage="trained").notnull().all()


def test_tables_show_it(result):
    table = rs.table(result, of="beyond_theory")
    pair = result.beyond_theory.sel(model="a", model_ref="b").item()
    assert table.loc["a", "b"] == pytest.approx(pair)
    assert result.repsim.table("high", of="beyond_theory").loc["a", "b"] == pytest.approx(
        0.381, abs=1e-3
    )
    frame = rs.pairs(result)
    row = frame[(frame.model == "a") & (frame.model_ref == "b")]
    assert row.beyond_theory.item() == pytest.approx(pair)
    assert int(result.repsim.summary(of="beyond_theory").n.sel(group="a", group_ref="white")) == 0
    with pytest.raises(rs.UnknownNameError, match="beyond_theory"):
        rs.table(result, of="beyond")
    with pytest.raises(rs.UsageError, match="compare again"):
        rs.table(result.drop_vars("beyond_theory"), of="beyond_theory")


def test_components_without_energy_are_left_out(banks, pictures):
    part = banks["a"][[k for k in range(27) if k not in (3, 20)]]  # a filter for each component
    result = rs.compare({"part": part, "b": banks["b"]}, pictures)
    residuals = result.theory_residual.sel(model="part").squeeze()
    assert residuals.component[residuals.isnull()].values.tolist() == [3, 20]
    pair = result.sel(model="part", model_ref="b").squeeze()
    assert float(pair.beyond_theory) > 0.8
    assert float(pair.beyond_null_high) == pytest.approx(rs.pearson_null_interval(25)[1])


def test_data_sets_of_different_patches_are_not_mixed(data, pictures):
    darker = replace(pictures, images=pictures.images // 2, name="darker")
    other = rs.Dataset("darker", darker, darker)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rs.RepsimWarning)
        result = rs.compare(TINY, [data, other], recipe="quick:steps=30:batch=10", seeds=2)
    beyond = result.beyond_theory.isel(model=0, model_ref=0)
    assert beyond.isel(dataset=0, dataset_ref=1).isnull().all()
    alone = rs.compare(TINY, data, recipe="quick:steps=30:batch=10", seeds=2)
    np.testing.assert_array_equal(beyond.values[0, :, 0], alone.beyond_theory.values[0, 0, :, 0, 0])


def test_the_command_says_whom_it_leaves_out(result, banks, pictures, repsim, tmp_path):
    rs.save_result(result, tmp_path / "r.nc")
    shown = repsim("show", str(tmp_path / "r.nc")).stdout
    assert "r beyond theory of those that share no more: 95% between -0.381 and 0.381" in shown
    assert "no r beyond theory of 1 of 4 networks, which the theory does not describe" in shown
    part = banks["a"][2:]
    rs.save_result(rs.compare({"part": part, "b": banks["b"]}, pictures), tmp_path / "p.nc")
    shown = repsim("show", str(tmp_path / "p.nc")).stdout
    assert "left out of it: up to 2 components of a network, without energy" in shown
    white = {"one": banks["white"], "two": banks["white"].flip(0, 2)}
    rs.save_result(rs.compare(white, pictures), tmp_path / "w.nc")
    shown = repsim("show", str(tmp_path / "w.nc")).stdout
    assert "no r beyond theory of 2 of 2 networks" in shown
