"""``repsim basis`` prints the components of a data set and what they are."""

import csv
import io

import numpy as np
import pytest
from samples import LEAVES, TINY

import repsim_energy as rs
from repsim_energy.registry import load_dataset, load_registry


def csv_of(repsim, *args):
    done = repsim("basis", *args, "--csv", "-q")
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.mark.parametrize("patch", [(3, 3), (2, 5)])
def test_the_csv_has_the_numbers_of_python(repsim, patch):
    rows = csv_of(repsim, LEAVES, "--patch", "x".join(map(str, patch)))
    images = load_dataset(load_registry(plugins=False), LEAVES).train.images
    basis = rs.patch_moments(images, patch).basis()
    found = rs.describe_components(basis.components.reshape(-1, *basis.patch))
    variance = basis.eigenvalues.numpy()
    expected = {"eigenvalue": variance, "variance_share": variance / variance.sum(), **found}
    assert [int(row["component"]) for row in rows] == list(range(len(variance)))
    for name, values in expected.items():
        numbers = np.array([float(row[name] or "nan") for row in rows])
        np.testing.assert_array_equal(numbers, values, err_msg=name)


def test_the_basis_is_that_of_a_comparison_with_variants_too(repsim):
    chain = f"{LEAVES}+alpha_scaled:component=2:alpha=3"
    rows = csv_of(repsim, chain)
    result = rs.compare(TINY, chain, seeds=1, recipe="quick:steps=1")
    assert [float(row["eigenvalue"]) for row in rows] == result.eigenvalue.values.ravel().tolist()
    assert [float(row["frequency"]) for row in rows] == result.frequency.values.ravel().tolist()


def test_the_table_has_a_line_for_each_component_and_no_full_turn(repsim):
    done = repsim("basis", LEAVES, "--patch", "3x3")
    lines = [line.split("│") for line in done.stdout.splitlines() if line.startswith("│")]
    assert [int(line[1]) for line in lines] == list(range(27))
    assert all(line[5].strip() == "-" or 0 <= int(line[5]) < 180 for line in lines)
    assert "27 components of" in done.stdout


@pytest.mark.parametrize("patch", ["3", "3x", "0x3", "3x3x3", "-1x2"])
def test_other_sizes_are_refused_in_one_line(repsim, patch):
    done = repsim("basis", LEAVES, "--patch", patch)
    assert done.returncode == 2
    assert done.stderr.startswith("error: got --patch")
    assert len(done.stderr.splitlines()) == 1
