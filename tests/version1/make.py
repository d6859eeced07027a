"""Write the result files of schema version 1 beside this script.

They were made once, by ``python make.py`` with the code of commit 9b0816d, the last one that wrote
version 1. Later code writes a later version, so do not run it again.
"""

import gzip
from pathlib import Path

import torch
from torch import nn

import repsim_energy as rs

HERE = Path(__file__).parent


def images(seed, name):
    """Return 30 gray images of 6x6 random bytes."""
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (30, 1, 6, 6), dtype=torch.uint8, generator=generator)
    return rs.ImageSet(pixels, torch.arange(30) % 2, ("a", "b"), name)


def small(classes, channels):
    """Return a network of two filters, which is trained."""
    pooled = nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    return nn.Sequential(nn.Conv2d(channels, 2, 2), *pooled, nn.Linear(2, classes))


def main():
    """Compare a given and a trained network on two data sets, by two metrics."""
    torch.manual_seed(0)
    head = nn.ReLU(), nn.Flatten(), nn.Linear(75, 2)
    given = nn.Sequential(nn.Conv2d(1, 3, 2, bias=False), nn.BatchNorm2d(3), *head)
    models = {"given": given, "trained": small}
    sets = [rs.Dataset(name, images(i, name), images(i + 2, name)) for i, name in enumerate("xy")]
    common = {"recipe": "quick:steps=2", "jobs": 1}
    results = {
        "energy": rs.compare(models, sets, fold={"given": "bn"}, **common),
        "cka": rs.compare(
            models,
            sets,
            "cka",
            layers=["first", "output"],
            images=20,
            seeds=1,
            **common,
            normalize={"given": "none"},
            channels={"given": "rgb"},
        ),
    }
    for name, result in results.items():
        rs.save_result(result, HERE / "result.nc")
        content = (HERE / "result.nc").read_bytes()
        (HERE / f"{name}.nc.gz").write_bytes(gzip.compress(content, 9, mtime=0))
        (HERE / "result.nc").unlink()


if __name__ == "__main__":
    main()
