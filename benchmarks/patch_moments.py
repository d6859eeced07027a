"""Time patch moments and their basis; measure memory, growth and the share of the machine's peak.

Against: unfolding in float32, the published code (float64 patches and a low-rank solver) and
scikit-learn. The ways alternate, and every ratio is of one round. A peer that needs more than 4 GB
is timed on fewer images and its time is multiplied, marked (e).
Also against products of whole tiles in all threads of torch, the way for other devices and number
types, and float images that are bytes divided by 255 against others.
Sizes: 10,000 images of 32x32 and 500 of 224x224, patches of 3x3, 7x7 and 11x11; memory and growth
up to 1,000,000 images. About eight minutes.

Run: python benchmarks/patch_moments.py [--json] [--threads 2] [--rounds 5]
"""

import statistics
from functools import partial
from unittest import mock

import numpy as np
import torch
import torch.nn.functional as F
from measure import alternate, limits, options, peak_memory, ratio, report
from smooth_images import smooth_images

from repsim_energy.numerics.patches import chunks, sums
from repsim_energy.numerics.patches.moments import patch_moments

SIZES = ((10_000, 32), (500, 224))
KERNELS = (3, 7, 11)
MAX_PEER_BYTES = 4 * 2**30


def unfolded(images, k):
    """Unfold chunks in float32 and multiply, the usual way."""
    second = 0
    for chunk in images.split(max(1, 250 * 1024 // images[0, 0].numel())):
        columns = F.unfold(chunk.float(), k).transpose(0, 1).flatten(1)
        second = second + columns @ columns.T
    return second


def published(images, k):
    """Solve all patches in one float64 matrix by a low-rank solver, as the paper's code does."""
    patches = F.unfold(images.double() / 255, k).transpose(1, 2).flatten(0, 1)
    torch.pca_lowrank(patches, q=patches.shape[1], center=True)


def with_scikit(images, k):
    from sklearn.decomposition import PCA
    from sklearn.feature_extraction.image import PatchExtractor

    channels_last = images.permute(0, 2, 3, 1).numpy().astype(np.float64)
    patches = PatchExtractor(patch_size=(k, k)).transform(channels_last)
    PCA(svd_solver="covariance_eigh").fit(patches.reshape(len(patches), -1))


def compared(count, size, k, floats, peer, rounds, share=1):
    """Return a row that compares ours on all images with a peer on a part of them."""
    images = smooth_images(count, size, floats)
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
    """Return the divisor of the number of images with which a peer's patches fit into memory."""
    needed = count * (size - k + 1) ** 2 * 3 * k * k * bytes_each
    return max(1, -(-needed // MAX_PEER_BYTES))


def memory_of(count, k):
    images = smooth_images(min(count, 10_000), 32)
    repeats = count // len(images)
    patch_moments(images[:16], (k, k))
    return lambda: patch_moments((images for _ in range(repeats)), (k, k))


def growth(k=3):
    """Return the slope of log time over log images, from 1,000 to 100,000."""
    counts = (1_000, 10_000, 100_000)
    base = smooth_images(1_000, 32)
    runs = {n: lambda n=n: patch_moments((base for _ in range(n // 1_000)), (k, k)) for n in counts}
    taken = alternate(runs)
    seconds = [min(taken[n]) for n in counts]
    return float(np.polyfit(np.log(counts), np.log(seconds), 1)[0])


def band_operations(count, size, k):
    """Return the number of operations in products of rows with the rows up to k - 1 below."""
    return 2 * count * (3 * size) ** 2 * sum(min(k, size - y) for y in range(size))


def shares_of_limit(rounds):
    """Yield the rate of the row products as a share of the int8 peak, including all other work."""
    peak = limits()
    yield {f"peak_{name}": value for name, value in peak.items()}
    images = smooth_images(10_000, 32)
    runs = {k: lambda k=k: patch_moments(images, (k, k)) for k in KERNELS}
    for k, seconds in alternate(runs, rounds).items():
        rate = band_operations(10_000, 32, k) / statistics.median(seconds) / 1e9
        yield {"k": k, "giga_operations_per_s": rate, "share_of_int8_peak": rate / peak["int8"]}


class Unchecked:
    """Replacement for the check of products, which accepts everything."""

    def __init__(self, *_):
        self.fits_float32 = True

    def measuring(self, *_):
        return self

    def measure(self):
        return None

    def add(self, *_):
        pass

    def holds(self, *_):
        return True


def in_turns(title, k, rounds, **ways):
    """Return a row that compares the second of two ways with the first."""
    taken = alternate(ways, rounds)
    (first, ours), (second, theirs) = taken.items()
    median, low, high = ratio(theirs, ours)
    return {
        "images": title,
        "k": k,
        f"{first}_ms": 1e3 * statistics.median(ours),
        f"{second}_ms": 1e3 * statistics.median(theirs),
        f"{second}_to_{first}": median,
        "lowest": low,
        "highest": high,
    }


def costs_of_the_check(rounds):
    """Yield the ratio of the times with and without the check of products."""
    for floats in (False, True):
        images = smooth_images(10_000, 32, floats)
        for k in (3, 7):
            yield in_turns(
                f"10000 x 32² {'float32' if floats else 'uint8'}",
                k,
                max(rounds, 15),
                unchecked=partial(unchecked, images, k),
                checked=partial(patch_moments, images, (k, k)),
            )


def unchecked(images, k):
    with mock.patch.object(chunks, "Projections", Unchecked):
        patch_moments(images, (k, k))


def against_whole_tiles(rounds):
    """Yield the ratio of the times of the way for other devices to those of the chunks."""
    for count, size in SIZES:
        for floats in (False, True):
            images = smooth_images(count // (2 if floats and size > 32 else 1), size, floats)
            for k in KERNELS:
                yield in_turns(
                    f"{len(images)} x {size}² {'float32' if floats else 'uint8'}",
                    k,
                    rounds,
                    chunks=partial(patch_moments, images, (k, k)),
                    tiles=partial(in_whole_tiles, images, k),
                )


def in_whole_tiles(images, k):
    with mock.patch.object(sums, "chunk_sums", return_value=None):
        patch_moments(images, (k, k))


def floats_that_are_bytes(rounds):
    """Yield the ratio of the times of other float32 images to those that are bytes over 255."""
    for count, size in ((10_000, 32), (250, 224)):
        scaled = smooth_images(count, size) / 255
        other = scaled + 1e-3
        for k in KERNELS:
            yield in_turns(
                f"{count} x {size}² float32",
                k,
                rounds,
                bytes_over_255=partial(patch_moments, scaled, (k, k)),
                other=partial(patch_moments, other, (k, k)),
            )


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
        *against_whole_tiles(chosen.rounds),
        *floats_that_are_bytes(chosen.rounds),
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
