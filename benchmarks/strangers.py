"""Measure energy profiles of networks trained by other people.

What: the numbers of docs/explanation/networks-of-strangers.md: correlations by group and by fit,
fits by family, random banks, other bases, folded batch norms, one training.
Sizes: the networks in FOLDER/networks, with the images in FOLDER/cifar10-subset.npz and
FOLDER/images.

Run: REPSIM_TEST_IMAGES=FOLDER python benchmarks/strangers.py [--json] [--threads 1]
"""

import os
import sys
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from measure import options, report
from strangers_beyond import beyond_rows, random_rows_beyond
from strangers_files import (
    effective_filters,
    first_layers,
    images_of,
    in_gray,
    read_network,
    read_or_refused,
    trajectory,
)
from strangers_pairs import GROUPS, lineages, measure, measure_all, pairs_of, summary

import repsim_energy as rs

FIT_BOUNDS = (0, 0.6, 0.75, 0.85, 1)
HALVINGS = 100
FACES = (
    "age and gender",
    "age",
    "gender",
    "expression",
    "face shape",
    "anti-spoofing",
    "face recognition",
    "face detection",
)
BASES = ("CIFAR-10", "ImageNet", "Kyoto", "traffic signs")


def file_rows(folder, images):
    """Count the files read and refused, and compare their profiles with those measured here."""
    read, refused = read_or_refused(folder, images)
    off, whole, copies = 0.0, 0, 0
    by_name = {network.name: network for network in first_layers(folder)}
    for path, profile in read.items():
        network = read_network(path)
        first = by_name[network.name]
        if path.parent.name == "whole":
            whole += 1
            copies += torch.equal(first.filters, network.filters)
        if network.as_stored:
            ours = measure([network], images).profiles[0]
            off = max(off, np.abs(profile[: len(ours)] / ours - 1).max())
    yield {
        "what": "files",
        "read": len(read),
        "refused": len(refused),
        "whole networks": whole,
        "with the filters of a first layer": copies,
        "largest difference of a profile": off,
    }
    for path, line in refused.items():
        yield {"what": f"refused {path.name}", "because": line}


def group_rows(pairs, title="pairs"):
    """Summarize pairs by group, and all of them."""
    for group in GROUPS:
        yield {"what": f"{title}, {group}"} | summary([p for p in pairs if p.group == group])
    unrelated = [pair for pair in pairs if pair.group != "common weights"]
    yield {"what": f"{title}, all without common weights"} | summary(unrelated)
    yield {"what": f"{title}, all"} | summary(pairs)


def patch_rows(measured, pairs):
    """Summarize pairs by patch size."""
    for (c, rows, columns), some in measured.items():
        mine = [pair for pair in pairs if pair.patch == (c, rows, columns)]
        row = {"what": f"patches {rows}x{columns}x{c}", "networks": len(some.networks)}
        row["band"] = rs.pearson_null_interval(len(some.basis.eigenvalues))[1]
        yield row | (summary(mine) if mine else {"pairs": 0})


def fit_rows(pairs):
    """Summarize pairs without common weights by the lower of their two fits."""
    for low, high in zip(FIT_BOUNDS, FIT_BOUNDS[1:], strict=False):
        some = [p for p in pairs if low <= p.fit < high and p.group != "common weights"]
        yield {"what": f"lower fit {low} to {high}"} | summary(some)


def family_rows(measured):
    """Summarize the fits of the theory by family."""
    fits = defaultdict(list)
    for some in measured.values():
        for network, fit in zip(some.networks, some.fits, strict=True):
            fits[network.family].append(fit)
    everything = [fit for some in fits.values() for fit in some]
    for family, some in {**fits, "all families": everything}.items():
        found = [fit.correlation for fit in some]
        yield {
            "what": f"fit {family}",
            "networks": len(some),
            "lowest": min(found),
            "median": np.median(found),
            "highest": max(found),
            "median steps": np.median([fit.steps for fit in some]),
            "at a bound": sum(fit.at_bound for fit in some),
        }


def network_rows(measured):
    """Describe each network: similarity to others, fit, filters, and agreement of two halves."""
    rng, halves = np.random.default_rng(0), []
    for some in measured.values():
        r, number = some.similarities, len(some.networks)
        for index, (network, fit) in enumerate(zip(some.networks, some.fits, strict=True)):
            halves.append(half_against_half(network, some.basis, rng))
            yield {
                "what": network.name,
                "median r": np.median(np.delete(r[index], index)) if number > 1 else np.nan,
                "fit": fit.correlation,
                "steps": fit.steps,
                "filters": len(network.filters),
                "effective filters": effective_filters(network.filters),
                "half against half": halves[-1],
            }
    low, median, high = np.quantile(halves, [0.25, 0.5, 0.75])
    row = {"what": "half against half, all networks", "lower quartile": low}
    yield row | {"median": median, "upper quartile": high}


def half_against_half(network, basis, rng):
    """Return the mean correlation of two random halves of a network's filters."""
    half, found = len(network.filters) // 2, []
    for _ in range(HALVINGS):
        order = torch.from_numpy(rng.permutation(len(network.filters)))
        parts = network.filters[order[:half]], network.filters[order[half:]]
        found.append(rs.profile_similarity(*(rs.energy_profile(part, basis) for part in parts)))
    return np.mean(found)


def random_rows(some):
    """Compare random banks, of usual initializations, with each other and with trained ones."""
    networks, shapes = some.networks, [network.filters.shape for network in some.networks]
    rng = torch.Generator().manual_seed(0)
    blur = torch.tensor([1.0, 2.0, 1.0])
    blur = (blur[:, None] * blur)[None, None] / 16
    drawn = {
        "normal": [torch.randn(shape, generator=rng) for shape in shapes],
        "uniform": [2 * torch.rand(shape, generator=rng) - 1 for shape in shapes],
        "smooth": [smooth(shape, blur, rng) for shape in shapes],
    }
    upper = np.triu_indices(len(networks), 1)
    for name, banks in drawn.items():
        random = np.stack([rs.energy_profile(bank, some.basis) for bank in banks])
        r = rs.profile_similarities(np.concatenate([some.profiles, random]))
        count = len(networks)
        for other, values in (
            ("each other", r[count:, count:][upper]),
            ("trained", r[:count, count:]),
        ):
            low, median, high = np.quantile(values, [0.025, 0.5, 0.975])
            what = f"{name} random banks with {other}"
            yield {"what": what, "2.5%": low, "median": median, "97.5%": high}
        if name == "smooth":
            yield from random_rows_beyond(some, random, name)


def smooth(shape, blur, rng):
    """Return random filters with correlated neighboring weights."""
    k, c, rows, columns = shape
    noise = torch.randn(k * c, 1, rows + 2, columns + 2, generator=rng)
    return F.conv2d(noise, blur).view(shape)


def basis_rows(folder, networks, lineage):
    """Measure 3x3x3 banks on other images: medians of groups, and changes of each correlation."""
    some = [network for network in networks if network.patch == (3, 3, 3)]
    first = None
    for name in BASES:
        images = images_of(folder, name)
        found = pairs_of({some[0].patch: measure(some, images)}, lineage)
        r = np.array([pair.r for pair in found])
        first = r if first is None else first
        moved = np.abs(r - first)
        row = {
            "what": f"basis {name}",
            "correlation with CIFAR-10's r": np.corrcoef(r, first)[0, 1],
        }
        row |= {"images": len(images), "median move": np.median(moved), "largest move": moved.max()}
        for group in GROUPS:
            row[group] = np.median([pair.r for pair in found if pair.group == group])
        yield row


def digit_rows(folder, networks):
    """Measure 4x4x1 banks, trained on digits and clothes, on the digits of MNIST."""
    some = [network for network in networks if network.patch == (1, 4, 4)]
    measured = measure(some, images_of(folder, "MNIST"))
    r = measured.similarities[np.triu_indices(len(some), 1)]
    yield {"what": "4x4x1 on MNIST", "pairs": len(r), "median": np.median(r)} | {
        network.name: fit.correlation for network, fit in zip(some, measured.fits, strict=True)
    }


def folding_rows(raw, folded, lineage):
    """Summarize the effect of folding on profiles, and on pairs with one or two separate norms."""
    own, norm, changed = {}, {}, defaultdict(list)
    for patch, some in raw.items():
        after = folded[patch]
        for index, network in enumerate(some.networks):
            norm[network.name] = network.norm
            if network.norm != "beside":
                continue
            profiles = some.profiles[index], after.profiles[index]
            own[network.name] = rs.profile_similarity(*profiles)
            for how, bank, fits in (
                ("raw", network.filters, some.fits),
                ("folded", network.folded, after.fits),
            ):
                changed[f"median steps {how}"].append(fits[index].steps)
                changed[f"effective filters {how}"].append(effective_filters(bank))
    yield {
        "what": "raw against folded, same network",
        "networks": len(own),
        "median": np.median([*own.values()]),
        "lowest": min(own.values()),
    } | {name: np.median(values) for name, values in changed.items()}
    yield from folded_pair_rows(raw, folded, lineage, norm)


def folded_pair_rows(raw, folded, lineage, norm):
    """Compare raw and folded pairs of networks with a separate norm, without common weights."""
    kinds = {
        "both norms beside": ["beside", "beside"],
        "one beside, one folded": ["beside", "inside"],
    }
    for kind, norms in kinds.items():
        row = {"what": f"folding, {kind}"}
        for how, measured in (("raw", raw), ("folded", folded)):
            some = [
                pair.r
                for pair in pairs_of(measured, lineage)
                if sorted(norm[name] for name in pair.names) == norms
                and pair.group != "common weights"
            ]
            row |= {"pairs": len(some), f"median {how}": np.median(some)}
        yield row


def training_rows(folder, images, networks):
    """Describe the epochs of one training: fit, and similarity to its end and to a relative."""
    epochs = trajectory(folder)
    start = next(network for network in networks if network.name == "mini_xception_kdef")
    basis = rs.patch_moments(in_gray(images), (3, 3)).basis()
    profiles = np.stack([rs.energy_profile(bank, basis) for bank in epochs.values()])
    other = rs.energy_profile(start.filters, basis)
    fits = rs.fit_profiles(profiles, basis.eigenvalues)
    for epoch, profile, fit in zip(epochs, profiles, fits, strict=True):
        weights = torch.stack([epochs[epoch].flatten(), start.filters.flatten()])
        yield {
            "what": f"epoch {epoch}",
            "with the last": rs.profile_similarity(profile, profiles[-1]),
            "fit": fit.correlation,
            "steps": fit.steps,
            "with KDEF's": rs.profile_similarity(profile, other),
            "weights with KDEF's": float(torch.corrcoef(weights)[0, 1]),
        }


def source_rows(networks, lineage):
    """Summarize sources, lineages and licenses of the networks."""
    sources = Counter(network.source for network in networks)
    related = [count for count in Counter(lineage.values()).values() if count > 1]
    yield {
        "what": "sources",
        "number": len(sources),
        "largest three": sum(count for _, count in sources.most_common(3)),
        "networks that see faces": sum(network.task in FACES for network in networks),
        "lineages": len(related),
        "networks in lineages": sum(related),
    }
    yield {"what": "licenses"} | Counter(network.license for network in networks)


def all_rows(folder):
    """Return all rows."""
    images, networks = images_of(folder, "CIFAR-10"), first_layers(folder)
    lineage = lineages(networks)
    raw, folded = (measure_all(networks, images, folded=f) for f in (False, True))
    pairs = pairs_of(raw, lineage)
    efficientnets = [p for p in pairs if all(name.startswith("efficientnet") for name in p.names)]
    return [
        *file_rows(folder, images[:500]),
        *source_rows(networks, lineage),
        *patch_rows(raw, pairs),
        *group_rows(pairs),
        {"what": "pairs, EfficientNet-Lite"} | summary(efficientnets),
        *fit_rows(pairs),
        *family_rows(raw),
        *beyond_rows(raw[3, 3, 3], lineage),
        *random_rows(raw[3, 3, 3]),
        *basis_rows(folder, networks, lineage),
        *digit_rows(folder, networks),
        *group_rows(pairs_of(folded, lineage), "folded pairs"),
        *folding_rows(raw, folded, lineage),
        *training_rows(folder, images, networks),
        *network_rows(raw),
    ]


def main():
    chosen = options(__doc__)
    folder = os.environ.get("REPSIM_TEST_IMAGES")
    if not folder or not Path(folder, "networks").is_dir():
        sys.exit("got no networks, expected a folder with networks/; set REPSIM_TEST_IMAGES to it")
    report(all_rows(folder), chosen.json)


if __name__ == "__main__":
    main()
