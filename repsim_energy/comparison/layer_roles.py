"""Layers under one label that have different names in different models."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repsim_energy.comparison.activations import CONVS, FIRST, SPECIAL, entry_of
from repsim_energy.comparison.listed import items_of
from repsim_energy.errors import UsageError, unknown_name

__all__ = ["LayersLike", "Role", "are_deeper", "layers_of_model", "roles_of"]

LayersLike = str | Sequence[str] | Mapping[str, str | Mapping[str, str]]
"""Names of layers, or label -> the name in all models, or label -> (model -> name)."""

Find = Callable[[str], Mapping[str, str]]

GRAMMAR = "LABEL=NAME|NAME, or LABEL=MODEL=NAME|MODEL=NAME"


@dataclass(frozen=True)
class Role:
    """A layer as the user names it.

    Parameters
    ----------
    label : in the result
    names : of which a model without a name of its own has exactly one
    of_models : label of a model -> the name in that model
    plain : whether it is one name, or a word such as ``convs``, without a label
    """

    label: str
    names: tuple[str, ...] = ()
    of_models: Mapping[str, str] = field(default_factory=dict)
    plain: bool = False


def are_deeper(layers: object) -> bool:
    """Return whether other layers than the first one are named."""
    names = items_of(layers) if isinstance(layers, str) else layers
    return not (isinstance(names, Iterable) and list(names) == [FIRST])


def roles_of(layers: LayersLike, models: Sequence[str]) -> list[Role]:
    """Return the layers that a user names.

    Parameters
    ----------
    layers : a list of names and of ``LABEL=NAME|NAME`` (each model has one of these names) or
        ``LABEL=MODEL=NAME|MODEL=NAME``; the same as text, separated by commas; or a mapping
    models : labels of all models

    Raises
    ------
    UsageError
        For other values, labels that occur twice or are words for layers of every network, and
        models without a layer.

    Examples
    --------
    >>> roles = roles_of("stem=conv1|features.0,output", ["vgg11", "resnet18"])
    >>> [(role.label, role.names) for role in roles]
    [('stem', ('conv1', 'features.0')), ('output', ('output',))]
    """
    if isinstance(layers, Mapping):
        roles = [_given(label, names, models) for label, names in layers.items()]
    else:
        items = items_of(layers) if isinstance(layers, str) else layers
        wanted = list(items) if isinstance(items, Iterable) else []
        if not wanted or not all(isinstance(layer, str) and layer for layer in wanted):
            raise UsageError(
                f"got layers {wanted or layers}, expected at least one name such as first or output"
            )
        roles = [_parsed(layer, models) for layer in wanted]
    if not roles:
        raise UsageError("got no layers, expected at least one name such as first or output")
    labels = [role.label for role in roles]
    named = [role for role in roles if not role.plain]
    for role in named:
        if labels.count(role.label) > 1:
            raise UsageError(f"got layer '{role.label}' twice, expected each label once")
    return roles


def _parsed(text: str, models: Sequence[str]) -> Role:
    label, equals, rest = text.partition("=")
    if not equals:
        if "|" in text:
            raise UsageError(f"got layer '{text}' without a label, expected {GRAMMAR}")
        return Role(text, (text,), plain=True)
    names, of_models = [], {}
    for part in rest.split("|"):
        model, given, name = (piece.strip() for piece in part.rpartition("="))
        if given and (model in of_models or not model):
            raise UsageError(f"got '{text}', expected each model once; {GRAMMAR}")
        if given:
            of_models[model] = name
        else:
            names.append(name)
    return _checked(Role(label.strip(), tuple(names), of_models), models)


def _given(label: Any, names: Any, models: Sequence[str]) -> Role:
    if isinstance(label, str) and isinstance(names, str):
        if names == label:
            return Role(label, (label,), plain=True)
        return _checked(Role(label, tuple(names.split("|"))), models)
    texts = isinstance(names, Mapping) and all(isinstance(n, str) for n in names.values())
    if not isinstance(label, str) or not texts:
        raise UsageError(
            f"got layers {{{label!r}: {names!r}}}, expected a label, and a name or a mapping from "
            "labels of models to names"
        )
    return _checked(Role(label, (), dict(names)), models)


def _checked(role: Role, models: Sequence[str]) -> Role:
    """Return a layer with a label if it is complete."""
    every = (*role.names, *role.of_models.values())
    if not role.label or not all(every):
        raise UsageError(f"got layer '{role.label}' without a label or a name, expected {GRAMMAR}")
    if role.label.removeprefix(":") in SPECIAL:
        raise UsageError(
            f"got the label '{role.label}' for a layer, which is a word for a layer of every "
            "network, expected another label"
        )
    if role.label in models:
        raise UsageError(
            f"got the label '{role.label}' for a layer, which is the label of a model, expected "
            f"{GRAMMAR}"
        )
    if CONVS in {name.removeprefix(":") for name in every}:
        raise UsageError(
            f"got '{CONVS}' for the layer '{role.label}', which stands for several layers, "
            "expected the name of one"
        )
    for model in role.of_models:
        if model not in models:
            raise unknown_name(f"model of layer '{role.label}'", str(model), models)
    missing = [model for model in models if model not in role.of_models]
    if missing and not role.names:
        raise UsageError(
            f"got no layer '{role.label}' of '{missing[0]}', expected a name for every model; add "
            f"'{missing[0]}', or names for all others"
        )
    return role


def layers_of_model(
    roles: Sequence[Role], model: str, known: Collection[str], find: Find
) -> tuple[dict[str, str], dict[str, str]]:
    """Return the layers of a model: label -> submodule, and label -> the name that was chosen.

    Parameters
    ----------
    model : its label
    known : names of all its layers
    find : name -> label -> submodule, as ``layer_names``; raises ``UsageError`` for other names

    Raises
    ------
    UsageError
        For layers that the model does not have, and labels that could mean several.
    """
    found: dict[str, str] = {}
    typed: dict[str, str] = {}
    for role in roles:
        if role.plain:
            names = find(role.names[0])
            found |= names
            typed |= {label: label for label in names}
            continue
        name, submodule = _chosen(role, model, find)
        if role.label in known and role.label != submodule:
            raise UsageError(
                f"got the label '{role.label}' for the layer '{submodule or name}', but "
                f"'{role.label}' is another layer, expected another label"
            )
        if role.label in found:
            raise UsageError(f"got layer '{role.label}' twice, expected each label once")
        found[role.label], typed[role.label] = submodule, name
    return found, typed


def _chosen(role: Role, model: str, find: Find) -> tuple[str, str]:
    """Return the name of a layer in a model, and its submodule."""
    if model in role.of_models:
        name = role.of_models[model]
        return name, find(name)[name]
    there: dict[tuple[str, str], str] = {}
    problems = []
    for name in role.names:
        try:
            submodule = find(name)[name]
        except UsageError as error:
            problems.append(error)
            continue
        there.setdefault((submodule, entry_of(name, submodule)[0]), name)
    if not there:
        if len(problems) == 1:
            raise problems[0]
        raise UsageError(
            f"got layer '{role.label}', but the model has none of "
            f"{', '.join(role.names)}; add its name, or write {role.label}={model}=NAME"
        )
    if len(there) > 1:
        raise UsageError(
            f"got layer '{role.label}', which could be {' or '.join(there.values())}, "
            f"expected one of them; write {role.label}={model}=NAME"
        )
    (((submodule, _), name),) = there.items()
    return name, submodule
