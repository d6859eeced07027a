"""A small run of everything on images that whole-number arithmetic makes, equal everywhere.

Run ``python tests/known_numbers.py`` to write ``known_numbers.json`` anew, after a change that is
meant to change numbers; say in the commit which, and why.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch

import repsim_energy as rs
from repsim_energy.interfaces import Dataset, ImageSet

PATH = Path(__file__).with_name("known_numbers.json")
RECIPE = rs.Recipe(lr=0.003, batch=32, steps=5, snapshots=2)
MODELS = ["linear_cnn:filters=8:sigma=0.1", "vgg11:width=0.125", "resnet20:width=0.25"]


def whole_numbers(count, seed=0):
    """Return so many pseudo-random bytes (splitmix64, whose arithmetic wraps)."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(56)).astype(np.int64)


def pictures(count=600, size=32):
    """Return smooth pictures (n, 3, size, size) uint8 whose channels have much in common."""
    noise = whole_numbers(count * 4 * (size + 4) ** 2).reshape(count, 4, size + 4, size + 4)
    sums = sum(noise[:, :, dy : dy + size, dx : dx + size] for dy in range(5) for dx in range(5))
    mixed = 2 * sums[:, :1] + sums[:, 1:]
    return torch.from_numpy(np.clip((mixed - 9562) // 12 + 128, 0, 255).astype(np.uint8))


def bank(k, patch, seed=1):
    """Return k filters of whole numbers."""
    size = int(np.prod(patch))
    values = whole_numbers(k * size, seed).reshape(k, *patch) - 128
    return torch.from_numpy(values).double() / 1024


def digest(tensor):
    return hashlib.sha256(tensor.to(torch.int64).contiguous().numpy().tobytes()).hexdigest()


def exact():
    """Return what has to be the same in every bit: sums of bytes."""
    images = pictures()
    for patch in ((3, 3), (7, 7)):
        moments = rs.patch_moments(images, patch)
        name = f"patch moments {patch[0]}x{patch[1]}"
        yield name, [moments.count, digest(moments.total), digest(moments.second)]


def close():
    """Return what has to be the same up to the rounding of float64."""
    images = pictures()
    basis = rs.patch_moments(images, (3, 3)).basis()
    profiles = [rs.energy_profile(bank(16, (3, 3, 3), seed), basis) for seed in (1, 2)]
    yield "eigenvalues", basis.eigenvalues.tolist()
    yield "energy profile", profiles[0].tolist()
    yield "similarity", [rs.profile_similarity(*profiles)]
    theory = rs.theoretical_profile(basis.eigenvalues, step_size=0.5, steps=300)
    fit = rs.fit_profile(theory + 0.05 * profiles[1], basis.eigenvalues)
    yield "fit", [fit.correlation, fit.steps]
    features = [images[:200].flatten(1)[:, :n].double() / 255 for n in (300, 70)]
    cka = [rs.cka(*features, estimator=e) for e in ("debiased", "biased")]
    batches = rs.StreamingCKA()
    for x, y in zip(*(f.split(64) for f in features), strict=True):
        batches.update(x, y)
    yield "CKA", [*cka, batches.cka()]
    yield "autocorrelation", rs.autocorrelation(images[:50], max_shift=5).curve.tolist()
    lags = rs.patch_autocovariance(images[:50], (3, 3), max_shift=3)
    yield "patch autocovariance", lags.autocorrelation(bank(8, (3, 3, 3))).curve.tolist()


def data():
    """Return the pictures in four classes that differ in brightness."""
    images, labels = pictures(256), torch.arange(256) % 4
    images = (images.short() // 2 + 30 * labels[:, None, None, None].short()).to(torch.uint8)
    pair = [
        ImageSet(part, names, tuple("abcd"), "pictures")
        for part, names in zip(images.split(192), labels.split(192), strict=True)
    ]
    return Dataset("pictures", *pair)


def trained():
    """Return numbers of networks after five steps: the same up to the rounding of float32."""
    return of_result(rs.compare(MODELS, data(), recipe=RECIPE, seeds=2))


def of_result(result):
    """Return the numbers of a comparison of these networks."""
    for model, label in enumerate(MODELS):
        energy = result.energy.isel(dataset=0, model=model, seed=0).sel(stage="change")
        yield f"energy of {label}", energy.values.tolist()
    yield "similarities", result.similarity.values[np.isfinite(result.similarity.values)].tolist()


def main():
    numbers = {part.__name__: dict(part()) for part in (exact, close, trained)}
    PATH.write_text(json.dumps(numbers, indent=1) + "\n")


if __name__ == "__main__":
    main()
