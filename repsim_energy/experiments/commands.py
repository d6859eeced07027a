"""Commands of ``repsim reproduce`` that make rows again."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Mapping, Sequence

from repsim_energy.experiments.report import Row
from repsim_energy.experiments.setting import OPTIONS, Setting

__all__ = ["commands_for", "options_of"]


def options_of(setting: Setting, uses: Collection[str]) -> dict[str, str]:
    """Return the options on which the numbers of an experiment depend.

    Parameters
    ----------
    uses : options of ``repsim reproduce`` that affect the experiment

    Returns
    -------
    dict
        Option -> its text, empty for the default of the scale.
    """
    scale = setting.scale
    texts = {
        option: setting.sources[source]
        for source, option in OPTIONS.items()
        if setting.sources.get(source) != scale.sources.get(source)
    }
    if list(setting.seeds) != list(range(scale.seeds)):
        texts["seeds"] = _numbers(setting.seeds)
    if setting.recipe != scale.recipe:
        texts["recipe"] = setting.recipe
    if tuple(setting.components) != scale.components:
        texts["components"] = _numbers(setting.components)
    if setting.device != "auto":
        texts["device"] = setting.device
    # Processes and clusters change no number.
    return {option: texts.get(option, "") for option in sorted({*uses} - {"scheduler", "jobs"})}


def _numbers(numbers: Sequence[int]) -> str:
    """Return numbers as ``--seeds`` and ``--components`` take them.

    Examples
    --------
    >>> _numbers([3]), _numbers([2, 3, 4]), _numbers([0, 7])
    ('3-3', '2-4', '0,7')
    """
    first, last = numbers[0], numbers[-1]
    if list(numbers) == list(range(first, last + 1)):
        return f"{first}-{last}"
    return ",".join(map(str, numbers))


def commands_for(rows: Mapping[str, Row], folder: str, every: Collection[str]) -> list[str]:
    """Return as few commands as make all rows again, each with the options of its rows.

    Rows without stored options, which an earlier version wrote, are left out.

    Parameters
    ----------
    folder : name of the folder for ``-o``
    every : names of all experiments, which are written ``all``
    """
    groups: list[tuple[str, dict[str, str], list[str]]] = []
    for name, row in rows.items():
        options = row.get("options")
        if options is None:
            continue
        for scale, common, names in groups:
            if scale == row["scale"] and all(
                common.get(option, text) == text for option, text in options.items()
            ):
                common.update(options)
                names.append(name)
                break
        else:
            groups.append((row["scale"], dict(options), [name]))
    return [
        shlex.join(
            [
                *("repsim", "reproduce"),
                *(["all"] if set(names) == set(every) else names),
                *("--scale", scale),
                *(part for key, text in options.items() if text for part in (f"--{key}", text)),
                *("-o", folder),
            ]
        )
        for scale, options, names in groups
    ]
