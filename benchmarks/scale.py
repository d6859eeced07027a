"""Measure what a sweep of many tiny trainings takes in the process that starts it.

What: seconds of processor time of the driver for each run, and the growth of its memory, for 250,
500 and 1,000 runs: trained by two workers of a Dask cluster (processes of one thread with a cache
of their own, so that runs come back as bytes), by two local processes, and read from the cache. For
``sweep`` it is the whole of ``rs.sweep``: points of four networks that are read from the cache and
compared, with the nulls and intervals of a comparison; ``sweep-plain`` is without them.
Against: themselves, at the smallest number of runs: neither is to grow.

Run: python benchmarks/scale.py [--json] [--ways dask local cached] [--runs 250 500] [--profile]
"""

import argparse
import contextlib
import cProfile
import gc
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

from measure import report

PLAIN = {"null": "metric", "resamples": 0}
SWEEPS = {"sweep": {}, "sweep-plain": PLAIN}
WAYS = ("dask", "local", "cached", *SWEEPS)
PORT = 18796
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


@contextlib.contextmanager
def cluster(folder):
    """Start a scheduler and two workers of one thread, each a process; yield their address."""
    dask, address = [sys.executable, "-m"], f"tcp://127.0.0.1:{PORT}"
    env = {**os.environ, "REPSIM_CACHE": f"{folder}/workers", "OMP_NUM_THREADS": "1"}
    scheduler = ["distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", str(PORT)]
    worker = [
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--local-directory",
        folder,
    ]
    commands = [[*dask, *scheduler], [*dask, *worker], [*dask, *worker]]
    started = [subprocess.Popen([*one, "--no-dashboard"], env=env, **QUIET) for one in commands]
    try:
        yield address
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait()


def images_and_recipe():
    """Return 64 images of noise and a recipe of two steps."""
    import torch

    import repsim_energy as rs

    pixels = torch.randint(0, 256, (64, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    images = rs.ImageSet(pixels.to(torch.uint8), torch.arange(64) % 2, ("a", "b"), "noise")
    data = rs.Dataset("noise", images, images)
    return data, rs.Recipe(steps=2, batch=16, snapshots=2)


def sweep_of(runs, **how):
    """Compare two tiny networks at two seeds, at as many points as make these runs."""
    import repsim_energy as rs

    data, recipe = images_and_recipe()
    models = ["linear_cnn:filters=4", "linear_cnn:filters=8"]
    rates = [1e-3 * (1 + point) for point in range(runs // 4)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two steps leave networks near their initialization
        return rs.sweep(models, data, recipe=recipe, vary={"recipe.lr": rates}, device="cpu", **how)


def plan_of(runs):
    """Return a plan of so many seeds of a tiny network."""
    from repsim_energy.comparison import make_plan
    from repsim_energy.registry import load_registry

    data, recipe = images_and_recipe()
    registry = load_registry(plugins=False)
    return make_plan(registry, "linear_cnn:filters=4", data, runs, recipe, "cpu")


def memory():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


def measure(way, runs, address, profile):
    """Run a plan in this process, the driver."""
    from repsim_energy.comparison import train_networks
    from repsim_energy.progress import Reporter
    from repsim_energy.scheduling import scheduler_of

    if way in SWEEPS:
        sweep_of(8, **SWEEPS[way])
        return measured(way, runs, profile, lambda: sweep_of(runs, **SWEEPS[way]).run_id.size)
    warm = plan_of(4)
    where = {"dask": address, "local": "local:2", "cached": "local:1"}[way]
    with scheduler_of(where) as scheduler:
        train_networks(warm, scheduler, Reporter())
        return measured(
            way, runs, profile, lambda: train_networks(plan_of(runs), scheduler, Reporter())[0]
        )


def measured(way, runs, profile, work):
    """Return what some work takes in this process, which returns the runs or their number."""
    gc.collect()
    before, cpu, start = memory(), time.process_time(), time.perf_counter()
    profiler = cProfile.Profile()
    with profiler if profile else contextlib.nullcontext():
        done = work()
    found = {
        "way": way,
        "runs": runs,
        "driver ms per run": 1e3 * (time.process_time() - cpu) / runs,
        "wall ms per run": 1e3 * (time.perf_counter() - start) / runs,
    }
    gc.collect()
    found["MB beyond the start"] = memory() - before
    found["KB per run"] = 1024 * found["MB beyond the start"] / runs
    assert (done if isinstance(done, int) else len(done)) == runs
    if profile:
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumtime").print_stats(45)
    return found


def in_new_process(way, runs, address, cache, profile):
    env = {**os.environ, "REPSIM_CACHE": cache}
    command = [sys.executable, __file__, "--one", way, str(runs), address]
    command += ["--profile"] * profile
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--runs", nargs="+", type=int, default=[250, 500, 1000])
    parser.add_argument("--profile", action="store_true", help="print where the driver spends time")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        way, runs, address = options.one
        print(json.dumps(measure(way, int(runs), address, options.profile)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for way in options.ways:
            for runs in options.runs:
                cache = f"{folder}/{way}-{runs}"
                if way == "cached" or way in SWEEPS:
                    in_new_process("local" if way == "cached" else way, runs, "-", cache, False)
                opened = (
                    cluster(f"{folder}/w{runs}") if way == "dask" else contextlib.nullcontext("-")
                )
                with opened as address:
                    rows.append(in_new_process(way, runs, address, cache, options.profile))
    report(rows, options.json)


if __name__ == "__main__":
    main()
