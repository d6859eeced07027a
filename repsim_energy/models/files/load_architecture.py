"""Build an architecture and load the weights of a file into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from repsim_energy.errors import FileError, UsageError
from repsim_energy.models.files.weights import Weights

__all__ = ["load_architecture"]

WRAPPERS = ("_orig_mod", "module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
"""Parts of names that ``torch.compile`` and wrappers for several devices insert."""

COUNTERS = ("num_batches_tracked", "total_ops", "total_params", "n_averaged")
"""Counters that some files lack and others add; they do not change the network's output."""


def load_architecture(
    build: Callable[[int], nn.Module], weights: Weights, outputs: int, *, fixed: bool
) -> nn.Module:
    """Return a network with the weights of a file.

    A prefix that all names share (``module.``, ``model.``) is removed if the rest fits. The number
    of outputs is found from the tensors whose shapes differ from the architecture's in it alone.

    Parameters
    ----------
    build : number of outputs -> new network
    weights : of the file
    outputs : number of outputs, first guess unless it is fixed
    fixed : whether the number of outputs is given by the user

    Raises
    ------
    FileError
        If the weights do not fit the architecture.
    UsageError
        If several prefixes fit.
    """
    module = build(outputs)
    tensors = _rename(module.state_dict(), weights)
    if not fixed:
        in_file = _outputs(module.state_dict(), tensors, outputs)
        module = module if in_file == outputs else build(in_file)
    try:
        module.load_state_dict(_update(module.state_dict(), tensors))
    except (RuntimeError, ValueError) as error:
        lines = [line.strip() for line in str(error).splitlines()[1:3]] or [str(error)]
        raise FileError(
            f"'{weights.path}' does not fit the architecture ({' '.join(lines)[:200]}), expected "
            "weights of the arch= and options given; change those"
        ) from error
    return module


def _rename(expected: Mapping[str, Tensor], weights: Weights) -> dict[str, Tensor]:
    """Return the tensors of a file under the names of the architecture, as far as they fit."""
    wanted = [name for name in expected if not name.endswith(COUNTERS)]
    choices = [
        {rename(name): name for name in tensors}
        for tensors in (weights.tensors, weights.effective.tensors)
        for rename in (str, _without_wrappers)
    ]
    for names in choices:
        prefixes = [p for p in _prefixes(names, wanted) if all(p + key in names for key in wanted)]
        if len(prefixes) > 1 and "" not in prefixes:
            options = ", ".join(prefix.rstrip(".") for prefix in prefixes)
            raise UsageError(
                f"'{weights.path}' holds weights of the architecture under {options}, expected one "
                f"of them; choose with weights={prefixes[0].rstrip('.')}"
            )
        if prefixes:
            prefix = "" if "" in prefixes else prefixes[0]
            others = tuple(p for p in prefixes if p != prefix)
            return _select(names, prefix, others, wanted, weights)
    names = choices[-1]
    best = max(
        ["", *_prefixes(names, wanted)], key=lambda p: sum(p + key in names for key in wanted)
    )
    return _select(names, best, (), wanted, weights)


def _prefixes(names: Mapping[str, str], wanted: list[str]) -> list[str]:
    """Return the prefixes of all names that end with the first wanted one."""
    prefixes = dict.fromkeys(
        name.removesuffix(key) for key in wanted[:1] for name in names if name.endswith(key)
    )
    return [prefix for prefix in prefixes if not prefix or prefix.endswith(".")]


def _select(
    names: Mapping[str, str],
    prefix: str,
    others: tuple[str, ...],
    wanted: list[str],
    weights: Weights,
) -> dict[str, Tensor]:
    """Return the tensors with a prefix, without it.

    Parameters
    ----------
    names : name without wrappers -> name in the file
    others : prefixes of other networks, whose tensors are left out
    wanted : names of the architecture; of these, tensors that cannot be computed are refused
    """
    selected = {}
    for name, original in names.items():
        if name.startswith(prefix) and not (others and name.startswith(others)):
            key = name.removeprefix(prefix)
            if key in wanted and original not in weights.tensors:
                weights.effective.check_known(original)
            tensor = weights.tensors.get(original, weights.effective.tensors.get(original))
            if tensor is not None:
                selected[key] = tensor
    return selected


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _outputs(expected: Mapping[str, Tensor], tensors: Mapping[str, Tensor], outputs: int) -> int:
    """Return the number of outputs in the file, or ``outputs`` if its tensors do not agree."""
    in_file = set()
    for name, tensor in tensors.items():
        if name not in expected or expected[name].ndim != tensor.ndim:
            continue
        pairs = zip(expected[name].shape, tensor.shape, strict=True)
        different = [(mine, its) for mine, its in pairs if mine != its]
        if len(different) == 1 and different[0][0] == outputs:
            in_file.add(different[0][1])
    return in_file.pop() if len(in_file) == 1 else outputs


def _update(state: dict[str, Tensor], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of the architecture with the tensors of a file.

    It is changed in place because it also carries the versions of the layers. Counters that only
    one of the two has are left unchanged. Other tensors that the file lacks are removed, so that
    torch names them in its error.
    """
    for name in list(state):
        if name not in tensors and not name.endswith(COUNTERS):
            del state[name]
    state.update({n: t for n, t in tensors.items() if n in state or not n.endswith(COUNTERS)})
    return state
