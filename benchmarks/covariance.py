"""Measure covariances of filters, and gradients, of trained networks.

What: the numbers of docs/explanation/covariance.md: cosines of covariances beside correlations of
profiles, diagonality, misalignment and effective rank beside those of white filters, and the Neural
Feature Ansatz.
Sizes: 65 first layers of 3x3x3 patches in FOLDER/networks on the images of
FOLDER/cifar10-subset.npz; the four networks of the first command of the README.

Run: REPSIM_TEST_IMAGES=FOLDER python benchmarks/covariance.py [--json] [--threads 1]
"""

import os
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from measure import options, report
from safetensors.torch import load_file
from strangers_files import first_layers, images_of
from strangers_pairs import lineages, measure

import repsim_energy as rs
from repsim_energy.registry import load_registry, resolve_model

GRADIENT_IMAGES = 50
DRAWS = 200
R_BOUNDS = (-1, 0.6, 0.8, 0.9, 0.95, 1.01)
SHAPES = ("diagonality", "misalignment", "effective_rank")


def random_shapes(filters, scales, basis, count=DRAWS):
    """Return name -> numbers of random banks with independent responses of these scales."""
    random = np.random.default_rng(0)
    responses = random.standard_normal((count, filters, len(scales))) * scales
    return shapes(responses @ basis.components.numpy(), basis)


def shapes(banks, basis):
    """Return name -> number of each bank."""
    covariances = [rs.filter_covariance(bank, basis) for bank in banks]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rs.SingularCovarianceWarning)
        found = {
            "diagonality": [np.square(np.diag(c)).sum() / np.square(c).sum() for c in covariances],
            "misalignment": [rs.misalignment(c) for c in covariances],
            "effective_rank": [np.trace(c) ** 2 / np.square(c).sum() for c in covariances],
        }
    return {name: np.array(values) for name, values in found.items()}


def beside_diagonal(covariance):
    """Return the correlations of the responses to two components."""
    scales = np.sqrt(np.diag(covariance))
    return (covariance / scales[:, None] / scales)[np.triu_indices(len(scales), 1)]


def pair_rows(some, lineage):
    """Compare cosines of covariances with correlations of profiles, without common weights."""
    banks = [network.filters for network in some.networks]
    covariances = [rs.filter_covariance(bank, some.basis) for bank in banks]
    found = []
    for i, one in enumerate(some.networks):
        for j, other in enumerate(some.networks[:i]):
            if lineage[one.name] != lineage[other.name]:
                a, b = covariances[i], covariances[j]
                squares = [np.diag(np.diag(c)) for c in (a, b)]
                values = rs.compare_covariances(a, b), rs.compare_covariances(*squares)
                off = beside_diagonal(a), beside_diagonal(b)
                values += (np.corrcoef(*off)[0, 1],)
                found.append((some.similarities[i, j], *values, one.name, other.name))
    for low, high in zip(R_BOUNDS, R_BOUNDS[1:], strict=False):
        inside = [pair for pair in found if low <= pair[0] < high]
        cosines = np.array([pair[1] for pair in inside])
        quantiles = np.quantile(cosines, [0, 0.25, 0.5, 0.75, 1])
        names = ("lowest", "lower quartile", "median", "upper quartile", "highest")
        row = {"what": f"pairs of r {low} to {high}", "pairs": len(inside)}
        row |= dict(zip(names, quantiles, strict=True))
        row["median of squared profiles"] = np.median([pair[2] for pair in inside])
        names = ("lower quartile", "median", "upper quartile")
        off = np.quantile([pair[3] for pair in inside], [0.25, 0.5, 0.75])
        row |= {f"off-diagonal, {name}": value for name, value in zip(names, off, strict=True)}
        yield row
    for r, cosine, profiles, off, one, other in sorted(p for p in found if p[0] >= 0.95):
        yield {
            "what": f"{one}, {other}",
            "r": r,
            "cosine": cosine,
            "cosine of squared profiles": profiles,
            "off-diagonal": off,
        }
    r, cosine = np.array([pair[:2] for pair in found]).T
    yield {"what": "correlation of r and cosine, all pairs", "value": np.corrcoef(r, cosine)[0, 1]}


def network_rows(some):
    """Describe each covariance beside those of white filters, and of filters with its profile."""
    own = shapes([network.filters for network in some.networks], some.basis)
    nulls = ("white", "independent")
    counts = {(name, null): [0, 0, 0] for name in SHAPES for null in nulls}
    for index, (network, profile) in enumerate(zip(some.networks, some.profiles, strict=True)):
        row = {"what": network.name, "filters": len(network.filters)}
        row |= {name: own[name][index] for name in SHAPES}
        for null, scales in zip(nulls, (np.ones_like(profile), profile), strict=True):
            drawn = random_shapes(len(network.filters), scales, some.basis)
            for name in SHAPES:
                low, high = np.quantile(drawn[name], [0.025, 0.975])
                row[f"{name}, {null}"] = f"{low:.2f} to {high:.2f}"
                if np.isfinite([row[name], low]).all():
                    counts[name, null][int(row[name] >= low) + int(row[name] > high)] += 1
        yield row
    for name in SHAPES:
        values = own[name][np.isfinite(own[name])]
        row = {"what": f"{name} of all", "networks": len(values)}
        row |= dict(
            zip(
                ("lower quartile", "median", "upper quartile"),
                np.quantile(values, [0.25, 0.5, 0.75]),
                strict=True,
            )
        )
        yield row
        for null in nulls:
            below, inside, above = counts[name, null]
            yield {
                "what": f"{name} beside {null} filters",
                "below": below,
                "within 95%": inside,
                "above": above,
            }


def trained_rows():
    """Describe the networks of the first command of the README, at each stage, and gradients."""
    images = rs.load_images("deadleaves")
    spread = images.train.images.double().div(255).std()
    mean = images.train.images.double().div(255).mean((0, 2, 3))[:, None, None]
    shown = ((images.test.images[:GRADIENT_IMAGES].double() / 255 - mean) / spread).float()
    for stage in ("trained", "change"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rs.RepsimWarning)
            both = {
                metric: rs.compare("vgg11,resnet18", metric=metric, stage=stage)
                for metric in ("energy", "covariance")
            }
        result = both["covariance"]
        means = {metric: rs.table(found, "mean").to_numpy() for metric, found in both.items()}
        for name, at in {"vgg11": (0, 0), "vgg11, resnet18": (0, 1), "resnet18": (1, 1)}.items():
            row = {"what": f"{stage}: {name}"}
            yield row | {metric: float(found[at]) for metric, found in means.items()}
        for model in result.model.values:
            for seed in result.seed.values:
                one = result.sel(model=model, seed=seed).squeeze()
                low, high = one.misalignment_null_low.item(), one.misalignment_null_high.item()
                row = {"what": f"{stage}: {model} seed {seed}"}
                row |= {name: one[name].item() for name in SHAPES}
                yield row | {"white misalignment": f"{low:.2f} to {high:.2f}"}
    registry = load_registry()
    for model in result.model.values:
        for seed in result.seed.values:
            run = rs.open_run(str(result.run_id.sel(model=model, seed=seed).squeeze().item()))
            yield from gradient_rows(registry, run, shown, len(images.train.classes))


def gradient_rows(registry, run, shown, classes):
    """Measure the Neural Feature Ansatz before and after training, and at other powers."""
    torch.manual_seed(run.seed)
    net = resolve_model(registry, run.model).build(classes, 3)
    weight = rs.find_first_conv(net).module.weight
    if not torch.equal(weight.detach(), run.filters["init"]):
        yield {"what": f"{run.model} seed {run.seed}: other initial weights"}
    row = {"what": f"ansatz of {run.model} seed {run.seed}"}
    for stage in ("init", "trained"):
        if stage == "trained":
            net.load_state_dict(load_file(run.folder / "model.safetensors"))
        gradient = rs.gradient_covariance(net, shown)
        row[stage] = rs.neural_feature_ansatz(weight.detach(), gradient)
        row[f"{stage}, alpha 1"] = rs.neural_feature_ansatz(weight.detach(), gradient, alpha=1)
    change = run.filters["trained"] - run.filters["init"]
    row["change with trained gradients"] = rs.neural_feature_ansatz(change, gradient)
    yield row


def strangers_rows(folder):
    """Measure the first layers of networks that other people trained."""
    networks = first_layers(folder)
    some = [network for network in networks if network.patch == (3, 3, 3)]
    measured = measure(some, images_of(folder, "CIFAR-10"))
    yield from pair_rows(measured, lineages(networks))
    yield from network_rows(measured)


def main():
    chosen = options(__doc__)
    folder = os.environ.get("REPSIM_TEST_IMAGES")
    if not folder or not Path(folder, "networks").is_dir():
        sys.exit("got no networks, expected a folder with networks/; set REPSIM_TEST_IMAGES to it")
    report([*strangers_rows(folder), *trained_rows()], chosen.json)


if __name__ == "__main__":
    main()
