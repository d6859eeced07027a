"""Short labels for networks from files: as much of path and options as distinguishes them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from repsim_energy.models.files.file_names import without_ending
from repsim_energy.options import path_of
from repsim_energy.specs import parse_spec, write_spec

__all__ = ["is_checkpoint", "short_labels"]


def is_checkpoint(spec: str) -> bool:
    """Return whether a spec names a file of weights or of features."""
    if not spec.startswith(("checkpoint:", "features:")):
        return False
    return "path" in parse_spec(spec).options


def short_labels(specs: Sequence[str], taken: Collection[str] = ()) -> list[str]:
    """Return a label for each checkpoint: the name of the file without its ending.

    Where that is not enough, folders before it, the ending, or options that differ are added.
    Equal specs get equal labels.

    Parameters
    ----------
    specs : of checkpoints, such as ``checkpoint:path=a.pt``
    taken : labels of other models

    Examples
    --------
    >>> short_labels([f"checkpoint:path=runs/{name}.pt" for name in ("a/best", "b/best", "last")])
    ['a/best', 'b/best', 'last']
    >>> short_labels(["checkpoint:path=a.pt", "checkpoint:path=a.pt:weights=model_ema"])
    ['a', 'a:weights=model_ema']
    """
    options = [dict(parse_spec(spec).options) for spec in specs]
    typed = [option.pop("path") for option in options]
    places = [os.path.abspath(path_of(path)) for path in typed]
    names = _names({place: Path(path) for place, path in zip(places, typed, strict=True)}, taken)
    labels = []
    for place, option in zip(places, options, strict=True):
        others = [o for p, o in zip(places, options, strict=True) if p == place]
        differ = {k: v for k, v in option.items() if any(o.get(k) != v for o in others)}
        labels.append(write_spec(names[place], **differ))
    return labels


def _names(paths: Mapping[str, Path], taken: Collection[str]) -> dict[str, str]:
    """Return place -> a name of each file that no other model has."""
    alike: dict[str, list[str]] = {}
    for place, path in paths.items():
        alike.setdefault(_stem(path.name), []).append(place)
    names: dict[str, str] = {}
    used = {*taken, *(stem for stem, places in alike.items() if len(places) == 1)}
    for stem, places in alike.items():
        if len(places) == 1 and stem not in taken:
            names[places[0]] = stem
            continue
        for found in zip(*(_longer(paths[place]) for place in places), strict=False):
            if len(set(found)) == len(found) and not used & set(found):
                break
        names |= zip(places, found, strict=True)
        used |= set(found)
    return names


def _stem(name: str) -> str:
    """Return the name of a file of weights or features without its ending."""
    return without_ending(re.sub(r"(?<=.)\.(npz|nc)\Z", "", name))


def _longer(path: Path) -> Iterator[str]:
    """Yield names of a file of growing length, up to the whole path."""
    for count in range(1, 100):
        end = Path(*path.parts[-count:])
        yield end.with_name(_stem(path.name)).as_posix()
        yield end.as_posix()
