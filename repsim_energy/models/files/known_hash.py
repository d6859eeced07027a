"""SHA-256 that a user, a name or a link states of a file, compared with its content."""

from __future__ import annotations

import re
from pathlib import Path

from repsim_energy.errors import FileError, UsageError

__all__ = ["check_name", "check_sha256", "digits_in", "expect_digits"]

IN_NAME = re.compile(r"(?<!-[0-9a-f]{4})-(?P<digest>[0-9a-f]{8,64})(\.\w+)+\Z")
"""End of a name such as ``resnet18-f37072fd.pth``, as torch.hub, timm and others write it, where no
identifier of another kind (``1b4e28ba-2fa1-11d2-883f-0016d3cca427``) ends."""

WHOLE = re.compile("[0-9a-f]{64}")
"""Name of a file that is stored by its content, as in the caches of Hugging Face and Git LFS."""


def check_sha256(path: Path, found: str, expected: str) -> None:
    """Compare the SHA-256 of a file with what the user expects.

    Parameters
    ----------
    found : SHA-256 of the file
    expected : its first 8 or more hexadecimal digits; empty to accept any

    Raises
    ------
    UsageError
        If ``expected`` is no beginning of a SHA-256.
    FileError
        If the file has another.

    Examples
    --------
    >>> check_sha256(Path("w.pt"), "2c26b46b" + 56 * "0", "2c26b46b")
    """
    wanted = expected.strip().lower()
    if expected and not re.fullmatch("[0-9a-f]{8,64}", wanted):
        raise UsageError(
            f"got sha256={expected}, expected 8 to 64 digits 0-9 and a-f, the beginning of the "
            f"SHA-256; that of '{path}' is {found}"
        )
    expect_digits(path, found, wanted, "download or save it again, or correct sha256=")


def check_name(path: Path, found: str) -> None:
    """Compare the SHA-256 of a file with that in its name, or in the name that a link points to.

    Eight or more digits in a name count unless all are decimal, which may be a date.

    Parameters
    ----------
    found : SHA-256 of the file

    Raises
    ------
    FileError
        If it is another.
    """
    target = path.resolve().name
    stated = target if WHOLE.fullmatch(target) else digits_in(path.name)
    if not stated.isdecimal():
        remedy = f"download it again, or give sha256={found[:16]} if the name means something else"
        expect_digits(path, found, stated, remedy, " as in its name")


def digits_in(name: str) -> str:
    """Return the first digits of a SHA-256 at the end of a name, empty if there are none.

    Examples
    --------
    >>> digits_in("resnet18-f37072fd.pth"), digits_in("weights.pth")
    ('f37072fd', '')
    """
    found = IN_NAME.search(name)
    return found["digest"] if found else ""


def expect_digits(path: Path, found: str, stated: str, remedy: str, where: str = "") -> None:
    """Refuse a file whose SHA-256 does not begin with the stated digits.

    Parameters
    ----------
    found : SHA-256 of the file
    stated : the digits, none to accept any
    remedy : advice at the end of the error
    where : where they are stated, such as " as in its name"
    """
    if not found.startswith(stated):
        raise FileError(
            f"'{path}' has the SHA-256 {found}, expected {stated}{where}: damaged or another file; "
            f"{remedy}"
        )
