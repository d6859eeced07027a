"""Results that are no whole results: one or several things in them are changed at random."""

import contextlib

import numpy as np
from hypothesis import strategies as st


def _without(result, name, _):
    return result.drop_vars(name)


def _transposed(result, name, _):
    return result.assign({name: result[name].transpose(*result[name].dims[::-1])})


def _selected(result, name, seed):
    dims = result[name].dims
    return (
        result.assign({name: result[name].isel({dims[seed % len(dims)]: 0}, drop=True)})
        if dims
        else result
    )


def _renamed(result, name, _):
    return result.rename({name: f"{name}2"})


def _texts(result, name, _):
    return result.assign({name: result[name].astype(str)})


def _objects(result, name, _):
    return result.assign({name: result[name].astype(object)})


def _complex(result, name, _):
    return result.assign(
        {name: result[name].astype(complex) if result[name].dtype.kind in "fi" else result[name]}
    )


def _filled(value):
    def change(result, name, _):
        if result[name].dtype.kind not in "fi":
            return result
        return result.assign({name: result[name].astype(float) * 0 + value})

    return change


def _one(value):
    def change(result, name, seed):
        if result[name].dtype.kind not in "f" or not result[name].size:
            return result
        changed = result[name].copy(deep=True)
        changed.values.reshape(-1)[seed % changed.size] = value
        return result.assign({name: changed})

    return change


def _dimension(change):
    def on_one(result, _, seed):
        dims = sorted(map(str, result.dims))
        return change(result, dims[seed % len(dims)])

    return on_one


def _empty(result, dim):
    return result.isel({dim: slice(0, 0)})


def _first(result, dim):
    return result.isel({dim: 0})


def _shifted(result, dim):
    if dim not in result.coords:
        return result
    labels = result[dim].values
    new = labels + 1 if labels.dtype.kind in "iuf" else np.array([f"{label}+" for label in labels])
    return result.assign_coords({dim: new})


def _twice(result, dim):
    if dim not in result.coords or not result.sizes[dim]:
        return result
    return result.assign_coords({dim: [result[dim].values[0]] * result.sizes[dim]})


def _reversed(result, dim):
    return result.isel({dim: slice(None, None, -1)})


def _unlabeled(result, dim):
    return result.drop_vars(dim, errors="ignore")


def _no_attributes(result, *_):
    return result.drop_attrs()


def _nonsense_attributes(result, name, seed):
    key = sorted(result.attrs)[seed % max(1, len(result.attrs))] if result.attrs else "metric"
    return result.assign_attrs({key: [name, 3.5, "", "{", "a,b", np.nan][seed % 6]})


NAMED = [
    _without,
    _transposed,
    _selected,
    _renamed,
    _texts,
    _objects,
    _complex,
    _no_attributes,
    _nonsense_attributes,
]
CHANGES = {change.__name__: change for change in NAMED}
CHANGES |= {f"all {value}": _filled(value) for value in (np.nan, np.inf, 0.0, -1.0, 1e300)}
CHANGES |= {f"one {value}": _one(value) for value in (np.nan, np.inf, 7.0)}
CHANGES |= {
    f"dimension {change.__name__}": _dimension(change)
    for change in (_empty, _first, _shifted, _twice, _reversed, _unlabeled)
}


def broken(result):
    """Return a strategy of pairs (names of changes, result with these changes)."""
    names = sorted(map(str, result.variables))

    def changed(steps):
        made = result.copy(deep=True)
        for change, name, seed in steps:
            present = name if name in made.variables else sorted(map(str, made.variables))[0]
            with contextlib.suppress(ValueError, TypeError):  # xarray itself refuses some
                made = CHANGES[change](made, present, seed)
        return [step[:2] for step in steps], made

    step = st.tuples(st.sampled_from(sorted(CHANGES)), st.sampled_from(names), st.integers(0, 99))
    return st.lists(step, min_size=1, max_size=3).map(changed)
