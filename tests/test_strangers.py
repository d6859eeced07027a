"""The page on networks of strangers says what is measured, within tolerances stated here."""

import os
import re
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*holds 'input.scale'"),  # of opencv_res10_ssd_face
]

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/explanation/networks-of-strangers.md"

BEYOND_ROUNDING = 0.005
"""What a number of a table may be off by, besides its last digit: pictures are decoded, and
correlations near 0.8 counted, with the rounding of a machine."""

HEADLINES = [
    # what, which number, its value, how far it may be off
    ("files", "read", 117, 0),
    ("files", "refused", 1, 0),
    ("files", "with the filters of a first layer", 23, 0),
    ("files", "largest difference of a profile", 0, 1e-9),
    ("sources", "number", 24, 0),
    ("sources", "largest three", 44, 0),
    ("sources", "networks that see faces", 46, 0),
    ("sources", "lineages", 7, 0),
    ("sources", "networks in lineages", 26, 0),
    ("fit all families", "networks", 94, 0),
    ("fit all families", "lowest", 0.20, 0.01),
    ("fit all families", "median", 0.82, 0.01),
    ("fit all families", "highest", 0.96, 0.01),
    ("fit all families", "median steps", 74, 2),
    ("fit all families", "at a bound", 4, 0),
    ("pairs, common weights", "beside the theory", 0.89, 0.02),
    ("pairs, same family, same task", "beside the theory", 0.48, 0.02),
    ("pairs, other family, same task", "beside the theory", 0.16, 0.02),
    ("pairs, same family, other task", "beside the theory", 0.10, 0.02),
    ("pairs, other family, other task", "beside the theory", 0.13, 0.02),
    ("normal random banks with each other", "97.5%", 0.38, 0.04),
    ("uniform random banks with each other", "2.5%", -0.38, 0.04),
    ("normal random banks with trained", "2.5%", -0.37, 0.04),
    ("uniform random banks with trained", "97.5%", 0.40, 0.04),
    ("smooth random banks with each other", "median", 0.94, 0.02),
    ("smooth random banks with trained", "median", 0.42, 0.03),
    ("smooth random banks with trained", "97.5%", 0.70, 0.03),
    ("half against half, all networks", "lower quartile", 0.49, 0.03),
    ("half against half, all networks", "median", 0.62, 0.03),
    ("half against half, all networks", "upper quartile", 0.79, 0.03),
    ("pairs, EfficientNet-Lite", "pairs", 3, 0),
    ("pairs, EfficientNet-Lite", "median", 0.96, 0.01),
    ("basis CIFAR-10", "images", 5170, 0),
    ("basis ImageNet", "images", 167, 0),
    ("basis Kyoto", "images", 62, 0),
    ("basis traffic signs", "images", 1500, 0),
    ("basis ImageNet", "correlation with CIFAR-10's r", 0.995, 0.002),
    ("basis Kyoto", "correlation with CIFAR-10's r", 0.984, 0.002),
    ("basis traffic signs", "correlation with CIFAR-10's r", 0.989, 0.002),
    ("basis ImageNet", "largest move", 0.13, 0.01),
    ("basis Kyoto", "largest move", 0.25, 0.01),
    ("basis traffic signs", "largest move", 0.17, 0.01),
    ("raw against folded, same network", "networks", 45, 0),
    ("raw against folded, same network", "median", 0.84, 0.01),
    ("raw against folded, same network", "lowest", 0.61, 0.01),
    ("raw against folded, same network", "effective filters raw", 15.7, 0.1),
    ("raw against folded, same network", "effective filters folded", 7.2, 0.1),
    ("raw against folded, same network", "median steps raw", 64, 2),
    ("raw against folded, same network", "median steps folded", 147, 4),
    ("folding, both norms beside", "median raw", 0.66, 0.01),
    ("folding, both norms beside", "median folded", 0.50, 0.01),
    ("folding, one beside, one folded", "median raw", 0.54, 0.01),
    ("folding, one beside, one folded", "median folded", 0.50, 0.01),
    ("folded pairs, same family, same task", "median", 0.68, 0.01),
    ("4x4x1 on MNIST", "convex_mnist", 0.24, 0.01),
    ("epoch 0", "with the last", 0.33, 0.01),
    ("epoch 8", "with the last", 0.88, 0.01),
    ("epoch 25", "with the last", 0.98, 0.01),
    ("epoch 0", "fit", 0.50, 0.01),
    ("epoch 32", "fit", 0.97, 0.01),
    ("epoch 110", "fit", 0.95, 0.01),
    ("epoch 0", "weights with KDEF's", 0.985, 0.001),
    ("epoch 0", "with KDEF's", 0.96, 0.01),
    ("epoch 110", "with KDEF's", 0.16, 0.01),
    ("mlperf_tiny_resnet8", "steps", 678, 20),
    ("beyond theory, networks", "measured", 65, 0),
    ("beyond theory, networks", "networks", 60, 0),
    ("beyond theory, pairs of two families", "groups", 15, 0),
    ("beyond theory, pairs of two sources", "groups", 14, 0),
    ("beyond theory, one network of each family", "median beyond", 0.51, 0.01),
    ("beyond theory, one network of each family", "2.5% of the draws", 0.26, 0.01),
    ("beyond theory, one network of each family", "97.5% of the draws", 0.65, 0.01),
]


@pytest.fixture(scope="module")
def rows():
    """What the script prints, by what it is of."""
    folder = os.environ.get("REPSIM_TEST_IMAGES", "/nowhere")
    if not Path(folder, "networks").is_dir():
        pytest.skip("REPSIM_TEST_IMAGES names no folder with networks/")
    with pytest.MonkeyPatch.context() as session:
        session.syspath_prepend(str(ROOT / "benchmarks"))
        from strangers import all_rows

        return {row["what"]: row for row in all_rows(folder)}


@pytest.mark.parametrize(("what", "name", "value", "tolerance"), HEADLINES)
def test_the_figures_are_those_of_the_page(rows, what, name, value, tolerance):
    assert rows[what][name] == pytest.approx(value, abs=tolerance, rel=0)


def tables():
    """The tables of the page: (what, name of a column, cell) of each cell with a number."""
    for table in re.findall(r"(?:^\|.*\n)+", PAGE.read_text(), re.MULTILINE):
        head, _, *lines = [
            [cell.strip() for cell in line.strip("|\n").split("|")] for line in table.splitlines()
        ]
        for what, *cells in lines:
            for name, cell in zip(head[1:], cells, strict=True):
                if name != "why":
                    yield what, name, cell


def test_every_cell_of_the_page_is_measured(rows):
    cells = [*tables()]
    assert len(cells) > 130
    for what, name, cell in cells:
        last_digit = 10.0 ** -len(cell.partition(".")[2])
        allowed = last_digit / 2 + BEYOND_ROUNDING if "." in cell else 0
        assert rows[what][name] == pytest.approx(float(cell), abs=allowed, rel=0), (what, name)


def test_no_median_of_a_group_depends_much_on_the_images(rows):
    first = rows["basis CIFAR-10"]
    for name in ("ImageNet", "Kyoto", "traffic signs"):
        row = rows[f"basis {name}"]
        assert 0.01 <= row["median move"] <= 0.02
        groups = [key for key in row if "weights" in key or "task" in key]
        assert len(groups) == 5
        assert all(abs(row[group] - first[group]) <= 0.03 for group in groups)


def test_the_pair_done_by_hand_is_the_one_of_the_script(rows):
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    found = {}
    exec(block, found)  # noqa: S102
    said = float(re.search(r"# (\S+)$", block.strip())[1])
    assert found["r"] == pytest.approx(said, abs=0.005)
