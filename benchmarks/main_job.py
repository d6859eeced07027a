"""Time the first command of the README, as whole processes.

`repsim compare --metric energy --models vgg11,resnet18 -o result.nc`, with an empty cache, with the
trained networks in the cache, and with the recipe's precision float32. Beside the whole time are
the seconds of each training, and the arithmetic of all of them (three passes of 2 operations for
each multiplication) for each second.

Run: python benchmarks/main_job.py [--rounds 1] [--jobs N] [--only fresh,cached,float32] [--json]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import report

COMMAND = ["compare", "--metric", "energy", "--models", "vgg11,resnet18"]
GIGA_OPERATIONS = {"vgg11": 0.92, "resnet18": 3.34}
"""Of a training step, for each image of 32x32."""

WAYS = {"fresh": "quick", "cached": "quick", "float32": "quick:precision=float32"}


def seconds(cache, recipe, jobs):
    """Return the seconds of a command, and those of the trainings in the cache."""
    command = [sys.executable, "-m", "repsim_energy", *COMMAND, "--recipe", recipe, *jobs]
    start = time.perf_counter()
    subprocess.run(
        [*command, "-o", str(cache / "result.nc")],
        check=True,
        env={**os.environ, "REPSIM_CACHE": str(cache)},
        capture_output=True,
    )
    taken = time.perf_counter() - start
    runs = [json.loads(path.read_text("utf-8")) for path in cache.glob("runs/*/run.json")]
    return taken, runs


def row(way, taken, runs):
    found = {"way": way, "seconds": taken}
    if way == "cached":
        return found
    trained = sum(
        GIGA_OPERATIONS[run["model"]] * run["recipe"]["batch"] * run["steps"] for run in runs
    )
    for run in sorted(runs, key=lambda run: run["label"]):
        found[run["label"]] = run["seconds"]
    accuracies = [run["test_accuracy"] for run in runs]
    return found | {
        "precision": runs[0]["recipe"]["precision"],
        "lowest_accuracy": min(accuracies),
        "GF_per_s_of_training": trained / sum(run["seconds"] for run in runs),
    }


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--only", default=",".join(WAYS))
    chosen = parser.parse_args()
    jobs = ["--jobs", str(chosen.jobs)] if chosen.jobs else []
    rows = []
    for _ in range(chosen.rounds):
        with tempfile.TemporaryDirectory() as folder:
            for way in chosen.only.split(","):
                cache = Path(folder) / WAYS[way].replace(":", "-")
                cache.mkdir(exist_ok=True)
                rows.append(row(way, *seconds(cache, WAYS[way], jobs)))
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
