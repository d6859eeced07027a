"""Errors and warnings. Every message gives the value found, the value expected and a remedy."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

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
    "SingularCovarianceWarning",
    "TrainingError",
    "UndefinedSimilarityWarning",
    "UndescribedOptionWarning",
    "UnknownNameError",
    "UsageError",
    "first_few",
    "not_installed",
    "one_line_errors",
    "reason_of",
    "unknown_name",
    "visible",
    "warn",
]

MAX_LISTED_NAMES = 50
"""Known names that an error lists."""

PACKAGE = __name__.partition(".")[0]
"""Name of this package."""

BETWEEN = sys.stdlib_module_names | {
    *("PIL", "click", "cloudpickle", "dask", "distributed", "filelock", "lazy_loader", "loky"),
    *("netCDF4", "numpy", "pandas", "platformdirs", "pluggy", "psutil", "rich", "rich_click"),
    *("safetensors", "scipy", "torch", "torchvision", "xarray"),
}
"""Libraries that call this package for the user, so that no warning is of their lines."""


class RepsimError(Exception):
    """Base class of all errors, whose message is one line: got, expected, remedy.

    A command that ends with one prints it and returns :attr:`exit_code`.
    """

    exit_code = 1

    def __str__(self) -> str:
        """Return the message, in one line whatever the names in it contain."""
        return visible(super().__str__())


class UsageError(RepsimError):
    """Invalid name, key, option or argument."""

    exit_code = 2


class UnknownNameError(UsageError):
    """Unknown name, such as of a metric, a model or an option."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> UnknownNameError:
        """Return the error for a name that is not known, with the closest known name.

        Parameters
        ----------
        kind : such as ``metric``
        name : unknown name
        known : known names, of which at most 50 are listed

        Examples
        --------
        >>> print(UnknownNameError.among("metric", "enegry", ["cka", "energy"]))
        unknown metric 'enegry'; did you mean 'energy'? known: cka, energy
        """
        names = sorted(known)
        listed = first_few(names, MAX_LISTED_NAMES)
        folded = {name.casefold(): name for name in names}
        close = difflib.get_close_matches(name.casefold(), folded, n=1)
        hint = f" did you mean '{folded[close[0]]}'?" if close else ""
        return cls(f"unknown {kind} '{name}';{hint} known: {listed or 'none'}")


class ShapeError(UsageError):
    """Arrays of incompatible shapes."""


class DataError(UsageError):
    """Images or features that are empty, constant, not finite or too few for a defined result."""


class FileError(RepsimError):
    """File that is incomplete, corrupt, of another format or untrusted."""

    exit_code = 4


class TrainingError(RepsimError):
    """Training that failed.

    Parameters
    ----------
    message : got, expected, remedy
    step : the gradient step in which it failed, ``None`` where that is not known
    """

    def __init__(self, message: str, step: int | None = None) -> None:
        super().__init__(message)
        self.step = step


class PluginError(RepsimError):
    """Plugin that cannot be loaded, fails, or violates the rules of its hook."""


class RepsimWarning(UserWarning):
    """Base class of all warnings of this package."""


class UndefinedSimilarityWarning(RepsimWarning):
    """Similarity that is undefined and returned as NaN."""


class FlatProfileWarning(UndefinedSimilarityWarning):
    """Constant profile, which has no Pearson correlation."""


class SingularCovarianceWarning(UndefinedSimilarityWarning):
    """Covariance of filters without an inverse, whose misalignment is undefined."""


class InitializationWarning(RepsimWarning):
    """First layer that training has hardly changed."""


class UndescribedOptionWarning(RepsimWarning):
    """Option of a plugin's component that its docstring does not describe."""


class PluginWarning(RepsimWarning):
    """Plugin that was left out, wholly or in part, or that changed the process around it."""


def warn(message: str, category: type[Warning] = RepsimWarning) -> None:
    """Warn of the call of this package that the user made.

    The place of the warning is the line that called this package first, also through decorators,
    plugins and other libraries: a metric that finds something is about the line with ``compare``.
    Where no line called it, such as in another thread, it is the line with ``warn``. Filters see
    this place; by default, Python shows the same text once for each line.

    Parameters
    ----------
    message : what was found, and what follows from it
    category : the class of the warning

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     warn("the profile is constant; its similarity is NaN", FlatProfileWarning)
    >>> caught[0].category.__name__
    'FlatProfileWarning'
    """
    import inspect  # here, because most programs have nothing to warn of

    here = inspect.currentframe()
    assert here is not None  # CPython, as for torch
    assert here.f_back is not None
    place = _user(here.f_back) or here.f_back
    names = place.f_globals
    warnings.warn_explicit(
        message,
        category,
        place.f_code.co_filename,
        place.f_lineno,
        names.get("__name__") or "<string>",
        names.setdefault("__warningregistry__", {}),
    )


def _user(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame outside of the outermost one of this package."""
    user = None
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package == PACKAGE:
            user = None
        elif user is None and package not in BETWEEN:
            user = frame
        frame = frame.f_back
    return user


@contextmanager
def one_line_errors(path: Path, form: str, remedy: str) -> Iterator[None]:
    """Raise one line for whatever fails in reading a file; errors of this package pass through.

    Damage comes out as any error of the libraries that read.

    Parameters
    ----------
    form : the format that the file is read in
    remedy : advice at the end of the line

    Raises
    ------
    FileError
        For every other exception.
    """
    try:
        yield
    except RepsimError:
        raise
    except Exception as error:
        raise FileError(
            f"'{path}' cannot be read as {form} ({reason_of(error)}); {remedy}"
        ) from error


def reason_of(error: BaseException) -> str:
    """Return the message of an error in one short line, with the type if it is not ours.

    Examples
    --------
    >>> reason_of(UsageError("got 3")), reason_of(KeyError("x")), reason_of(AssertionError())
    ('got 3', "KeyError: 'x'", 'AssertionError')
    """
    try:
        text = " ".join(str(error).split())
    except Exception:  # of a plugin
        text = ""
    if isinstance(error, RepsimError) and text:
        return text
    return visible(f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__)


def not_installed(need: str, extra: str) -> UsageError:
    """Return the error for a missing package.

    Parameters
    ----------
    need : what needs which package, such as ``figures need matplotlib``
    extra : of repsim-energy, which installs it
    """
    return UsageError(f"{need}, which is not installed; pip install 'repsim-energy[{extra}]'")


def first_few(names: Sequence[str], most: int) -> str:
    """Return the first names, separated by commas, and the number of the others.

    Examples
    --------
    >>> first_few(["a", "b", "c"], 2), first_few(["a", "b"], 2)
    ('a, b and 1 more', 'a, b')
    """
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


unknown_name = UnknownNameError.among
"""The error for an unknown name."""


def visible(text: str) -> str:
    r"""Return a text whose characters can all be printed and stored.

    Control characters, and bytes of file names that are not UTF-8, become backslash escapes.

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
