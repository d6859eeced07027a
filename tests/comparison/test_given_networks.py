"""Networks that are given have no seeds, and a result says which those are."""

import numpy as np
import pytest
import torch
import xarray as xr
from samples import RECIPE, TINY, both_splits, noise_images, small_cnn

import repsim_energy as rs
from repsim_energy.cli.result_text import print_result
from repsim_energy.errors import RepsimWarning
from repsim_energy.results import summarize

IMAGES = both_splits(noise_images(30, (3, 12, 12)))
RUN = "linear_cnn:filters=8"
"""A network that leaves its small initial weights at once."""

BANK = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("metric", ["energy", "cka"])
@pytest.mark.parametrize("count", [1, 2])
def test_where_nothing_is_trained_there_is_one_seed_and_no_nan(metric, count):
    models = {f"net{number}": small_cnn(2, 3) for number in range(count)}
    found = rs.compare(models, IMAGES, metric)
    assert found.sizes["seed"] == found.sizes["seed_ref"] == 1
    assert found.similarity.notnull().all()
    assert found.given.values.tolist() == [[1] * count]


@pytest.mark.parametrize("seeds", [3, [0, 1, 2], range(3), np.arange(3), [7], np.int64(3)])
def test_seeds_of_given_networks_are_said_to_change_nothing(seeds):
    if np.size(seeds) == 1 and np.ndim(seeds) == 1:  # one is what there is
        found = rs.compare(BANK, IMAGES, seeds=seeds)
    else:
        with pytest.warns(RepsimWarning, match=r"no network is trained here, so that seeds="):
            found = rs.compare(BANK, IMAGES, seeds=seeds)
    assert found.sizes["seed"] == 1


@pytest.mark.parametrize("metric", ["energy", "cka"])
def test_beside_trained_networks_a_given_one_has_one_value(metric):
    given = small_cnn(2, 3)
    found = rs.compare({"given": given, "run": RUN}, IMAGES, metric, seeds=3, recipe=RECIPE)
    assert found.given.values.tolist() == [[1, 0]]
    similarity = found.similarity.squeeze(["dataset", "dataset_ref"])
    assert similarity.sel(model="run", model_ref="run").notnull().all()
    across = similarity.sel(model="given", model_ref="run")
    assert across.isel(seed=0).notnull().all()
    assert across.isel(seed=slice(1, None)).isnull().all()
    summary = summarize(found)
    mean, spread = (
        summary[name].sel(group="given", group_ref="run") for name in ("mean", "spread")
    )
    values = across.isel(seed=0).values.ravel()
    assert float(mean) == pytest.approx(values.mean())
    assert float(spread) == pytest.approx(values.std(ddof=1))


def test_the_table_says_which_are_given(capsys):
    models = {"mine": small_cnn(2, 3), "other": BANK, "run": RUN}
    print_result(rs.compare(models, IMAGES, seeds=2, recipe=RECIPE))
    text = capsys.readouterr().out
    rows = [line.split("│")[1].strip() for line in text.splitlines() if line.startswith("│")]
    assert rows[-4:] == ["mine (given)", "other (given)", "run seed 0", "run seed 1"]
    assert "(given, and thus one network: mine, other)" in text
    del models["run"]
    print_result(rs.compare(models, IMAGES))
    text = capsys.readouterr().out
    assert "every network is given" in text
    assert "pairs of seeds" not in text


def test_results_of_earlier_versions_are_read_and_shown(tmp_path, capsys):
    """They hold a given network at the first of two seeds, NaN at the other, and no ``given``."""
    models = {"mine": small_cnn(2, 3), "run": RUN}
    new = rs.compare(models, IMAGES, seeds=2, recipe=RECIPE)
    old = new.drop_vars("given").sel(model=["mine"], model_ref=["mine"])
    rs.save_result(old, tmp_path / "old.nc")
    found = rs.open_result(tmp_path / "old.nc")
    xr.testing.assert_identical(found, old)
    print_result(found)
    assert "mine seed 0" in capsys.readouterr().out


ALONE = {
    "filters": ({"one": BANK}, "energy", {}, False),
    "a module": ({"one": small_cnn(2, 3)}, "energy", {}, False),
    "a module, by its answers": ({"one": small_cnn(2, 3)}, "cka", {}, False),
    "a training": ({"one": TINY}, "energy", {"seeds": 1}, False),
    "trainings": ({"one": TINY}, "energy", {"seeds": 3}, True),
    "trainings, by their answers": ({"one": TINY}, "cka", {"seeds": 2}, True),
}


@pytest.mark.parametrize("name", ALONE)
def test_one_model_gives_its_profile_and_fit_and_says_that_it_is_alone(name, capsys):
    models, metric, options, seeds = ALONE[name]
    if options:
        options = {**options, "recipe": RECIPE}
    found = rs.compare(models, IMAGES, metric, **options)
    print_result(found)
    text = capsys.readouterr().out
    own = " but its own seeds" if seeds else ""
    assert f"nothing to compare one with{own}; name another model" in text
    assert ("pairs of seeds" in text) == seeds
    if metric == "energy":
        stage = found.attrs["stage"]
        profile = found.energy.sel(stage=stage).mean("seed").values.ravel()
        assert np.isfinite(found.fit_correlation.sel(stage=stage)).all()
        block = text.split("largest = 1:\n")[1].split("nothing to compare")[0]
        np.testing.assert_allclose(
            np.array(block.split(), float), profile / profile.max(), atol=6e-4
        )


def test_several_models_are_not_alone(capsys):
    print_result(rs.compare({"a": BANK, "b": BANK.flip(0)}, IMAGES))
    assert "nothing to compare" not in capsys.readouterr().out
    print_result(rs.compare({"a": small_cnn(2, 3)}, IMAGES, "cka", layers=["0", "output"]))
    assert "nothing to compare" not in capsys.readouterr().out
