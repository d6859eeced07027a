"""Nonsense: values that a caller may give by mistake, and what may come of them."""

import dataclasses
import math
import warnings
from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
import xarray as xr
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from repsim_energy.errors import RepsimError, RepsimWarning


def examples(count):
    """Settings of a test: so many examples, the same ones each time, and no store of them."""
    return settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def outcome(function, *args, quiet=False, **options):
    """Call a function, and return ``refused``, ``undefined`` or ``defined``.

    Anything else fails: an error that is not of this package, a message of several lines, a warning
    of another package, an infinite number, or NaN without a warning (unless ``quiet``).
    """
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        refusal = None
        try:
            result = function(*args, **options)
        except RepsimError as error:
            refusal = str(error)
    if refusal is not None:
        assert refusal
        assert "\n" not in refusal
        return "refused"
    foreign = [w for w in heard if not issubclass(w.category, RepsimWarning)]
    assert not foreign, f"{foreign[0].category.__name__}: {foreign[0].message}"
    numbers = [*numbers_in(result)]
    assert not any(map(math.isinf, numbers)), "an infinite number"
    if any(map(math.isnan, numbers)):
        assert heard or quiet, "NaN without a warning"
        return "undefined"
    return "defined"


def numbers_in(result):
    """Yield every number in arrays, mappings, sequences and data classes."""
    if isinstance(result, torch.Tensor):
        result = result.detach().double().numpy() if not result.is_complex() else result.numpy()
    if hasattr(result, "tocoo"):
        result = result.data
    if isinstance(result, np.ndarray | np.generic):
        if result.dtype.kind in "fc":
            yield from np.abs(np.asarray(result)).ravel().tolist()
    elif isinstance(result, float):
        yield result
    elif isinstance(result, xr.Dataset):
        yield from numbers_in({name: values.values for name, values in result.data_vars.items()})
    elif isinstance(result, xr.DataArray):
        yield from numbers_in(result.values)
    elif isinstance(result, pd.DataFrame):
        yield from numbers_in({name: result[name].to_numpy() for name in result})
    elif isinstance(result, Mapping):
        for value in result.values():
            yield from numbers_in(value)
    elif isinstance(result, tuple | list):
        for value in result:
            yield from numbers_in(value)
    elif dataclasses.is_dataclass(result):
        for field in dataclasses.fields(result):
            yield from numbers_in(getattr(result, field.name))


TYPES = [
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.uint8,
    torch.int64,
    torch.int8,
    torch.bool,
    torch.complex64,
]

SPECIAL = [math.nan, math.inf, -math.inf, 0.0, 1e30, 1e-30, -1.0, 1e38, 1e300, 5e-324]


def _filled(shape, kind, special, seed, dtype, symmetric, positive):
    drawn = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if symmetric and len(shape) == 2 and shape[0] == shape[1]:
        drawn = drawn @ drawn.T
    drawn = drawn.abs() if positive else drawn
    if kind == "constant":
        drawn = torch.full(shape, special, dtype=torch.float64)
    elif kind == "one special" and drawn.numel():
        drawn.view(-1)[seed % drawn.numel()] = special
    elif kind == "scaled":
        drawn *= special
    elif kind == "bytes":
        drawn = (drawn * 50 + 128).clamp(0, 255).floor()
    elif kind == "alike" and drawn.ndim:
        drawn = drawn[:1].expand(shape).clone() if shape[0] else drawn
    if not dtype.is_floating_point and not dtype.is_complex:
        drawn = drawn.nan_to_num(0, 100, -100).clamp(-1000, 1000)
    return drawn.to(dtype)


def tensors(shapes, *, symmetric=False, positive=False):
    """Tensors and arrays of these shapes: random, constant, with one NaN, huge, tiny, all alike."""
    kinds = ["normal"] * 4 + ["bytes", "scaled", "one special", "constant", "alike"]
    drawn = st.builds(
        _filled,
        shapes,
        st.sampled_from(kinds),
        st.sampled_from(SPECIAL),
        st.integers(0, 999),
        st.sampled_from([torch.float32] * 12 + [torch.float64] * 6 + TYPES),
        st.just(symmetric),
        st.just(positive),
    )
    return drawn | drawn.map(_array)


def _array(tensor):
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def shapes(*meant):
    """This shape mostly, with more or fewer along the first axis; else others, also empty."""
    others = st.lists(st.integers(0, 5), max_size=5).map(tuple)
    first = st.integers(0, 6).map(lambda n: (n, *meant[1:]))
    return st.integers(0, 9).flatmap(lambda n: {0: others, 1: first}.get(n, st.just(meant)))
