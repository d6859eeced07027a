"""Time the start of commands, as whole processes.

Against: a bare interpreter, and `import torch`. The processes alternate, nine rounds.

Run: python benchmarks/startup.py
"""

import statistics
import subprocess
import sys
import time

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "repsim --help": ["-m", "repsim_energy", "--help"],
    "repsim plugins": ["-m", "repsim_energy", "plugins"],
    "import torch": ["-c", "import torch"],
}
ROUNDS = 9


def seconds(arguments):
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


def main():
    taken = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):  # in turn, so that a slow phase of the machine affects all
        for name, arguments in COMMANDS.items():
            taken[name].append(seconds(arguments))
    bare = statistics.median(taken["python -c pass"])
    for name, values in taken.items():
        median = statistics.median(values)
        print(f"{name:16} median {median:.3f} s, {median / bare:.1f} x a bare interpreter")


if __name__ == "__main__":
    main()
