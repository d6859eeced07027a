"""The errors of repsim-energy. Every message says what it got, what it expected and what to do."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

__all__ = [
    "DataError",
    "FileError",
    "FlatProfileWarning",
    "InitializationWarning",
    "PluginError",
    "PluginWarning",
    "RepsimError",
    "RepsimWarning",
    "ShapeError",
    "TrainingError",
    "UndefinedSimilarityWarning",
    "UndescribedOptionWarning",
    "UsageError",
    "first_few",
    "reason_of",
    "unknown_name",
    "visible",
]

MOST = 50
"""Known names that an error lists."""


class RepsimError(Exception):
    """Something failed; the command ends with :attr:`exit_code` and this message in one line."""

    exit_code = 1


class UsageError(RepsimError):
    """A name, key, option or argument that cannot be used as given."""

    exit_code = 2


class ShapeError(UsageError):
    """Arrays whose shapes do not fit together."""


class DataError(UsageError):
    """Images or features without a defined answer: empty, constant, not finite, too few."""


class FileError(RepsimError):
    """A file that is missing its content, corrupt, foreign or not to be trusted."""

    exit_code = 4


class TrainingError(RepsimError):
    """A training that could not be brought to its end."""


class PluginError(RepsimError):
    """A plugin that cannot be loaded or does not keep to its hook."""


class RepsimWarning(UserWarning):
    """The root of all warnings of this package."""


class UndefinedSimilarityWarning(RepsimWarning):
    """A similarity is undefined and returned as NaN."""


class FlatProfileWarning(UndefinedSimilarityWarning):
    """A constant profile has no Pearson correlation."""


class InitializationWarning(RepsimWarning):
    """A network that is compared after training has hardly left its initialization."""


class UndescribedOptionWarning(RepsimWarning):
    """The docstring of something that a plugin offers does not describe an option."""


class PluginWarning(RepsimWarning):
    """A plugin was left out, wholly or in part."""


def reason_of(error: BaseException) -> str:
    """Return what went wrong, in one short line; of an error that is not ours with its type.

    Examples
    --------
    >>> reason_of(UsageError("got 3")), reason_of(KeyError("x")), reason_of(AssertionError())
    ('got 3', "KeyError: 'x'", 'AssertionError')
    """
    text = " ".join(str(error).split())
    if isinstance(error, RepsimError) and text:
        return text
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__


def first_few(names: Sequence[str], most: int) -> str:
    """Return names with commas between them, and how many more there are.

    Examples
    --------
    >>> first_few(["a", "b", "c"], 2), first_few(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def unknown_name(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """Return the error for a name that nobody offers, with the closest known one.

    Examples
    --------
    >>> print(unknown_name("metric", "enegry", ["cka", "energy"]))
    unknown metric 'enegry'; did you mean 'energy'? known: cka, energy
    """
    names = sorted(known)
    shown = first_few(names, MOST)
    folded = {known.casefold(): known for known in names}
    close = difflib.get_close_matches(name.casefold(), folded, n=1)
    hint = f" did you mean '{folded[close[0]]}'?" if close else ""
    return UsageError(f"unknown {kind} '{name}';{hint} known: {shown or 'none'}")


def visible(text: str) -> str:
    r"""Return a text in which every character can be seen, printed and stored.

    File names are bytes: those that are not UTF-8, and control characters, are written with a
    backslash.

    Examples
    --------
    >>> print(visible("caf\udce9.pt"), visible("two\nlines"), visible("naïve"))
    caf\xe9.pt two\nlines naïve
    """
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python writes a byte that is not UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character if character.isprintable() else character.encode("unicode_escape").decode()
