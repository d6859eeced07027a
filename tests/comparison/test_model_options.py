"""Options of models are coordinates, and the fitted curves are variables."""

from dataclasses import replace

import numpy as np
import pytest
from samples import RECIPE, noise_images, small_cnn

import repsim_energy as rs

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")

IMAGES = noise_images(20, (3, 8, 8))

PLUGIN = """
from samples import small_cnn
from repsim_energy import hookimpl

def net(num_classes, in_channels, *, depth: int = 2, steps: float = 0.5, c: int = 4, layer: int = 7,
        bn: bool = True, mode: str = "3", size: int | None = None):
    return small_cnn(num_classes, in_channels)

@hookimpl
def repsim_models():
    return {"net": net}
"""


def compared(models, **options):
    return rs.compare(models, IMAGES, recipe=RECIPE, seeds=1, **options)


def test_numeric_options_are_coordinates_of_the_models():
    models = ["linear_cnn:filters=8:sigma=0.1", "resnet20:width=0.25", small_cnn(2, 3)]
    result = compared(models, stage="trained")
    np.testing.assert_array_equal(result.width, [1.0, 0.25, np.nan])
    np.testing.assert_array_equal(result.filters, [8, np.nan, np.nan])
    np.testing.assert_array_equal(result.sigma, [0.1, np.nan, np.nan])
    assert (result.width.dims, result.width.units) == (("model",), "1")
    assert {"frozen", "bn"}.isdisjoint(result.coords)
    assert "width" in rs.to_dataframe(result, "energy")
    assert len(rs.pairs(result)) == 3


@pytest.mark.parametrize("metric", ["energy", "cka"])
def test_options_of_plugins_with_names_of_a_result_get_a_prefix(tmp_path, metric):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    registry = rs.load_registry([str(tmp_path / "plugin.py")])
    result = compared(["net:depth=3", "net:steps=2"], metric=metric, registry=registry)
    assert result.depth.values.tolist() == [3, 2]
    assert result.depth.dtype.kind == "i"
    assert result.option_steps.values.tolist() == [0.5, 2.0]
    assert result.option_c.values.tolist() == [4, 4]
    assert result.option_layer.values.tolist() == [7, 7]
    assert result.steps.dims == ("dataset", "model", "seed")
    assert {"bn", "mode", "size", "layer" if metric == "energy" else "bn"}.isdisjoint(result.coords)
    assert len(rs.pairs(result)) == 1
    rs.save_result(result, tmp_path / "r.nc")
    assert rs.open_result(tmp_path / "r.nc").identical(result)


def test_the_fitted_curve_is_the_one_whose_correlation_is_stored():
    gray = noise_images(20, (1, 8, 8))
    gray = replace(gray, images=gray.images.expand(-1, 3, -1, -1))
    for images, components in ((IMAGES, 27), (gray, 9)):
        result = rs.compare("linear_cnn:filters=8", images, recipe=RECIPE, seeds=2)
        variance = result.eigenvalue.values[0, :components]
        for energy, curve, r, steps in zip(
            result.energy.values.reshape(-1, 27),
            result.fit_profile.values.reshape(-1, 27),
            result.fit_correlation.values.ravel(),
            result.fit_steps.values.ravel(),
            strict=True,
        ):
            assert np.isnan(curve[components:]).all()
            measured, curve = energy[:components], curve[:components]
            assert curve.max() == measured.max()
            np.testing.assert_allclose(np.corrcoef(measured, curve)[0, 1], r, atol=1e-12)
            step_size = 0.5 / variance.max()
            theory = rs.theoretical_profile(variance, step_size=step_size, steps=steps)
            np.testing.assert_allclose(curve / curve.max(), theory / theory.max(), rtol=1e-9)
