"""``repsim show``: a stored result as it was printed, and its tables with all digits."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from samples import LEAVES, TINY

import repsim_energy as rs
from repsim_energy.results import Variable, assemble, save_results

pytestmark = pytest.mark.filterwarnings("ignore::repsim_energy.errors.RepsimWarning")

ODD = ['a,"b"', "é", " blank ", "=1+1", "two\r\nlines"]


def banks(labels):
    generator = torch.Generator().manual_seed(0)
    models = {label: torch.randn(4, 1, 2, 2, generator=generator) for label in labels}
    return rs.compare(models, torch.rand(20, 1, 6, 6, generator=generator))


@pytest.fixture
def path(tmp_path):
    rs.save_result(banks(["a", "b", "c"]), tmp_path / "r.nc")
    return str(tmp_path / "r.nc")


def test_a_result_is_printed_as_compare_printed_it(repsim, tmp_path):
    path = str(tmp_path / "r.nc")
    args = ("--dataset", LEAVES, "--recipe", "quick:epochs=1", "--jobs", "1", "-q", "-o", path)
    compared = repsim("compare", "--models", f"{TINY},linear_cnn:filters=4", *args)
    shown = repsim("show", path)
    assert (compared.returncode, shown.returncode) == (0, 0), compared.stderr
    assert shown.stdout == compared.stdout
    as_json = repsim("show", path, "--json").stdout
    stored = rs.open_result(path)
    assert json.loads(as_json)["attrs"]["created"] == stored.attrs["created"]
    energy = json.loads(as_json)["data_vars"]["energy"]["data"]
    np.testing.assert_array_equal(energy, stored.energy.values)


def test_csv_gives_every_digit_and_every_name_back(repsim, tmp_path):
    result = banks(ODD)
    result["similarity"][0, 0, 0, 0, 1, 0] = np.nan
    rs.save_result(result, tmp_path / "r.nc")
    done = repsim("show", str(tmp_path / "r.nc"), "--csv")
    text = done.stdout
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    frame = rs.pairs(result)
    assert header == list(frame.columns)
    assert len(rows) == 10
    for row, expected in zip(rows, frame.to_dict("records"), strict=True):
        for cell, value in zip(row, expected.values(), strict=True):
            if isinstance(value, float):
                np.testing.assert_equal(float(cell or "nan"), value)
            else:
                assert cell == str(value)
    assert rows[0][6] == ""
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_lines_of_csv_end_as_rfc_4180_has_it(path):
    command = [sys.executable, "-m", "repsim_energy", "show", path, "--csv"]
    out = subprocess.run(command, capture_output=True, check=True, timeout=120).stdout
    assert out.count(b"\r\n") == out.count(b"\n") == out.count(b"\r") == 4


@pytest.mark.parametrize("what", ["similarity", "profiles", "runs", "eigenvalue", "basis_id"])
def test_each_table_is_printed_in_three_forms(repsim, path, what):
    result = rs.open_result(path)
    plain, as_csv, as_json = (
        repsim("show", path, "--what", what, *form) for form in ([], ["--csv"], ["--json"])
    )
    rows = list(csv.DictReader(io.StringIO(as_csv.stdout, newline="")))
    records = json.loads(as_json.stdout)
    assert len(rows) == len(records) == plain.stdout.count("\n") - 5  # title and lines of the box
    assert list(rows[0]) == list(records[0])
    if what == "profiles":
        assert [record["energy"] for record in records] == rs.profiles(result).energy.tolist()
    if what == "runs":
        assert [row["model"] for row in rows] == ["a", "b", "c"]
    assert plain.stdout.splitlines()[0].startswith(f"{what}, dataset images")


def test_groups_are_listed_and_one_is_chosen(repsim, tmp_path):
    path = str(tmp_path / "two.nc")
    curve = Variable(("component",), [3.0, 1.0], "a curve")
    alone = assemble({"curve": curve}, {"component": [0, 1]}, {}, {})
    save_results({"banks": banks(["a", "b"]), "curves": alone}, path)
    listed = repsim("show", path)
    assert listed.returncode == 0
    assert [name in listed.stdout for name in ("banks", "curves", "2 model")] == [True] * 3
    assert "--group banks" in listed.stderr
    assert "a curve" in repsim("show", path, "--group", "curves").stdout
    chosen = repsim("show", path, "--group", "banks")
    assert chosen.stdout.startswith("energy_profile_correlation on images")
    values = repsim("show", path, "--group", "curves", "--what", "curve", "--csv").stdout
    assert values.splitlines() == ["component,curve", "0,3.0", "1,1.0"]
    refused = repsim("show", path, "--csv")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "expected --group banks or --group curves" in refused.stderr


def test_a_single_network_has_no_pairs_and_the_command_says_so(repsim, tmp_path):
    rs.save_result(banks(["a"]), tmp_path / "r.nc")
    done = repsim("show", str(tmp_path / "r.nc"), "--csv")
    assert done.stdout.count("\n") == 1
    assert "no pair of different networks" in done.stderr


def test_a_table_without_rows_is_printed(repsim, tmp_path):
    rs.save_result(banks(["a"]), tmp_path / "r.nc")
    done = repsim("show", str(tmp_path / "r.nc"), "--what", "snapshot_step")
    assert (done.returncode, "snapshot_step" in done.stdout) == (0, True)


def test_what_cannot_be_shown_is_one_line(repsim, path, tmp_path):
    content = Path(path).read_bytes()
    damaged = tmp_path / "damaged.nc"
    damaged.write_bytes(content[:200] + b"x" + content[201:])
    for args, code, message in (
        ([str(tmp_path / "no.nc")], 2, "no result at"),
        ([str(damaged)], 4, "is damaged"),
        ([path, "--group", "a"], 2, "one result without groups"),
        ([path, "--what", "profile"], 2, "did you mean 'profiles'"),
        ([path, "--csv", "--json"], 2, "expected one of them"),
    ):
        done = repsim("show", *args)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr
        assert done.stderr.count("\n") == 1
