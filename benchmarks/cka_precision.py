"""Measure what bfloat16 in forward passes changes in CKA, and how much time it saves.

Networks: --models as of `repsim compare` (trained or read from the cache), and, with --whole, the
CIFAR-10 networks of other people whose architecture follows from their files: convolutions with a
ReLU (or sigmoid) behind each, without padding or with one pixel of it, then linear layers. Images:
--dataset. All convolutions and the output are compared in float32 and in bfloat16.

Run: python benchmarks/cka_precision.py --dataset npz:path=cifar10-subset.npz [--whole FOLDER]
     [--models vgg11,resnet18] [--images 1000] [--metric cka] [--json]
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np
import torch
from measure import report
from safetensors.torch import load_file
from torch import nn

import repsim_energy as rs
from repsim_energy.comparison import reduced_precision


def sequential(path):
    """Return the network of a file with tensors 0.weight, 2.weight, ..., or None."""
    tensors = load_file(path)
    if not all(re.fullmatch(r"\d+\.(weight|bias)", name) for name in tensors):
        return None
    numbers = sorted({int(name.split(".")[0]) for name in tensors})
    act = nn.Sigmoid if "sigmoid" in path.name else nn.ReLU
    for padding in (0, 1):
        layers = []
        for number in range(numbers[-1] + 1):
            weight = tensors.get(f"{number}.weight")
            if weight is None:
                flat = number + 1 in numbers and tensors[f"{number + 1}.weight"].ndim == 2
                layers.append(nn.Flatten() if flat and number - 1 not in numbers else act())
            elif weight.ndim == 4:
                stride = 2 if weight.shape[-1] == 4 else 1
                layers.append(nn.Conv2d(*weight.shape[1::-1], weight.shape[-1], stride, padding))
            else:
                layers.append(nn.Linear(*weight.shape[::-1]))
        network = nn.Sequential(*layers)
        network.load_state_dict(tensors)
        try:
            network(torch.zeros(1, 3, 32, 32))
        except RuntimeError:
            continue
        return network
    return None


def measured(models, options, rounds):
    results, taken = {}, {"float32": [], "bfloat16": []}
    for _ in range(rounds):
        for precision, times in taken.items():
            start = time.perf_counter()
            results[precision] = rs.compare(models, precision=precision, **options)
            times.append(time.perf_counter() - start)
    exact, reduced = (r.similarity.values for r in results.values())
    size = int(exact.size**0.5)
    pairs = np.triu_indices(size, 1)
    change = np.abs(exact - reduced).reshape(size, size)[pairs]
    change = change[np.isfinite(change)]
    return {
        "pairs": len(change),
        "largest": change.max(),
        "99%": np.quantile(change, 0.99),
        "median": np.median(change),
        "said of the first images": results["bfloat16"].attrs["precision_change"],
        **{f"{name} s": min(times) for name, times in taken.items()},
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True)
    parser.add_argument("--models")
    parser.add_argument("--whole", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--metric", default="cka")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    reduced_precision.MAX_CHANGE = float("inf")  # to measure what would be refused, too
    common = {
        "dataset": options.dataset,
        "metric": options.metric,
        "images": options.images,
        "layers": ["convs", "output"],
        "null": "metric",
    }
    rows = []
    if options.whole:
        files = sorted(options.whole.glob("*cifar*.safetensors"))
        given = {path.stem: sequential(path) for path in files}
        given = {label: network for label, network in given.items() if network is not None}
        found = measured(given, {**common, "normalize": "cifar"}, options.rounds)
        rows.append({"case": f"{len(given)} networks of other people", **found})
    if options.models:
        rows.append({"case": options.models, **measured(options.models, common, options.rounds)})
    report(rows, options.json)


if __name__ == "__main__":
    main()
