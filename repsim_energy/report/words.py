"""Sentences that describe a comparison."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import xarray as xr

from repsim_energy.errors import first_few
from repsim_energy.results.attributes import attribute_of
from repsim_energy.results.nulls import null_in_words

__all__ = ["describe", "title_of"]

MAX_NAMES = 6
"""Names that a sentence lists before it counts the others."""

MAX_LIST = 240
"""Length up to which a sentence lists the names of all models. The tables below have them too."""

STAGES = {
    "init": "The filters are those before training.",
    "trained": "The filters are those after training.",
    "change": "The filters are the change by training: those after it minus those before it.",
}

WAYS = {
    "": "",
    "rank": "Each profile is on the layer's own components, and those of equal rank are compared.",
    "input": "Filters are compared on the components of one layer, to which those of the other are "
    "carried over by an orthogonal alignment of the inputs of both, and the other way round; the "
    "similarity is the mean.",
}
"""Value of the attribute ``align`` of results on deeper layers -> how networks are compared."""

METRICS: dict[str, Callable[[xr.Dataset, dict[str, Any]], str]] = {
    "energy": lambda result, _: (
        "The metric is the correlation of energy profiles. The patches of the training images have "
        "principal components. The energy of a component is the root mean square of its inner "
        "products with all filters of a network's first layer, and the energies of all components "
        "are the network's energy profile. The similarity of two networks is the Pearson "
        "correlation of their profiles, from −1 to 1. "
        f"{STAGES.get(attribute_of(result, 'stage'), '')}"
    ),
    "cka": lambda result, options: (
        f"The metric is linear CKA ({options.get('estimator', 'debiased')} estimate). It compares "
        "the activations of two layers on the same images by the inner products between images. "
        "It is 1 for activations that differ by a rotation and one factor, and about 0 for "
        "unrelated ones."
    ),
}
"""Registered name of a metric -> its description."""


def title_of(result: xr.Dataset) -> str:
    """Return the title of a result: its metric and data sets."""
    name = _metric(result)[0]
    return f"{name} on {_names(result, 'dataset')}"


def describe(result: xr.Dataset, summary: xr.Dataset) -> list[str]:
    """Return paragraphs that describe a comparison and explain its numbers.

    Parameters
    ----------
    summary : of the result, by :func:`repsim_energy.summarize`
    """
    paragraphs = [_networks(result), _method(result), _shown(result), _null(result, summary)]
    return [paragraph for paragraph in paragraphs if paragraph]


def _metric(result: xr.Dataset) -> tuple[str, dict[str, Any]]:
    """Return the registered name and the options of the metric."""
    metric = json.loads(result.attrs.get("configuration", "{}")).get("metric") or {}
    if not isinstance(metric, dict):
        metric = {"name": str(metric)}
    name = str(metric.get("name", attribute_of(result, "metric", "metric")))
    options = metric.get("options")
    return name, options if isinstance(options, dict) else {}


def _names(result: xr.Dataset, dim: str) -> str:
    return first_few([str(label) for label in result[dim].values], MAX_NAMES)


def _networks(result: xr.Dataset) -> str:
    """Return a list of the networks, with those that were trained here."""
    given = (
        [str(m) for m in result.model.values if bool(result.given.sel(model=m).all())]
        if "given" in result
        else []
    )
    count, seeds = result.sizes["model"], [str(seed) for seed in result.seed.values]
    trained = count - len(given)
    names = ", ".join(str(model) for model in result.model.values)
    listed = f": {names}" if len(names) <= MAX_LIST else ""
    text = f"{count} model{'s' * (count != 1)}{listed}."
    if trained:
        some = "Each" if not given else f"{trained} of them"
        times = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {first_few(seeds, 12)}"
        text += f" {some} was trained by this toolkit on {_names(result, 'dataset')}, with {times}."
    if given:
        which = ("All" if count > 1 else "It") if not trained else first_few(given, MAX_NAMES)
        text += (
            f" {which} {'was' if len(given) == 1 else 'were'} given: this toolkit did not train "
        )
        text += "it, and it has no seed." if len(given) == 1 else "them, and they have no seeds."
    return text


def _method(result: xr.Dataset) -> str:
    name, options = _metric(result)
    own = attribute_of(result, "metric", name)
    known = METRICS.get(name)
    if known is None or (name == "energy" and not attribute_of(result, "stage", "")):
        kind = attribute_of(result, "direction", "similarity")
        listed = ", ".join(f"{key}={value}" for key, value in options.items())
        return f"The metric is {own}{f' ({listed})' if listed else ''}, a {kind}."
    text = known(result, options)
    if attribute_of(result, "align", ""):
        text = text.replace("patches of the training images", "patches that a layer sees")
        text = text.replace("a network's first layer", "the layer").replace("network's", "layer's")
        text = " ".join([text, WAYS[attribute_of(result, "align")]]).strip()
    return text


def _shown(result: xr.Dataset) -> str:
    """Return the size of the patches, or the number of images."""
    if "n_images" in result.coords:
        parts = [
            f"{int(n)} {split} images of {label}"
            for n, split, label in zip(
                result.n_images.values,
                result.images_from.values,
                result.dataset.values,
                strict=True,
            )
        ]
        layers = f" Layers: {_names(result, 'layer')}." if "layer" in result.dims else ""
        return f"Every network was shown {'; '.join(parts)}.{layers}"
    if "n_samples" in result.coords:
        count = int(result.n_samples.values.max())
        return f"Features of {count} samples are from files. Layers: {_names(result, 'layer')}."
    if "components" in result:
        c, kh, kw = (result.sizes[dim] for dim in ("c", "kh", "kw"))
        return (
            f"Patches have {c} channel{'s' * (c != 1)}, {kh} rows and {kw} columns, and so "
            f"{result.sizes['component']} components."
        )
    return ""


def _null(result: xr.Dataset, summary: xr.Dataset) -> str:
    """Return an explanation of the table: its averages, and its null intervals."""
    several = result.sizes["seed"] > 1
    text = (
        "The table has the mean over pairs of seeds ± the standard deviation, and on the diagonal "
        "the networks of one model with different seeds."
        if several
        else "There is one network for each model, so that the table has single numbers."
    )
    if bool(summary.ci_low.notnull().any()):
        over = str(summary.attrs["interval_over"]).replace(", ", " and ")
        text += f" Below a mean is its 95% confidence interval over {over}, where there is one."
    low, high = summary.null_low.values, summary.null_high.values
    known = np.isfinite(low) & np.isfinite(high)
    if not known.any():
        return f"{text} No null interval is known for this metric."
    lows, highs = low[known], high[known]
    if np.ptp(lows) < 5e-4 and np.ptp(highs) < 5e-4:
        interval = f"{lows.mean():.3f} and {highs.mean():.3f}"
    else:
        interval = f"two numbers that differ between pairs ({lows.min():.3f} to {highs.max():.3f})"
    return (
        f"{text} Null interval: 95% of the numbers of {null_in_words(result)} are between "
        f"{interval.replace('-', '−')}. Numbers inside it are marked °: they are no sign of a "
        "relation."
    )
