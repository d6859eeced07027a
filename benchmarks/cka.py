"""Time linear CKA, its null interval and the comparison of all layers of two networks.

Against: the published implementations (cka_published.py), installed packages (ckatorch, torch_cka,
rsatoolbox), Gram matrices in float64, 100 shuffles, bare forward passes. The ways alternate, and
every ratio is of one round. Errors are differences from float64 sums of products.
Sizes, by part: grams and memory, n = 10,000 with 512 to 4,096 features; textbook, n = 4,000;
stream, batches of 256; peers, n = 2,000; metric, 1,000 images with 65,536 features; layers, all
convolutions of two ResNet18 on --images images.

Run: python benchmarks/cka.py [--json] [--threads 2] [--rounds 5] [--images 10000] [--only PART]
"""

import argparse
import itertools
import os
import statistics
import sys
import warnings
from importlib.util import find_spec

THREADS = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "2"
os.environ |= {"OMP_NUM_THREADS": THREADS, "OPENBLAS_NUM_THREADS": THREADS}  # before NumPy

import numpy as np  # noqa: E402
import torch  # noqa: E402
from cka_published import gram_blocks, kornblith, textbook  # noqa: E402
from measure import alternate, peak_memory, ratio, report  # noqa: E402

from repsim_energy.comparison.activations import layer_names, observe  # noqa: E402
from repsim_energy.interfaces import Activations, Normalization  # noqa: E402
from repsim_energy.metrics.cka import LinearCKA  # noqa: E402
from repsim_energy.models.architectures.resnet import resnet18  # noqa: E402
from repsim_energy.numerics.cka.streaming import StreamingCKA, cka  # noqa: E402

WIDTHS = (512, 1024, 2048, 4096)
N = 10_000


def pair(n, d, seed=0):
    """Return two float32 feature matrices with a common part, the second one after a ReLU."""
    generator = torch.Generator().manual_seed(seed)
    shared = torch.randn(n, 64, generator=generator) @ torch.randn(64, d, generator=generator)
    x = shared + 4 * torch.randn(n, d, generator=generator) + 1
    y = torch.relu(shared.flip(1) + 8 * torch.randn(n, d, generator=generator))
    return x, y


def exact(x, y, estimator="biased"):
    """Return CKA in float64, by blocks of columns to avoid large copies."""
    if max(x.shape[1], y.shape[1]) <= 2048:
        return StreamingCKA().update(x.double(), y.double()).cka(estimator)
    x, y = ((f - f.double().mean(0)).double() for f in (x, y))  # then in float64
    x, y = x - x.mean(0), y - y.mean(0)

    def squares_of(a, b):
        return sum(float((a.T @ part).square().sum()) for part in b.split(512, 1))

    squares = [squares_of(a, b) for a, b in ((x, y), (x, x), (y, y))]
    if estimator == "biased":
        return squares[0] / (squares[1] * squares[2]) ** 0.5
    n, p, q = len(x), x.square().sum(1), y.square().sum(1)
    hsic = [
        cross - n / (n - 2) * float(a @ b) + float(a.sum() * b.sum()) / ((n - 1) * (n - 2))
        for cross, (a, b) in zip(squares, ((p, q), (p, p), (q, q)), strict=True)
    ]
    return hsic[0] / (hsic[1] * hsic[2]) ** 0.5


def row(name, taken, peer, factor=1, **more):
    median, low, high = ratio([factor * t for t in taken[peer]], taken["ours"])
    mark = " (e)" if factor != 1 else ""
    return {
        "case": name,
        "peer": peer + mark,
        "ours_ms": 1e3 * statistics.median(taken["ours"]),
        "peer_ms": 1e3 * factor * statistics.median(taken[peer]),
        "ratio": median,
        "lowest": low,
        "highest": high,
        **more,
    }


def against_grams(rounds):
    for d in WIDTHS:
        x, y = pair(N, d)
        truth = exact(x, y)
        taken = alternate(
            {
                "ours": lambda x=x, y=y: cka(x, y, estimator="biased"),
                "kornblith": lambda x=x, y=y: kornblith(x, y),
                "gram_blocks": lambda x=x, y=y: gram_blocks(x, y),
            },
            rounds,
        )
        errors = {
            "our_error": cka(x, y, estimator="biased") - truth,
            "our_debiased_error": cka(x, y) - exact(x, y, "debiased"),
        }
        for peer in (kornblith, gram_blocks):
            error = float(peer(x, y)) - truth
            yield row(f"n={N} d={d}", taken, peer.__name__, **errors, peer_error=error)


def against_textbook(rounds):
    n, d = 4000, 512
    x, y = pair(n, d)
    ways = {"ours": lambda: cka(x, y, estimator="biased"), "textbook": lambda: textbook(x, y)}
    ours = alternate(ways, max(3, rounds - 2))
    yield row(
        f"n={n} d={d}", ours, "textbook", our_error=cka(x, y, estimator="biased") - exact(x, y)
    )


def streamed(rounds):
    def stream(x, y):
        moments = StreamingCKA()
        for a, b in zip(x.split(256), y.split(256), strict=True):
            moments.update(a, b)
        return moments.cka()

    for d in (512, 2048):
        x, y = pair(N, d)
        ways = {"ours": lambda x=x, y=y: cka(x, y), "stream": lambda x=x, y=y: stream(x, y)}
        taken = alternate(ways, rounds)
        error = stream(x, y) - exact(x, y, "debiased")
        yield row(f"n={N} d={d}, batches of 256", taken, "stream", our_error=error)


def packages(rounds):
    """Yield the time of installed packages, and their difference from ours."""
    x, y = pair(2000, 512)
    if find_spec("ckatorch"):
        yield from with_ckatorch(x, y, rounds)
    if find_spec("torch_cka"):
        yield from with_torch_cka(x, y, rounds)
    if find_spec("rsatoolbox"):
        from rsatoolbox.data import Dataset
        from rsatoolbox.rdm import calc_rdm, compare

        rdms = [calc_rdm(Dataset(f[:300].double().numpy())) for f in (x, y)]
        theirs = float(compare(*rdms, method="cosine_cov")[0, 0])
        off = theirs - cka(x[:300], y[:300], estimator="biased")
        yield {"case": "n=300 d=512, biased", "peer": "rsatoolbox cosine_cov", "off": off}


def in_batches(x, y, batch=250):
    metric = LinearCKA(batch=batch)
    a, b = (
        np.stack([metric.represent(Activations(part)) for part in features.split(batch)])
        for features in (x, y)
    )
    return metric.compare(a, b)


def with_ckatorch(x, y, rounds):
    from ckatorch.core import cka_base, cka_batch

    batches = [f.view(-1, 250, f.shape[1]) for f in (x, y)]
    for estimator in ("biased", "debiased"):
        functions = {
            "ours": lambda estimator=estimator: cka(x, y, estimator=estimator),
            "ckatorch": lambda estimator=estimator: cka_base(x, y, unbiased=estimator != "biased"),
        }
        off = float(functions["ckatorch"]()) - functions["ours"]()
        yield row(f"n=2000 d=512, {estimator}", alternate(functions, rounds), "ckatorch", off=off)
    functions = {"ours": lambda: in_batches(x, y), "ckatorch": lambda: cka_batch(*batches)}
    off = float(functions["ckatorch"]()) - functions["ours"]()
    yield row("n=2000 d=512, batches of 250", alternate(functions, rounds), "ckatorch", off=off)


def with_torch_cka(x, y, rounds):
    from torch.utils.data import DataLoader, TensorDataset
    from torch_cka import CKA

    networks = [torch.nn.Sequential(torch.nn.Identity()) for _ in range(2)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about equal names of the networks
        peer = CKA(*networks, model1_layers=["0"], model2_layers=["0"])
    loaders = [DataLoader(TensorDataset(f), 250) for f in (x, y)]
    functions = {"ours": lambda: in_batches(x, y), "torch_cka": lambda: peer.compare(*loaders)}
    taken = alternate(functions, rounds)
    off = float(peer.export()["CKA"][0, 0]) - in_batches(x, y)
    yield row("n=2000 d=512, batches of 250", taken, "torch_cka", off=off)


def wide(rounds):
    """Time the metric on 1,000 images of 64 x 32 x 32 activations, and its null interval."""
    x = torch.randn(1000, 65_536, generator=torch.Generator().manual_seed(0))
    metric = LinearCKA()

    def in_float64():
        total = torch.zeros(1000, 1000, dtype=torch.float64)
        for columns in x.split(4096, 1):
            part = columns.double()
            part = part - part.mean(0)
            total += part @ part.T
        return total

    ways = {"ours": lambda: metric.represent(Activations(x)), "float64 Gram": in_float64}
    taken = alternate(ways, rounds)
    yield row("represent 1,000 x 65,536", taken, "float64 Gram")
    a, b = (metric.represent(Activations(f)) for f in (x, x.flip(1) + x.flip(0)))
    gram = in_float64()

    def shuffles():
        for _ in range(100):
            order = torch.randperm(1000)
            float(torch.dot(gram.flatten(), gram[order][:, order].flatten()))

    taken = alternate(
        {"ours": lambda: metric.null_interval(a, b), "100 shuffles": shuffles}, rounds
    )
    yield row("null interval, 1,000 images", taken, "100 shuffles")


def layer_matrix(rounds, images):
    """Compare all convolutions of two ResNet18 with their forward passes and bare products."""
    pixels = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    networks = [resnet18(10, 3), resnet18(10, 3)]
    names = layer_names(networks[0], ["convs"])
    size = images // -(-images // 256)
    normalization, cpu = Normalization((0.5,) * 3, (0.25,) * 3), torch.device("cpu")

    def forward(network, layers, receive):
        observe(network, layers, pixels, size, normalization, cpu, receive)

    def forward_all(layers, receive):
        for network in networks:
            forward(network, layers, receive)

    def in_bfloat16(function):
        return torch.autocast("cpu", torch.bfloat16)(function)

    ways = {
        "ours": lambda: compare_layers(networks, names, forward),
        "passes and products": lambda: forward_all(names, multiply),
        "passes": lambda: forward_all({}, lambda *_: None),
        "ours, bfloat16": in_bfloat16(lambda: compare_layers(networks, names, forward)),
        "passes, bfloat16": in_bfloat16(lambda: forward_all({}, lambda *_: None)),
    }
    taken = alternate(ways, rounds)
    found = {f"{name} s": statistics.median(times) for name, times in taken.items()}
    for peer in ("passes and products", "passes", "ours, bfloat16"):
        median, low, high = ratio(taken["ours"], taken[peer])
        found[f"ours / ({peer})"] = f"{median:.2f} [{low:.2f}-{high:.2f}]"
    yield {"case": f"{len(names)} x {len(names)} layers, {images} images", **found}


def multiply(layer, output):
    """Compute the Gram matrix of a batch and drop it."""
    rows = output.permute(0, 2, 3, 1) if output.ndim == 4 else output
    rows = rows.flatten(1)
    rows @ rows.T


def compare_layers(networks, names, forward):
    """Return CKA of the layers of the first network with all layers, and compute null intervals."""
    metric, represented = LinearCKA(batch=256), []
    for network in networks:
        parts = {layer: [] for layer in names}

        def represent(layer, output, parts=parts):
            parts[layer].append(metric.represent(Activations(output)))

        forward(network, names, represent)
        represented += [np.stack(rows) for rows in parts.values()]
    first = represented[: len(names)]
    matrix = np.array([[metric.compare(a, b) for b in represented] for a in first])
    for a, b in itertools.combinations(represented, 2):
        metric.null_interval(a, b)
    return matrix


def memory_of(d):
    x, y = pair(N, d)
    cka(x[:64], y[:64])
    return lambda: cka(x, y)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--only")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parts = {
        "grams": against_grams,
        "textbook": against_textbook,
        "stream": streamed,
        "peers": packages,
        "metric": wide,
        "layers": lambda rounds: layer_matrix(rounds, options.images),
        "memory": lambda _: [{"memory_mb": peak_memory(memory_of, d), "d": d} for d in WIDTHS],
    }
    rows = []
    for name, part in parts.items():
        if options.only in (None, name):
            rows += part(options.rounds)
    report(rows, options.json)


if __name__ == "__main__":
    main()
