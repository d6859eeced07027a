"""Similarity beyond the theory among networks trained by other people, for strangers.py."""

import warnings
from collections import defaultdict
from dataclasses import replace
from itertools import combinations, combinations_with_replacement

import numpy as np

import repsim_energy as rs

__all__ = ["beyond_rows", "random_rows_beyond"]

DRAWS = 1000
"""Choices of one network for each family."""


def beyond_rows(some, lineage):
    """Summarize r and r beyond theory of networks that the theory describes.

    Similar networks are counted several ways: each pair; each pair without common weights; each
    pair of two families, or of two sources, by the mean of its pairs; and pairs among one network
    of each family, drawn at random.
    """
    beyond = correlations_beyond(some)
    described = np.flatnonzero(np.isfinite(np.diag(beyond)))
    pairs = [
        (i, j)
        for i, j in combinations(described, 2)
        if lineage[some.networks[i].name] != lineage[some.networks[j].name]
    ]
    values = {(i, j): (some.similarities[i, j], beyond[i, j]) for i, j in pairs}
    every = [(some.similarities[i, j], beyond[i, j]) for i, j in combinations(described, 2)]
    null = rs.pearson_null_interval(len(some.basis.eigenvalues))[1]
    count = {"networks": len(described)}
    yield {"what": "beyond theory, networks", "measured": len(some.networks)} | count
    yield {"what": "beyond theory, all pairs"} | summary_beyond(every, null)
    unrelated = list(values.values())
    yield {"what": "beyond theory, pairs without common weights"} | summary_beyond(unrelated, null)
    for name, title in (("family", "families"), ("source", "sources")):
        groups = {index: getattr(some.networks[index], name) for index in described}
        means, number = means_of_groups(values, groups), len(set(groups.values()))
        row = {"what": f"beyond theory, pairs of two {title}", "groups": number}
        yield row | summary_beyond(means, null)
    families = {index: some.networks[index].family for index in described}
    yield {"what": "beyond theory, one network of each family"} | drawn(values, families)


def random_rows_beyond(some, profiles, name):
    """Summarize r beyond theory of random banks with each other and with the networks.

    Parameters
    ----------
    profiles : of as many random banks as there are networks
    """
    both = replace(some, networks=some.networks * 2, profiles=np.vstack([some.profiles, profiles]))
    beyond, count = correlations_beyond(both), len(profiles)
    upper = np.triu_indices(count, 1)
    for other, values in (
        ("each other", beyond[count:, count:][upper]),
        ("trained", beyond[:count, count:]),
    ):
        low, median, high = np.nanquantile(values, [0.025, 0.5, 0.975])
        yield {
            "what": f"beyond theory, {name} random banks with {other}",
            "described": int(np.isfinite(np.diag(beyond)[count:]).sum()),
            "2.5%": low,
            "median": median,
            "97.5%": high,
        }


def correlations_beyond(some):
    """Return the (m, m) r beyond theory, NaN for networks that the theory does not describe."""
    eigenvalues, size = some.basis.eigenvalues, len(some.networks)
    values = np.full((size, size), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rs.UndefinedSimilarityWarning)
        for i, j in combinations_with_replacement(range(size), 2):
            values[i, j] = values[j, i] = rs.beyond_theory(*some.profiles[[i, j]], eigenvalues)
    return values


def means_of_groups(values, groups):
    """Return the mean r and r beyond theory of the pairs of each two groups."""
    of_groups = defaultdict(list)
    for (i, j), both in values.items():
        if groups[i] != groups[j]:
            of_groups[frozenset((groups[i], groups[j]))].append(both)
    return [np.mean(pairs, axis=0) for pairs in of_groups.values()]


def summary_beyond(values, null):
    """Summarize pairs of r and r beyond theory."""
    r, beyond = np.array(values).T
    low, median, high = np.quantile(beyond, [0.25, 0.5, 0.75])
    return {
        "pairs": len(r),
        "median r": np.median(r),
        "lower quartile": low,
        "median beyond": median,
        "upper quartile": high,
        "above the band": np.mean(beyond > null),
    }


def drawn(values, families):
    """Draw one network of each family, many times; summarize the medians over its pairs."""
    rng = np.random.default_rng(0)
    members = defaultdict(list)
    for index, family in families.items():
        members[family].append(index)
    medians = []
    for _ in range(DRAWS):
        chosen = sorted(rng.choice(some) for some in members.values())
        pairs = [values[pair] for pair in combinations(chosen, 2) if pair in values]
        medians.append(np.median(pairs, axis=0))
    r, beyond = np.array(medians).T
    low, high = np.quantile(beyond, [0.025, 0.975])
    return {
        "groups": len(members),
        "median r": np.median(r),
        "median beyond": np.median(beyond),
        "2.5% of the draws": low,
        "97.5% of the draws": high,
    }
