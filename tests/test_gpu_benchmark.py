"""The benchmark of GPUs runs through on a CPU, at a small scale."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / "benchmarks/gpu.py"
PARTS = ["agreement", "loop", "epochs", "seeds", "patches", "cka", "memorized"]

pytestmark = pytest.mark.process


def measured(folder, *options):
    command = [sys.executable, str(SCRIPT), "--json", str(folder / "gpu.json"), *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "REPSIM_CACHE": str(folder / "cache")}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    return ended, json.loads((folder / "gpu.json").read_text("utf-8"))


def test_every_part_is_measured_and_the_device_agrees_with_the_cpu(tmp_path):
    ended, found = measured(tmp_path, "--scale", "smoke", "--minutes", "10")
    assert ended.returncode == 0, ended.stderr
    assert found["machine"]["torch"]
    assert list(found["parts"]) == PARTS
    for name, part in found["parts"].items():
        assert part["rows"], name
        assert part["left_out"] == []
        assert not [row for row in part["rows"] if "error" in row or "out_of_memory" in row]
    assert all(row["holds"] for row in found["parts"]["agreement"]["rows"])
    works = [row for row in found["parts"]["epochs"]["rows"] if "work" in row]
    assert all(row["minutes_per_epoch"] > 0 for row in works)
    assert {row["work"] for row in works} >= {"nine trainings", "table1 table2 table3"}


def test_what_there_is_no_time_for_is_reported(tmp_path):
    ended, found = measured(tmp_path, "--scale", "smoke", "--minutes", "0.0001")
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith("nothing was measured")
    assert [part["left_out"] for part in found["parts"].values()] == [
        ["all of it: no time left"]
    ] * 7
