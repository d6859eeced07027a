"""Patch moments against unfolding, the published code's way and scikit-learn.

Run: python benchmarks/patch_moments.py [--json] [--threads 2] [--rounds 5]

Every ratio is of runs that took turns. A peer that would need more than 4 GB is timed on fewer
images and its time multiplied, marked (e).
"""

import statistics
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from measure import alternate, limits, options, peak_memory, ratio, report
from pictures import pictures

from repsim_energy.numerics import checked_products
from repsim_energy.numerics.patches.moments import patch_moments

SIZES = ((10_000, 32), (500, 224))
KERNELS = (3, 7, 11)
MOST_BYTES = 4 * 2**30


def unfolded(images, k):
    """The usual way: unfold chunks in float32 and multiply."""
    second = 0
    for chunk in images.split(max(1, 250 * 1024 // images[0, 0].numel())):
        columns = F.unfold(chunk.float(), k).transpose(0, 1).flatten(1)
        second = second + columns @ columns.T
    return second


def published(images, k):
    """As the paper's code: all patches in one float64 matrix, a low-rank solver."""
    patches = F.unfold(images.double() / 255, k).transpose(1, 2).flatten(0, 1)
    torch.pca_lowrank(patches, q=patches.shape[1], center=True)


def with_scikit(images, k):
    from sklearn.decomposition import PCA
    from sklearn.feature_extraction.image import PatchExtractor

    channels_last = images.permute(0, 2, 3, 1).numpy().astype(np.float64)
    patches = PatchExtractor(patch_size=(k, k)).transform(channels_last)
    PCA(svd_solver="covariance_eigh").fit(patches.reshape(len(patches), -1))


def compared(count, size, k, floats, peer, rounds, share=1):
    """Return a row: ours on all images against a peer on a share of them."""
    images = pictures(count, size, floats)
    part = images[: max(1, count // share)]
    taken = alternate(
        {"ours": lambda: patch_moments(images, (k, k)).basis(), "peer": lambda: peer(part, k)},
        rounds,
    )
    factor = count / len(part)
    median, low, high = ratio([factor * t for t in taken["peer"]], taken["ours"])
    return {
        "images": f"{count} x {size}² {'float32' if floats else 'uint8'}",
        "k": k,
        "peer": peer.__name__ + (" (e)" if len(part) < count else ""),
        "ours_ms": 1e3 * statistics.median(taken["ours"]),
        "ratio": median,
        "lowest": low,
        "highest": high,
    }


def share_for(count, size, k, bytes_each):
    """Return by how much the images have to be fewer for a peer's patches to fit."""
    needed = count * (size - k + 1) ** 2 * 3 * k * k * bytes_each
    return max(1, -(-needed // MOST_BYTES))


def memory_of(count, k):
    images = pictures(min(count, 10_000), 32)
    repeats = count // len(images)
    patch_moments(images[:16], (k, k))
    return lambda: patch_moments((images for _ in range(repeats)), (k, k))


def growth(k=3):
    """Return the slope of log time over log images, from 1,000 to 100,000."""
    counts = (1_000, 10_000, 100_000)
    base = pictures(1_000, 32)
    runs = {n: lambda n=n: patch_moments((base for _ in range(n // 1_000)), (k, k)) for n in counts}
    taken = alternate(runs)
    seconds = [min(taken[n]) for n in counts]
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])


def band_operations(count, size, k):
    """Return the operations of the products of rows with the rows up to k - 1 below."""
    return 2 * count * (3 * size) ** 2 * sum(min(k, size - y) for y in range(size))


def shares_of_limit(rounds):
    """Return which share of the int8 peak the products of rows run at, all other work included."""
    peak = limits()
    yield {f"peak_{name}": value for name, value in peak.items()}
    images = pictures(10_000, 32)
    runs = {k: lambda k=k: patch_moments(images, (k, k)) for k in KERNELS}
    for k, seconds in alternate(runs, rounds).items():
        rate = band_operations(10_000, 32, k) / statistics.median(seconds) / 1e9
        yield {"k": k, "giga_operations_per_s": rate, "share_of_int8_peak": rate / peak["int8"]}


class Unchecked:
    """Takes the place of the check of products: nothing is looked at, everything holds."""

    def __init__(self, *_):
        pass

    def add(self, rows):
        pass

    def holds(self, *_):
        return True


def costs_of_the_check(rounds):
    """Return by how much checking the products makes patch moments slower."""
    for floats in (False, True):
        images = pictures(10_000, 32, floats)

        def without(k, images=images):
            with mock.patch.object(checked_products, "_Projections", Unchecked):
                patch_moments(images, (k, k))

        for k in (3, 7):
            taken = alternate(
                {
                    "checked": lambda k=k, images=images: patch_moments(images, (k, k)),
                    "unchecked": lambda k=k: without(k),
                },
                max(rounds, 15),
            )
            median, low, high = ratio(taken["checked"], taken["unchecked"])
            yield {
                "check": "float32" if floats else "uint8",
                "k": k,
                "checked_to_unchecked": median,
                "lowest": low,
                "highest": high,
            }


def peers(rounds):
    for count, size in SIZES:
        for k in KERNELS:
            share = 1 if k == 3 else 5
            yield compared(count, size, k, False, unfolded, rounds, share)
    for k in KERNELS[:2]:
        yield compared(10_000, 32, k, True, unfolded, rounds, 1 if k == 3 else 5)
    yield compared(10_000, 32, 3, False, published, rounds, share_for(10_000, 32, 3, 40))
    try:
        import sklearn  # noqa: F401
    except ImportError:
        return
    yield compared(10_000, 32, 3, False, with_scikit, rounds)


def main():
    chosen = options(__doc__)
    rows = [
        *costs_of_the_check(chosen.rounds),
        *shares_of_limit(chosen.rounds),
        *peers(chosen.rounds),
    ]
    for k in (3, 11):
        for count in (10_000, 1_000_000):
            rows.append({"memory_mb": peak_memory(memory_of, count, k), "images": count, "k": k})
    rows.append({"slope_over_images": growth()})
    report(rows, chosen.json)


if __name__ == "__main__":
    main()
