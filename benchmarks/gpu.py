"""Measure one GPU within a time limit.

Parts: agreement with the CPU; the training loop against the usual one (DataLoader, float32 as torch
starts with it, .item() in every step); several seeds as one batched network against one after
another; patch moments against unfolding; CKA against the Gram matrices; whole epochs of the
published sizes, and from them the time of `reproduce table1 table2 table3 --scale full`.
Images: CIFAR-10 if it is in the cache, else smooth random ones. Nothing is downloaded.

The parts share the time. They run in a process of their own, which is ended if a single step takes
too long, or if the GPU fails; the other parts then run in a new one. What was left out is reported.

Run: python benchmarks/gpu.py --json gpu.json [--minutes 8] [--parts seeds,epochs]
"""

import argparse
import json
import os
import selectors
import subprocess
import sys
import time
from pathlib import Path

PARTS = {"agreement": 1, "loop": 2, "epochs": 3, "seeds": 4, "patches": 1, "cka": 1, "memorized": 3}
"""The parts in their order, and their shares of the time."""

MIN_SECONDS = 3.0
"""A part is left out if there is less time for it."""

GRACE = 1.5
"""Factor by which a part may exceed its time before its process is ended."""

CHILD = Path(__file__).with_name("gpu_parts.py")


class Bench:
    """The measurements so far, in a file that is always whole."""

    def __init__(self, chosen, started):
        self.chosen, self.ends = chosen, started + 60 * chosen.minutes
        self.found = {"minutes": chosen.minutes, "scale": chosen.scale, "parts": {}}

    def left(self):
        return self.ends - time.monotonic()

    def share(self, parts):
        """Return the seconds for the first of the parts that are still to run."""
        return self.left() * PARTS[parts[0]] / sum(PARTS[part] for part in parts)

    def add(self, event):
        if "machine" in event:
            self.found["machine"] = event["machine"]
        part = self.found["parts"].setdefault(event.get("part", ""), {"rows": [], "left_out": []})
        for name, kind in (("row", "rows"), ("left_out", "left_out")):
            if name in event:
                part[kind].append(event[name])
                print(event["part"], "left out:" if kind != "rows" else "", _words(event[name]))
        self.found["parts"].pop("", None)
        self.write()

    def write(self):
        if path := self.chosen.json:
            new = path.with_name(path.name + ".part")
            new.write_text(json.dumps(self.found, indent=1) + "\n", encoding="utf-8")
            new.replace(path)


def _words(row):
    if isinstance(row, str):
        return row
    return "  ".join(
        f"{k}: {v:.4g}" if isinstance(v, float) else f"{k}: {v}" for k, v in row.items()
    )


def run_parts(bench, parts):
    """Run parts in one process; return those that are left if it ended before its last part."""
    command = [sys.executable, str(CHILD), "--scale", bench.chosen.scale]
    command += ["--device", bench.chosen.device, "--dataset", bench.chosen.dataset]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        for line in _lines(process.stdout, bench.ends):
            bench.add(json.loads(line))
            break
        while parts:
            seconds = bench.share(parts)
            if seconds < MIN_SECONDS:
                return _left_out(bench, parts)
            if not _run_part(bench, process, parts[0], seconds):
                return parts[1:]
            parts = parts[1:]
    except TimeoutError:  # it has not even begun
        return _left_out(bench, parts)
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    return []


def _left_out(bench, parts):
    for part in parts:
        bench.add({"part": part, "left_out": "all of it: no time left"})
    return []


def _run_part(bench, process, part, seconds):
    """Pass a part to the process and collect its rows; return whether the process goes on."""
    most = min(seconds * GRACE, (seconds + bench.left()) / 2)  # leaves some time to the others
    until = time.monotonic() + most
    try:
        process.stdin.write(json.dumps({"part": part, "seconds": seconds}).encode() + b"\n")
        process.stdin.flush()
        for line in _lines(process.stdout, until):
            event = json.loads(line)
            if "ended" in event:
                return True
            bench.add({"part": part, **event})
    except BrokenPipeError:
        pass
    except TimeoutError:
        reason = f"the rest: ended after {most:.0f} s, as it did not stop after {seconds:.0f} s"
        bench.add({"part": part, "left_out": reason})
        return False
    bench.add({"part": part, "left_out": "the rest: its process ended"})
    return False


def _lines(stream, until):
    """Yield the lines of a pipe; raise TimeoutError if none comes in time."""
    os.set_blocking(stream.fileno(), False)
    rest = b""
    with selectors.DefaultSelector() as selector:
        selector.register(stream, selectors.EVENT_READ)
        while True:
            if not selector.select(max(0.0, until - time.monotonic())):
                raise TimeoutError
            read = os.read(stream.fileno(), 2**16)
            if not read:
                return
            *lines, rest = (rest + read).split(b"\n")
            yield from lines


def options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="file to write, after every measurement")
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--scale", choices=("full", "smoke"), default="full")
    parser.add_argument("--device", default="auto", help="auto: the GPU, or the CPU without one")
    parser.add_argument("--dataset", default="auto", help="a data set such as npz:path=FILE")
    parser.add_argument("--parts", default=",".join(PARTS), help="separated by commas")
    chosen = parser.parse_args()
    chosen.parts = chosen.parts.split(",")
    if unknown := set(chosen.parts) - set(PARTS):
        parser.error(f"got parts {', '.join(sorted(unknown))}, expected some of {', '.join(PARTS)}")
    return chosen


def main():
    started = time.monotonic()
    bench = Bench(options(), started)
    parts = bench.chosen.parts
    while parts:
        parts = run_parts(bench, parts)
    bench.found["seconds"] = round(time.monotonic() - started, 1)
    bench.write()
    if not any(part["rows"] for part in bench.found["parts"].values()):
        sys.exit("nothing was measured")


if __name__ == "__main__":
    main()
