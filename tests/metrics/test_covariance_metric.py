"""The metric covariance in comparisons: values, variables, and networks that have none."""

import numpy as np
import pytest
import torch
from samples import noise_images

import repsim_energy as rs
from repsim_energy.numerics.covariance.matrix import diagonality, effective_rank

IMAGES = noise_images(40, (3, 10, 10))


def bank(size, seed):
    return torch.randn(size, 3, 3, 3, generator=torch.Generator().manual_seed(seed))


BANKS = {"few": bank(16, 0), "a": bank(64, 1), "b": bank(64, 2)}


def test_a_result_has_the_covariances_and_their_shapes(tmp_path):
    result = rs.compare(BANKS, IMAGES, "covariance")
    basis = rs.patch_moments(IMAGES.images, (3, 3)).basis()
    for name, filters in BANKS.items():
        one = result.sel(model=name).squeeze()
        expected = rs.filter_covariance(filters, basis)
        np.testing.assert_allclose(one.covariance, expected, rtol=1e-12, atol=1e-15)
        assert one.diagonality.item() == pytest.approx(diagonality(expected))
        assert one.effective_rank.item() == pytest.approx(effective_rank(expected))
        for other, again in BANKS.items():
            value = rs.compare_covariances(expected, rs.filter_covariance(again, basis))
            assert one.similarity.sel(model_ref=other).item() == pytest.approx(value)
    assert result.covariance.dims[-2:] == ("component", "component_ref")
    np.testing.assert_array_equal(result.component_ref, result.component)
    assert result.attrs["metric"] == "covariance"
    assert result.misalignment.isnull().values.ravel().tolist() == [True, False, False]
    assert result.misalignment_null_low.isnull().values.ravel().tolist() == [True, False, False]
    low, value, high = (
        result[f"misalignment{end}"].sel(model="a").item()
        for end in ("_null_low", "", "_null_high")
    )
    assert low < value < high
    rs.save_result(result, tmp_path / "r.nc")
    assert rs.open_result(tmp_path / "r.nc").identical(result)
    assert len(rs.to_dataframe(result, "covariance")) == 3 * 27 * 27


@pytest.mark.parametrize("kind", ["bures", "operator"])
def test_the_null_interval_is_that_of_the_numbers_of_filters(kind):
    result = rs.compare(BANKS, IMAGES, f"covariance:kind={kind}").squeeze()
    assert result.attrs["direction"] == ("distance" if kind == "operator" else "similarity")
    inside = (result.null_low < result.similarity) & (result.similarity < result.null_high)
    assert inside.sel(model="few", model_ref="a")
    assert inside.sel(model="a", model_ref="b")
    assert result.null_low.sel(model="few", model_ref="a") != result.null_low.sel(
        model="b", model_ref="a"
    )


def test_components_without_variance_are_nan():
    gray = IMAGES.images[:, :1].expand(-1, 3, -1, -1)
    with pytest.warns(rs.RepsimWarning, match="have no variance"):
        result = rs.compare({"a": BANKS["a"], "b": BANKS["b"]}, gray, "covariance")
    assert result.sizes["component"] == result.sizes["component_ref"] == 27
    known = result.covariance.notnull()
    assert int(known.isel(model=0).sum()) == 81
    assert bool(known[..., :9, :9].all())
    assert bool(result.similarity.notnull().all())


def test_data_sets_of_different_rank_are_compared_within_each():
    gray = rs.ImageSet(
        IMAGES.images[:, :1].expand(-1, 3, -1, -1), IMAGES.labels, IMAGES.classes, "gray"
    )
    with pytest.warns(rs.RepsimWarning):
        result = rs.compare({"a": BANKS["a"], "b": BANKS["b"]}, [IMAGES, gray], "covariance")
    across = result.similarity.isel(dataset=0, dataset_ref=1)
    assert bool(across.isnull().all())
    assert bool(result.similarity.isel(dataset=1, dataset_ref=1).notnull().all())


def test_filters_of_zeros_have_no_similarity():
    with pytest.warns(rs.RepsimWarning):
        result = rs.compare(
            {"zero": torch.zeros(8, 3, 3, 3), "a": BANKS["a"]}, IMAGES, "covariance"
        )
    assert bool(result.similarity.sel(model="zero").isnull().all())
    assert np.isnan(result.diagonality.sel(model="zero")).all()


def test_an_unknown_kind_is_refused(repsim):
    with pytest.raises(rs.UsageError, match="kind"):
        rs.compare(BANKS, IMAGES, "covariance:kind=burs")
