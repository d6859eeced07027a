"""rsatoolbox, for real: values, descriptors, bootstrap, evaluation, plots, files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import repsim_energy as rs

pytest.importorskip("rsatoolbox", reason="rsatoolbox is not installed: pip install rsatoolbox")

import rsatoolbox  # noqa: E402
from rsatoolbox.data import Dataset  # noqa: E402
from rsatoolbox.inference import (  # noqa: E402
    bootstrap_sample_pattern,
    eval_bootstrap_pattern,
    eval_fixed,
)
from rsatoolbox.model import ModelFixed  # noqa: E402
from rsatoolbox.rdm import calc_rdm, compare, concat, load_rdm  # noqa: E402

from repsim_toolkits import component_matrices, energy_profile_of  # noqa: E402
from repsim_toolkits.rsatoolbox import to_rdms  # noqa: E402


def pattern(rdms, i):
    return {
        "model": rdms.pattern_descriptors["model"][i],
        "seed": rdms.pattern_descriptors["seed"][i],
    }


def test_values_are_one_minus_similarity(result):
    rdms = to_rdms(result)
    matrix = rdms.get_matrices()[0]
    similarity = result.similarity.isel(dataset=0, dataset_ref=0)
    for i in range(rdms.n_cond):
        for j in range(i):
            at = pattern(rdms, i) | {f"{k}_ref": v for k, v in pattern(rdms, j).items()}
            assert matrix[i, j] == 1 - similarity.sel(at).item()


def test_values_are_what_rsatoolbox_itself_makes_of_the_profiles(result):
    profiles = [energy_profile_of(x) for x in component_matrices(result).values()]
    theirs = calc_rdm(Dataset(np.array(profiles)), method="correlation")
    np.testing.assert_allclose(to_rdms(result).dissimilarities, theirs.dissimilarities, atol=1e-12)


def test_descriptors_name_networks_and_metric(result):
    rdms = to_rdms(result)
    assert rdms.pattern_descriptors == {
        "model": ["tiny", "tiny", "wide", "wide", "bank"],
        "seed": [0, 1, 0, 1, 0],
        "index": [0, 1, 2, 3, 4],
    }
    assert rdms.rdm_descriptors == {
        "metric": ["energy_profile_correlation"],
        "basis_id": [result.basis_id.item()],
        "index": [0],
    }
    assert rdms.dissimilarity_measure == "1 - similarity"


def test_layers_of_activations_are_patterns(cka_result):
    rdms = to_rdms(cka_result)
    assert rdms.n_cond == 8
    assert rdms.pattern_descriptors["layer"] == ["0", "output"] * 4
    first = cka_result.similarity.isel(dataset=0, dataset_ref=0).values.reshape(8, 8)
    np.testing.assert_allclose(rdms.get_matrices()[0], (1 - first) * (1 - np.eye(8)))


def test_several_data_sets_are_told_apart(result):
    two = result.similarity.isel(dataset=[0, 0], dataset_ref=[0, 0]).to_dataset()
    two = two.assign_coords(dataset=["a", "b"], dataset_ref=["a", "b"]).assign_attrs(result.attrs)
    two.similarity[{"dataset": 0, "dataset_ref": 1}] = np.nan  # as on bases of their own
    two.similarity[{"dataset": 1, "dataset_ref": 0}] = np.nan
    rdms = to_rdms(two)
    assert rdms.pattern_descriptors["dataset"] == ["a"] * 5 + ["b"] * 5
    matrix = rdms.get_matrices()[0]
    assert np.isnan(matrix[:5, 5:]).all()
    np.testing.assert_array_equal(matrix[5:, 5:], to_rdms(result).get_matrices()[0])


def test_one_data_set_of_several_is_taken_as_lists(result):
    two = result.isel(dataset=[0, 0], dataset_ref=[0, 0])
    two = two.assign_coords(dataset=["a", "b"], dataset_ref=["a", "b"])
    one = to_rdms(two.isel(dataset=[1], dataset_ref=[1]))
    scalar = to_rdms(two.sel(dataset="b", dataset_ref="b"))
    assert "dataset" not in one.pattern_descriptors
    assert one == scalar == to_rdms(result)


def test_a_distance_is_taken_as_it_is(result):
    angles = result.assign(similarity=np.arccos(result.similarity.clip(-1, 1)))
    angles = angles.assign_attrs(metric="angle", direction="distance")
    rdms = to_rdms(angles)
    assert rdms.dissimilarity_measure == "distance"
    ours = 1 - to_rdms(result).dissimilarities
    np.testing.assert_allclose(np.cos(rdms.dissimilarities), ours, atol=1e-12)


def test_bootstrap_by_model_draws_all_seeds_of_a_model(result):
    np.random.seed(0)  # noqa: NPY002, rsatoolbox draws from the global state
    rdms = to_rdms(result)
    for _ in range(20):
        sample, models = bootstrap_sample_pattern(rdms, pattern_descriptor="model")
        drawn = [pattern(sample, i) for i in range(sample.n_cond)]
        for model in ("tiny", "wide"):
            times = list(models).count(model)
            seeds = [d["seed"] for d in drawn if d["model"] == model]
            assert sorted(seeds) == sorted([0, 1] * times)
        matrix = sample.get_matrices()[0]
        twice = [i for i, d in enumerate(drawn) if d == drawn[0]]
        assert np.isnan(matrix[np.ix_(twice, twice)][~np.eye(len(twice), dtype=bool)]).all()


@pytest.mark.filterwarnings("ignore:Noise ceiling for tau")
@pytest.mark.parametrize("method", ["cosine", "corr", "spearman", "tau-a"])
def test_eval_fixed_of_one_metric_by_another(result, cka_result, method):
    trained = {"model": [0, 1], "model_ref": [0, 1]}
    energy = to_rdms(result.isel(trained))
    cka = to_rdms(cka_result.isel(layer=[0], layer_ref=[0]))
    evaluated = eval_fixed(
        [ModelFixed("energy", energy), ModelFixed("cka", cka)], cka, method=method
    )
    assert evaluated.evaluations.shape == (1, 2, 1)
    expected = compare(energy, cka, method=method)[0, 0]
    assert evaluated.evaluations[0, 0, 0] == pytest.approx(expected)
    assert evaluated.evaluations[0, 1, 0] == pytest.approx(1)


def test_bootstrapped_evaluation_by_model(result):
    np.random.seed(0)  # noqa: NPY002
    rdms = to_rdms(result)
    evaluated = eval_bootstrap_pattern(
        ModelFixed("itself", rdms),
        rdms,
        method="corr",
        N=10,
        pattern_descriptor="model",
    )
    whole = evaluated.evaluations[np.isfinite(evaluated.evaluations)]
    assert len(whole)
    np.testing.assert_allclose(whole, 1)


def test_metrics_are_put_side_by_side(result, cka_result):
    energy = to_rdms(result.isel(model=[0, 1], model_ref=[0, 1]))
    cka = to_rdms(cka_result.isel(layer=[0], layer_ref=[0]))
    both = concat([energy, cka])
    assert both.n_rdm == 2
    assert list(both.rdm_descriptors["metric"]) == ["energy_profile_correlation", "cka"]


def test_show_rdm_draws_the_values_and_labels(result):
    figure, axes, _ = rsatoolbox.vis.show_rdm(
        to_rdms(result), pattern_descriptor="model", rdm_descriptor="metric"
    )
    figure.canvas.draw()
    (image,) = axes.flat[0].get_images()
    shown = np.ma.filled(image.get_array().astype(float), np.nan)
    expected = to_rdms(result).get_matrices()[0]
    off = ~np.eye(5, dtype=bool)
    np.testing.assert_array_equal(shown[off], expected[off])
    labels = [text.get_text() for text in axes.flat[0].get_xticklabels(minor=True)]
    assert labels == ["tiny", "tiny", "wide", "wide", "bank"]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # rsatoolbox leaves pickles open
@pytest.mark.parametrize("kind", ["hdf5", "pkl"])
def test_files_of_rsatoolbox_give_the_same_back(result, tmp_path, kind):
    path = str(tmp_path / f"rdms.{kind}")
    rdms = to_rdms(result)
    rdms.save(path, file_type=kind)
    assert load_rdm(path, file_type=kind) == rdms


def test_results_from_a_file_are_taken(result, tmp_path):
    rs.save_result(result, tmp_path / "x.nc")
    assert to_rdms(rs.open_result(tmp_path / "x.nc")) == to_rdms(result)


def test_what_is_no_matrix_of_networks_is_refused(result):
    cases = [
        ("result.nc", "got a str without 'similarity', expected a result; take what"),
        (result.drop_vars(["similarity"]), "got a Dataset without 'similarity'"),
        (result.isel(model=[0]), r"not square, 'model' and 'model_ref' differ; select the same"),
        (result.sel(model="tiny"), "not square, 'model' and 'model_ref' differ"),
        (result.sel(seed_ref=1), "not square, 'seed' and 'seed_ref' differ"),
        (result.isel(model=[2], model_ref=[2]), "similarities of 1 networks, expected two"),
    ]
    for case, message in cases:
        with pytest.raises(rs.UsageError, match=message) as error:
            to_rdms(case)
        assert "\n" not in str(error.value)


PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "in-rsatoolbox.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not part of this copy")
def test_the_blocks_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names = {}
    for block in blocks:
        exec(block, names)  # noqa: S102 (the page is ours)
    assert capsys.readouterr().out.startswith("[[1.]]\n")
    result, back = names["result"], names["back"]
    r = result.similarity.sel(model="vgg", seed=0, model_ref="resnet", seed_ref=1).item()
    assert back.sel(network="vgg seed 0", network_ref="resnet seed 1").item() == pytest.approx(r)
