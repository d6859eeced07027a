"""Find the batch norm that follows a layer in a file of weights, by names and shapes."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from repsim_energy.errors import UsageError, first_few
from repsim_energy.models.files.first_filters import layer_name
from repsim_energy.models.files.weights import Weights

__all__ = ["parse_fold", "scale_in_file"]

VARIANCES = ("running_var", "moving_variance", "running_variance", "_variance", "variance", "var")
FACTORS = ("weight", "gamma", "scale", "weights")
"""The last parts of the names of a batch norm's variances and factors."""

KERAS = ("gamma", "moving_variance")
"""Names with which epsilon is Keras' 0.001, unless it is said."""

EPSILON, EPSILON_OF_KERAS = 1e-5, 1e-3

WORDS = re.compile(
    r"conv(olution)?(2d)?s?|\bc(?=\d*$)|batch_?norm(alization)?(2d)?s?|norm(alization)?s?|bns?|"
    r"affine|scale|[_-]"
)
"""What convolutions and batch norms are called, apart from their numbers, and separators."""


@dataclass(frozen=True)
class _Norm:
    """The tensors of a batch norm, or of an affine map of each channel, which has no variance."""

    variance: str | None
    factor: str | None


def parse_fold(word: str) -> tuple[str, float | None]:
    """Return the batch norm that is asked for, ``bn`` for the one that follows, and its epsilon.

    Examples
    --------
    >>> parse_fold("bn"), parse_fold("stem.bn/0.001")
    (('bn', None), ('stem.bn', 0.001))
    """
    name, slash, number = word.rpartition("/")
    try:
        epsilon = float(number) if slash else None
    except ValueError:
        epsilon = math.nan
    name = name if slash else word
    if not name or not (epsilon is None or 0 < epsilon < 1):
        raise UsageError(
            f"got fold={word}, expected bn, the name of a batch norm in the file, or either with "
            "its epsilon, such as bn/0.001"
        )
    return name, epsilon


def scale_in_file(weights: Weights, layer: str, word: str) -> tuple[str, Tensor]:
    """Return the factors of the batch norm that follows a layer, and the tensors they come from.

    By names it is the one that stands beside the layer: under the next number (``features.0``,
    ``features.1``), under the same name but for the words of convolutions and batch norms
    (``conv1``, ``bn1``; ``stem.conv``, ``stem.bn``), or the only one there (``conv_stem``,
    ``bn1``). By shapes it has a factor for each filter.

    Parameters
    ----------
    weights : of the file
    layer : the name of the filters' tensor
    word : as in :func:`parse_fold`

    Returns
    -------
    what was taken, in words, and (k,) float64 factors: gamma / sqrt(variance + epsilon)

    Raises
    ------
    UsageError
        Where there is none, or several; the file's own are listed.
    """
    name, epsilon = parse_fold(word)
    tensors = weights.tensors
    kernels = weights.effective.tensors[layer].shape[0]
    norms = _norms(tensors, kernels)
    if name == "bn":
        found = _beside(layer_name(layer), list(norms), weights, kernels)
    else:
        found = [known for known in norms if known == name or known.endswith(f".{name}")]
        found = [known for known in found if known == name] or found
    norm = _as_one([norms[one] for one in found])
    if norm is None:
        raise _refusal(weights, layer, name, found, [*norms])
    scale, used = torch.ones(kernels, dtype=torch.float64), [norm.factor, norm.variance]
    if norm.factor is not None:
        scale = tensors[norm.factor].double()
    if norm.variance is not None:
        keras = any(_last(tensor or "") in KERAS for tensor in used)
        epsilon = epsilon or weights.epsilon or (EPSILON_OF_KERAS if keras else EPSILON)
        scale = scale * torch.rsqrt(tensors[norm.variance].double() + epsilon)
        used.append(f"eps={epsilon:g}")
    return " ".join(filter(None, used)).replace(",", "_"), scale


def _norms(tensors: Mapping[str, Tensor], kernels: int) -> dict[str, _Norm]:
    """Return the batch norms, and affine maps that say so, with a number for each filter."""
    fitting = {
        name: t for name, t in tensors.items() if t.shape == (kernels,) and t.is_floating_point()
    }
    inside: dict[str, dict[str, str]] = {}
    for name in fitting:
        layer, _, part = name.rpartition(".")
        inside.setdefault(layer, {})[part] = name
    found = {}
    for layer, parts in inside.items():
        variance = next((parts[part] for part in VARIANCES if part in parts), None)
        factor = next((parts[part] for part in FACTORS if part in parts), None)
        affine = re.search(r"affine|scale", _last(layer).lower()) and factor
        if variance is not None or affine:
            found[layer] = _Norm(variance, factor)
    return found


def _as_one(found: list[_Norm]) -> _Norm | None:
    """Return the one batch norm; Caffe keeps variances and factors in a layer each."""
    variances = [norm.variance for norm in found if norm.variance is not None]
    factors = [norm.factor for norm in found if norm.factor is not None]
    if not found or len(variances) > 1 or len(factors) > 1:
        return None
    return _Norm(next(iter(variances), None), next(iter(factors), None))


def _beside(layer: str, norms: list[str], weights: Weights, kernels: int) -> list[str]:
    """Return the batch norms that by their names follow a layer."""
    own = _without_doubles(layer)
    named = {norm: _without_doubles(norm) for norm in norms}
    place, last = _place(own), _last(own)
    following = f"{place}.{int(last) + 1}".removeprefix(".") if last.isdigit() else None
    found = [
        n
        for n, name in named.items()
        if name == following or _core(name) == _core(own) or _core(n) == _core(layer)
    ]
    if found or following is not None:
        return found
    there = [norm for norm, name in named.items() if _place(name) == place]
    banks = [
        _without_doubles(layer_name(n))
        for n, t in weights.effective.tensors.items()
        if t.ndim == 4 and t.shape[0] == kernels
    ]
    alone = len(there) == 1 and [bank for bank in banks if _place(bank) == place] == [own]
    numbers = {re.sub(r"\D", "", _last(name)) for name in (own, *(named[n] for n in there))}
    return there if alone and len(numbers - {""}) < 2 else []


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _place(name: str) -> str:
    return name.rpartition(".")[0]


def _without_doubles(name: str) -> str:
    """Return a name whose last two parts are not the same, as Keras writes them."""
    return (
        _place(name) if _last(name) == _last(_place(name)) and not _last(name).isdigit() else name
    )


def _core(name: str) -> str:
    return ".".join(WORDS.sub("", part) for part in name.lower().split("."))


def _refusal(
    weights: Weights, layer: str, name: str, found: list[str], norms: list[str]
) -> UsageError:
    """Say what a file holds instead of one batch norm that follows."""
    own, which = layer_name(layer), "one that follows" if name == "bn" else f"'{name}'"
    kernels = weights.effective.tensors[layer].shape[0]
    known = found or norms
    if not known:
        return UsageError(
            f"'{weights.path}' holds no batch norm of {kernels} channels, expected {which} to be "
            f"folded into '{own}'; leave fold= out, or load the network with arch="
        )
    why = "may follow" if found else "have its number of channels, but stand elsewhere by name"
    return UsageError(
        f"'{weights.path}' does not say which batch norm is folded into '{own}', expected "
        f"{which}: {first_few(known, 6)} {why}; choose with fold={known[0]}, or leave "
        "fold= out"
    )
