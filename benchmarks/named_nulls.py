"""Measure how many pairs of strangers' networks are beyond each named null.

``python benchmarks/named_nulls.py FOLDER``, where FOLDER has ``cifar10-subset.npz`` and
``networks/`` (strangers_files.py).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from strangers_files import first_layers

import repsim_energy as rs

PATCHES = ((3, 3, 3), (3, 7, 7))


def main(folder):
    """Print a line for each patch size and null."""
    with np.load(Path(folder, "cifar10-subset.npz"), allow_pickle=False) as file:
        images = torch.from_numpy(file["train_images"]).permute(0, 3, 1, 2)
        labels = torch.from_numpy(file["train_labels"])
    networks = first_layers(folder)
    for patch in PATCHES:
        banks = {net.name: net.filters for net in networks if tuple(net.filters.shape[1:]) == patch}
        for null in ("white", "smooth", "spectrum"):
            result = rs.compare(banks, (images, labels), seeds=1, stage="trained", null=null)
            pairs = rs.pairs(result)
            beyond = pairs.p_value <= 0.05
            thresholds = result.null_threshold.values
            print(
                f"{patch} {null:8} {len(banks)} networks, {len(pairs)} pairs: median r "
                f"{pairs.similarity.median():.2f}, threshold "
                f"{np.nanquantile(thresholds, 0.05):.2f} to {np.nanquantile(thresholds, 0.95):.2f} "
                f"(median {np.nanmedian(thresholds):.2f}), beyond it {beyond.mean():.2f}, "
                f"after Holm {(pairs.p_holm <= 0.05).mean():.2f}, after Benjamini-Hochberg "
                f"{(pairs.p_bh <= 0.05).mean():.2f}, median calibrated "
                f"{pairs.calibrated.median():.2f}"
            )


if __name__ == "__main__":
    main(sys.argv[1])
