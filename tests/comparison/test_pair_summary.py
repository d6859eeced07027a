"""The summary of all pairs is the reduction of the array of all pairs."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import RECIPE, both_splits, noise_images

import repsim_energy as rs
from repsim_energy.errors import UsageError
from repsim_energy.numerics.inference.pair_moments import moments_of_pairs

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")

IMAGES = noise_images(40, (3, 8, 8))


def banks(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    found = {f"net {i}": torch.randn(6, 3, 3, 3, generator=generator) for i in range(count)}
    found["net 1"] = torch.full((6, 3, 3, 3), torch.nan)  # pairs that are missing
    return found


def assert_is_the_reduction(summary, full):
    reduced = rs.summarize(full)
    found = rs.summarize(summary)
    assert found.group.values.tolist() == reduced.group.values.tolist()
    for name in ("mean", "spread"):
        np.testing.assert_allclose(found[name], reduced[name], rtol=0, atol=1e-12)
    for name in ("n", "n_missing"):
        np.testing.assert_array_equal(found[name], reduced[name])


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.integers(0, 4), min_size=1, max_size=20),
    st.integers(1, 7),
    st.integers(0, 1000),
    st.floats(1e-9, 1.0),
)
def test_blocks_give_what_all_pairs_give(groups, block, seed, size):
    """Also if the values vary little about a mean that is large beside that."""
    rng = np.random.default_rng(seed)
    groups, m = np.array(groups), len(groups)
    values = 1 + size * rng.normal(size=(m, m))
    values[rng.random((m, m)) < 0.2] = np.nan
    values = np.triu(values) + np.triu(values, 1).T
    found = moments_of_pairs(groups, 5, lambda i, j: values[np.ix_(i, j)], block=block)
    pairs = np.triu(np.ones((m, m), dtype=bool), 1)
    for a in range(5):
        for b in range(5):
            of = (groups[:, None] == a) & (groups == b) | (groups[:, None] == b) & (groups == a)
            inside = values[pairs & of]
            known = inside[np.isfinite(inside)]
            assert found.n[a, b] == len(known)
            assert found.missing[a, b] == len(inside) - len(known)
            expected = (known.mean(), known.min(), known.max()) if len(known) else (np.nan,) * 3
            got = found.mean[a, b], found.lowest[a, b], found.highest[a, b]
            np.testing.assert_allclose(got, expected, rtol=1e-14)
            spread = known.std(ddof=1) if len(known) > 1 else np.nan
            np.testing.assert_allclose(found.spread[a, b], spread, rtol=1e-6, atol=1e-15)


@pytest.mark.parametrize("metric", ["energy", "covariance"])
def test_a_summary_of_given_networks_is_the_reduction(metric):
    full = rs.compare(banks(7), IMAGES, metric, resamples=0)
    summary = rs.compare(banks(7), IMAGES, metric, resamples=0, pairs="summary")
    assert_is_the_reduction(summary, full)
    assert not {"similarity", "beyond_theory", "null_low"} & {*summary.data_vars}
    for name in {*summary.data_vars} & {*full.data_vars} - {"n", "n_missing"}:
        np.testing.assert_array_equal(summary[name], full[name])


def test_a_summary_of_seeds_and_data_sets_is_the_reduction(fresh_cache):
    data = [both_splits(noise_images(60, (3, 8, 8), seed=n, name=f"set {n}")) for n in range(2)]
    models = ["linear_cnn:filters=4", "linear_cnn:filters=6"]
    full = rs.compare(models, data, seeds=3, recipe=RECIPE, resamples=0, null="metric")
    summary = rs.compare(models, data, seeds=3, recipe=RECIPE, resamples=0, pairs="summary")
    assert summary.mean_similarity.dims == ("dataset", "model", "dataset_ref", "model_ref")
    assert_is_the_reduction(summary, full)


def test_groups_of_models_are_summarized_together(tmp_path):
    of = {f"net {i}": "even" if i % 2 == 0 else "odd" for i in range(7)}
    full = rs.compare(banks(7), IMAGES, resamples=0).similarity.values.reshape(7, 7)
    summary = rs.compare(banks(7), IMAGES, resamples=0, pairs=of)
    even, odd = [0, 2, 4, 6], [1, 3, 5]
    pairs = full[np.ix_(even, even)][np.triu_indices(4, 1)]
    at = {"dataset": "noise", "dataset_ref": "noise"}
    own = summary.sel(at, drop=True).sel(group="even", group_ref="even")
    assert own.n.item() == 6
    np.testing.assert_allclose(own.mean_similarity, pairs.mean(), atol=1e-12)
    np.testing.assert_allclose(own.highest_similarity, pairs.max(), atol=1e-12)
    across = summary.sel(at, drop=True).sel(group="odd", group_ref="even")
    assert (across.n.item(), across.n_missing.item()) == (8, 4)
    np.testing.assert_allclose(
        across.lowest_similarity, np.nanmin(full[np.ix_(odd, even)]), atol=1e-12
    )
    assert rs.summarize(summary).group.values.tolist() == ["even", "odd"]
    rs.save_result(summary, tmp_path / "summary.nc")
    assert rs.open_result(tmp_path / "summary.nc").identical(summary)


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        ("some", "expected all, summary"),
        ({"net 0": "a"}, "without a group for net 1"),
        ({"net 9": "a"}, "net 9"),
    ],
)
def test_other_words_and_groups_are_refused(pairs, message):
    with pytest.raises(UsageError, match=message):
        rs.compare(banks(2), IMAGES, pairs=pairs)


def test_a_summary_has_no_nulls_and_no_single_pairs():
    with pytest.raises(UsageError, match="leave one of them out"):
        rs.compare(banks(3), IMAGES, pairs="summary", null="white")
    with pytest.raises(UsageError, match="pairs=summary"):
        rs.compare(banks(3), IMAGES, "cka", pairs="summary")
    summary = rs.compare(banks(3), IMAGES, pairs="summary")
    for read in (rs.pairs, rs.adjust_p_values):
        with pytest.raises(UsageError, match="got a summary of pairs"):
            read(summary)
