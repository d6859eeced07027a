"""Weights of a file into an architecture: what stands before the names, how many outputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from repsim_energy.errors import FileError, UsageError
from repsim_energy.models.files.weights import Weights

__all__ = ["fitted"]

WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of names that ``torch.compile`` and wrappers for several devices put in between."""

COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Numbers that some files lack and others hold, and that change no answer."""


def fitted(
    build: Callable[[int], nn.Module], weights: Weights, outputs: int, given: bool
) -> nn.Module:
    """Return a network with the weights of a file.

    Names are taken as they are, or without what stands before all of them (``module.``,
    ``model.``) where the rest fits. The number of outputs is found from the tensors that differ
    from the architecture's in nothing but it.

    Parameters
    ----------
    build : number of outputs -> new network
    weights : of the file
    outputs : the number of outputs to begin with
    given : whether the user gave that number, which is then not changed

    Raises
    ------
    FileError
        Where the weights do not fit the architecture.
    UsageError
        Where they do in several ways.
    """
    module = build(outputs)
    tensors = _named_alike(module.state_dict(), weights)
    if not given:
        found = _outputs(module.state_dict(), tensors, outputs)
        module = module if found == outputs else build(found)
    try:
        module.load_state_dict(_filled(module.state_dict(), tensors))
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]] or [str(error)]
        raise FileError(
            f"'{weights.path}' does not fit the architecture ({' '.join(lines)[:200]}); "
            "expected weights of the arch= and options given"
        ) from error
    return module


def _named_alike(expected: Mapping[str, Tensor], weights: Weights) -> dict[str, Tensor]:
    """Return the tensors of a file under the names of the architecture, as far as they fit."""
    wanted = [name for name in expected if not name.endswith(COUNTERS)]
    choices = [
        {shown(name): name for name in tensors}
        for tensors in (weights.tensors, weights.effective.tensors)
        for shown in (str, _without_wrappers)
    ]
    for names in choices:
        prefixes = [p for p in _prefixes(names, wanted) if all(p + key in names for key in wanted)]
        if len(prefixes) > 1 and "" not in prefixes:
            options = ", ".join(prefix.rstrip(".") for prefix in prefixes)
            raise UsageError(
                f"'{weights.path}' holds weights of the architecture under {options}; choose with "
                f"weights={prefixes[0].rstrip('.')}"
            )
        if prefixes:
            prefix = "" if "" in prefixes else prefixes[0]
            others = tuple(p for p in prefixes if p != prefix)
            return _taken(names, prefix, others, wanted, weights)
    names = choices[-1]
    best = max(
        ["", *_prefixes(names, wanted)], key=lambda p: sum(p + key in names for key in wanted)
    )
    return _taken(names, best, (), wanted, weights)


def _prefixes(names: Mapping[str, str], wanted: list[str]) -> list[str]:
    """Return what stands before the first wanted name, wherever it is found."""
    found = dict.fromkeys(
        name.removesuffix(key) for key in wanted[:1] for name in names if name.endswith(key)
    )
    return [prefix for prefix in found if not prefix or prefix.endswith(".")]


def _taken(
    names: Mapping[str, str],
    prefix: str,
    others: tuple[str, ...],
    wanted: list[str],
    weights: Weights,
) -> dict[str, Tensor]:
    """Return the tensors behind a prefix; those of ``names`` that stand for parts are refused."""
    found = {}
    for name, original in names.items():
        if name.startswith(prefix) and not (others and name.startswith(others)):
            key = name.removeprefix(prefix)
            if key in wanted and original not in weights.tensors:
                weights.effective.refuse_unknown(original)
            tensor = weights.tensors.get(original, weights.effective.tensors.get(original))
            if tensor is not None:
                found[key] = tensor
    return found


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _outputs(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], outputs: int) -> int:
    """Return the one number that the file has where the architecture has that of its outputs."""
    found = set()
    for name, tensor in tensors.items():
        if name not in expected or expected[name].ndim != tensor.ndim:
            continue
        pairs = zip(expected[name].shape, tensor.shape, strict=True)
        different = [(mine, its) for mine, its in pairs if mine != its]
        if len(different) == 1 and different[0][0] == outputs:
            found.add(different[0][1])
    return found.pop() if len(found) == 1 else outputs


def _filled(state: dict[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the architecture's own state with the tensors of a file in it.

    The same mapping is returned, because it carries the versions of the layers. Counters that
    only one of both has are left as they are; other tensors that lack are taken out, so that
    torch names them.
    """
    for name in list(state):
        if name not in tensors and not name.endswith(COUNTERS):
            del state[name]
    state.update({n: t for n, t in tensors.items() if n in state or not n.endswith(COUNTERS)})
    return state
