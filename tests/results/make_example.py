"""Make the result and the runs that ship with the package (minutes on two cores).

Run it from the root of the repository when the schema gains variables:
``python tests/results/make_example.py``.
"""

import contextlib
import gzip
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path

from safetensors.torch import load_file, save_file

COMMAND = (
    "repsim compare --models vgg=vgg11:width=0.25,resnet=resnet18:width=0.125 "
    "--dataset deadleaves:limit=2000:size=16 --seeds 2 "
    "--recipe quick:steps=300:snapshots=8:evaluations=8:precision=float32 --jobs 1 -o example.nc"
)


def make(result_file, runs_file):
    """Run the command with an empty cache, and write what the package ships."""
    before = Path.cwd()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["REPSIM_CACHE"] = f"{folder}/cache"
        os.chdir(folder)
        sys.argv = shlex.split(COMMAND)
        from repsim_energy.cli import main

        with contextlib.suppress(SystemExit):
            main()
        os.chdir(before)
        content = Path(folder, "example.nc").read_bytes()
        result_file.write_bytes(gzip.compress(content, mtime=0))
        tensors, manifests = {}, {}
        for run in sorted(Path(folder, "cache", "runs").iterdir()):
            manifests[run.name] = (run / "run.json").read_text(encoding="utf-8")
            facts = json.loads(manifests[run.name])
            manifests[run.name] = json.dumps(
                {k: v for k, v in facts.items() if k not in ("key", "sha256", "seal")}
            )
            for name, tensor in load_file(run / "filters.safetensors").items():
                tensors[f"{run.name}/{name}"] = tensor
        save_file(tensors, runs_file, metadata=manifests)


if __name__ == "__main__":
    package = Path(__file__).parents[2] / "repsim_energy"
    make(package / "results" / "example.nc.gz", package / "training" / "example_runs.safetensors")
