"""The page on deeper layers says what is measured of networks that other people trained."""

import os
import re
import runpy
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
IMAGES = os.environ.get("REPSIM_TEST_IMAGES", "")


@pytest.mark.skipif(not IMAGES, reason="REPSIM_TEST_IMAGES names no folder of networks")
@pytest.mark.filterwarnings("ignore:components of the patches")
def test_second_layers_of_strangers():
    text = (ROOT / "docs/explanation/depth.md").read_text("utf-8")
    rows = re.findall(r"^\| (\w*) ?\| ([02]) \| (.*) \|$", text, re.M)
    found = runpy.run_path(str(ROOT / "benchmarks/depth.py"))["measure"](Path(IMAGES))
    name = ""
    for label, layer, cells in rows:
        name = label or name
        one = found[name].sel(layer=layer).isel(dataset=0, seed=0)
        printed = [float(number) for number in re.findall(r"-?[\d.]+", cells)]
        trained, random = (one.sel(model=model) for model in ("trained", "random"))
        expected = [
            float(trained.layer_fit_correlation),
            float(random.layer_fit_correlation),
            float(trained.layer_fit_steps),
            float(trained.whitening_exponent),
            float(random.whitening_exponent),
        ]
        for number, value in zip(printed, expected, strict=True):
            assert number == pytest.approx(value, abs=0.02 if abs(value) < 2 else 1.5), (
                name,
                layer,
            )
    assert len(rows) == 2 * len(found)
