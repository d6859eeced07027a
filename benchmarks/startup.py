"""Time the start of commands, and a comparison of cached networks, as whole processes.

Against: a bare interpreter, `import torch`, and `import torch, xarray`, without and with a first
variable of xarray, which imports dask where that is installed. The processes alternate. The
networks (vgg11 and resnet18, two seeds of a few steps) are trained first, into a cache of their own
that is removed at the end; `--metric cka` shows them 1,000 images.

Run: python benchmarks/startup.py [--rounds N] [--cka] [--json]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

COMPARE = (
    *("-m", "repsim_energy", "compare", "--models", "vgg11,resnet18"),
    *("--recipe", "quick:steps=4"),
)
COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "repsim --help": ["-m", "repsim_energy", "--help"],
    "repsim --version": ["-m", "repsim_energy", "--version"],
    "repsim models": ["-m", "repsim_energy", "models"],
    "repsim plugins": ["-m", "repsim_energy", "plugins"],
    "import torch": ["-c", "import torch"],
    "import torch, xarray": ["-c", "import torch, xarray"],
    "the same, a variable": ["-c", "import torch, xarray; xarray.Variable((), 0)"],
    "compare, cached": [*COMPARE, "--metric", "energy"],
}
BARE = "import torch, xarray"


def seconds(arguments, environment):
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cka", action="store_true", help="also compare cached networks by CKA")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    commands = dict(COMMANDS)
    if chosen.cka:
        commands["compare by cka, cached"] = [*COMPARE, "--metric", "cka"]
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "REPSIM_CACHE": cache}
        seconds(commands["compare, cached"], environment)
        taken = {name: [] for name in commands}
        for _ in range(chosen.rounds):  # in turn, so that a slow phase of the machine affects all
            for name, arguments in commands.items():
                taken[name].append(seconds(arguments, environment))
    rows = [
        {
            "command": name,
            "median": statistics.median(values),
            "lowest": min(values),
            "ratio": statistics.median(a / b for a, b in zip(values, taken[BARE], strict=True)),
        }
        for name, values in taken.items()
    ]
    if chosen.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print(
            f"{row['command']:24} median {row['median']:.3f} s, lowest {row['lowest']:.3f} s, "
            f"{row['ratio']:.2f} x '{BARE}'"
        )


if __name__ == "__main__":
    main()
