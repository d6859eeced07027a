"""The page on covariances says what is measured on networks of strangers."""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/covariance.md"
BOUNDS = {"below 0.6": "-1 to 0.6", "above 0.95": "0.95 to 1.01"}
COLUMNS = {
    "pairs": "pairs",
    "cosine": "median",
    "lowest": "lowest",
    "squared profiles": "median of squared profiles",
    "off-diagonal": "off-diagonal, median",
}


@pytest.fixture(scope="module")
def rows():
    """What the script prints of the networks, by what it is of."""
    folder = os.environ.get("REPSIM_TEST_IMAGES", "/nowhere")
    if not Path(folder, "networks").is_dir():
        pytest.skip("REPSIM_TEST_IMAGES names no folder with networks/")
    with pytest.MonkeyPatch.context() as session:
        session.syspath_prepend(str(ROOT / "benchmarks"))
        from covariance import strangers_rows

        return {row["what"]: row for row in strangers_rows(folder)}


def test_the_table_of_pairs_is_measured(rows):
    (table,) = re.findall(r"^\| r of the profiles .*\n(?:\|.*\n)+", PAGE.read_text(), re.MULTILINE)
    head, _, *lines = [
        [cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()
    ]
    assert len(lines) == 5
    for bounds, *cells in lines:
        row = rows[f"pairs of r {BOUNDS.get(bounds, bounds)}"]
        for name, cell in zip(head[1:], cells, strict=True):
            allowed = 0.01 if "." in cell else 0
            assert row[COLUMNS[name]] == pytest.approx(float(cell), abs=allowed, rel=0)


@pytest.mark.parametrize(
    ("what", "name", "value", "tolerance"),
    [
        ("diagonality of all", "median", 0.64, 0.01),
        ("diagonality beside white filters", "above", 49, 1),
        ("diagonality beside independent filters", "below", 20, 2),
        ("diagonality beside independent filters", "above", 3, 2),
        ("misalignment of all", "networks", 18, 0),
        ("misalignment beside white filters", "below", 0, 0),
        ("misalignment beside white filters", "above", 6, 1),
        ("effective_rank of all", "median", 5.7, 0.1),
        ("effective_rank beside white filters", "below", 56, 2),
        ("hed_vgg16", "misalignment", 11.7, 0.1),
        ("efficientnet_lite0", "diagonality", 0.42, 0.01),
        ("minifasnet_v2, minifasnet_v1se", "cosine", 0.96, 0.01),
    ],
)
def test_the_figures_are_those_of_the_page(rows, what, name, value, tolerance):
    assert rows[what][name] == pytest.approx(value, abs=tolerance, rel=0)
