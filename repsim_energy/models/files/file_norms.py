"""Find the batch norm that follows a layer among the tensors of a file, by names and shapes."""

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
"""Last parts of the names of a batch norm's variance and factors."""

KERAS_NAMES = ("gamma", "moving_variance")
"""Names of tensors in Keras, whose batch norms have another default epsilon."""

EPSILON, KERAS_EPSILON = 1e-5, 1e-3
"""Defaults of torch and Keras."""

KIND_WORDS = re.compile(
    r"conv(olution)?(2d)?s?|\bc(?=\d*$)|batch_?norm(alization)?(2d)?s?|norm(alization)?s?|bns?|"
    r"affine|scale|[_-]"
)
"""Words for convolutions and batch norms in names, and separators."""


@dataclass(frozen=True)
class _Norm:
    """Names of the tensors of a batch norm, or of an affine map of each channel.

    Parameters
    ----------
    variance : ``None`` for an affine map
    factor : ``None`` for a batch norm without one
    """

    variance: str | None
    factor: str | None


def parse_fold(word: str) -> tuple[str, float | None]:
    """Parse the option ``fold`` into the name of a batch norm, or ``bn``, and its epsilon.

    Raises
    ------
    UsageError
        If the name is empty or epsilon is not between 0 and 1.

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
            "its epsilon; write for example bn/0.001"
        )
    return name, epsilon


def scale_in_file(weights: Weights, layer: str, fold: str) -> tuple[str, Tensor]:
    """Return the factors of the batch norm that follows a layer.

    It has a factor for each filter of the layer. Its name has the next number (``features.0``,
    ``features.1``), or differs in the words for convolutions and batch norms alone (``conv1``,
    ``bn1``; ``stem.conv``, ``stem.bn``), or it is the only one in the same module (``conv_stem``,
    ``bn1``).

    Parameters
    ----------
    weights : of the file
    layer : the name of the filters' tensor
    fold : ``bn``, the name of a batch norm, or either with its epsilon (:func:`parse_fold`)

    Returns
    -------
    the names of the tensors with epsilon, and (k,) float64 factors: gamma / sqrt(variance + eps)

    Raises
    ------
    UsageError
        If no batch norm follows, or several do; the error lists them.
    """
    name, epsilon = parse_fold(fold)
    kernels = weights.effective.tensors[layer].shape[0]
    norms = _norms(weights.tensors, kernels)
    if name == "bn":
        names = _following(layer_name(layer), list(norms), weights, kernels)
    else:
        names = [known for known in norms if known == name or known.endswith(f".{name}")]
        names = [known for known in names if known == name] or names
    norm = _join([norms[one] for one in names])
    if norm is None:
        raise _refusal(weights, layer, name, names, [*norms])
    return _description_and_scale(weights, norm, kernels, epsilon)


def _description_and_scale(
    weights: Weights, norm: _Norm, kernels: int, epsilon: float | None
) -> tuple[str, Tensor]:
    """Return the names of a batch norm's tensors with epsilon, and its (k,) factors."""
    scale, used = torch.ones(kernels, dtype=torch.float64), [norm.factor, norm.variance]
    if norm.factor is not None:
        scale = weights.tensors[norm.factor].double()
    if norm.variance is not None:
        keras = any(_last(tensor or "") in KERAS_NAMES for tensor in used)
        epsilon = epsilon or weights.epsilon or (KERAS_EPSILON if keras else EPSILON)
        scale = scale * torch.rsqrt(weights.tensors[norm.variance].double() + epsilon)
        used.append(f"eps={epsilon:g}")
    return " ".join(filter(None, used)).replace(",", "_"), scale


def _norms(tensors: Mapping[str, Tensor], kernels: int) -> dict[str, _Norm]:
    """Return the batch norms, and affine maps by their names, with a number for each filter."""
    vectors = {
        name: t for name, t in tensors.items() if t.shape == (kernels,) and t.is_floating_point()
    }
    modules: dict[str, dict[str, str]] = {}
    for name in vectors:
        module, _, last = name.rpartition(".")
        modules.setdefault(module, {})[last] = name
    norms = {}
    for module, names in modules.items():
        variance = next((names[last] for last in VARIANCES if last in names), None)
        factor = next((names[last] for last in FACTORS if last in names), None)
        affine = re.search(r"affine|scale", _last(module).lower()) and factor
        if variance is not None or affine:
            norms[module] = _Norm(variance, factor)
    return norms


def _join(norms: list[_Norm]) -> _Norm | None:
    """Return the one batch norm of a list, ``None`` if there are none or several.

    Caffe stores the variance and the factors of a batch norm as two layers, which are joined.
    """
    variances = [norm.variance for norm in norms if norm.variance is not None]
    factors = [norm.factor for norm in norms if norm.factor is not None]
    if not norms or len(variances) > 1 or len(factors) > 1:
        return None
    return _Norm(next(iter(variances), None), next(iter(factors), None))


def _following(layer: str, norms: list[str], weights: Weights, kernels: int) -> list[str]:
    """Return the batch norms that follow a layer according to their names."""
    own = _without_repetition(layer)
    named = {norm: _without_repetition(norm) for norm in norms}
    parent, last = _parent(own), _last(own)
    following = f"{parent}.{int(last) + 1}".removeprefix(".") if last.isdigit() else None
    found = [
        n
        for n, name in named.items()
        if name == following or _stem(name) == _stem(own) or _stem(n) == _stem(layer)
    ]
    if found or following is not None:
        return found
    siblings = [norm for norm, name in named.items() if _parent(name) == parent]
    banks = [
        _without_repetition(layer_name(n))
        for n, t in weights.effective.tensors.items()
        if t.ndim == 4 and t.shape[0] == kernels
    ]
    alone = len(siblings) == 1 and [bank for bank in banks if _parent(bank) == parent] == [own]
    numbers = {re.sub(r"\D", "", _last(name)) for name in (own, *(named[n] for n in siblings))}
    return siblings if alone and len(numbers - {""}) < 2 else []


def _last(name: str) -> str:
    return name.rpartition(".")[2]


def _parent(name: str) -> str:
    return name.rpartition(".")[0]


def _without_repetition(name: str) -> str:
    """Return a name without its last part if that repeats the one before, as in Keras."""
    repeats = _last(name) == _last(_parent(name)) and not _last(name).isdigit()
    return _parent(name) if repeats else name


def _stem(name: str) -> str:
    """Return a name without the words for convolutions and batch norms."""
    return ".".join(KIND_WORDS.sub("", part) for part in name.lower().split("."))


def _refusal(
    weights: Weights, layer: str, name: str, found: list[str], norms: list[str]
) -> UsageError:
    """Return the error for a layer that no batch norm, or more than one, follows."""
    own, which = layer_name(layer), "one that follows" if name == "bn" else f"'{name}'"
    kernels = weights.effective.tensors[layer].shape[0]
    candidates = found or norms
    if not candidates:
        return UsageError(
            f"'{weights.path}' holds no batch norm of {kernels} channels, expected {which} to be "
            f"folded into '{own}'; leave fold= out, or load the network with arch="
        )
    return UsageError(
        f"'{weights.path}' does not show which batch norm is folded into '{own}', expected "
        f"{which}; by {'name' if found else 'size alone'} it may be {first_few(candidates, 6)}: "
        f"choose with fold={candidates[0]}, or leave fold= out"
    )
