"""The text files that come with CelebA: who has which attribute, and who is in which split."""

from __future__ import annotations

from pathlib import Path

from repsim_energy import FileError, UnknownNameError, UsageError

__all__ = ["ATTRIBUTES", "PARTITION", "read_attribute", "read_partition"]

ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"


def read_attribute(folder: Path, attribute: str) -> dict[str, int]:
    """Return picture -> 1 where it has the attribute, else 0.

    The file has the number of pictures in its first line and the attributes in its second; then
    follows a line for each picture, its name and 1 or -1 for each attribute.

    Raises
    ------
    UsageError
        For an attribute that there is not.
    FileError
        For a file of another layout, by its line.
    """
    path = folder / ATTRIBUTES
    lines = _lines(path)
    if len(lines) < 2 or not lines[0].strip().isdigit():
        raise FileError(
            f"'{path}' begins with '{lines[0][:40] if lines else ''}', expected the number of "
            "pictures and, in the second line, the attributes; take the file as it was published"
        )
    count, names, rows = int(lines[0]), lines[1].split(), lines[2:]
    if attribute not in names:
        raise UnknownNameError.among("attribute of CelebA", attribute, names)
    if len(rows) != count:
        raise FileError(
            f"'{path}' lists {len(rows)} pictures but says {count} in its first line; "
            "it was cut off, take it anew"
        )
    column = 1 + names.index(attribute)
    found = {}
    for number, row in enumerate(rows, 3):
        fields = row.split()
        if len(fields) != 1 + len(names) or fields[column] not in ("-1", "1"):
            raise FileError(
                f"line {number} of '{path}' is '{row[:40]}', expected a picture and "
                f"{len(names)} times 1 or -1; take the file anew"
            )
        found[fields[0]] = int(fields[column] == "1")
    return found


def read_partition(folder: Path) -> dict[str, int]:
    """Return picture -> 0 for training, 1 for validation, 2 for test.

    Raises
    ------
    FileError
        For a file of another layout, by its line.
    """
    path = folder / PARTITION
    found = {}
    for number, row in enumerate(_lines(path), 1):
        fields = row.split()
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise FileError(
                f"line {number} of '{path}' is '{row[:40]}', expected a picture and 0, 1 or 2; "
                "take the file anew"
            )
        found[fields[0]] = int(fields[1])
    return found


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").rstrip().splitlines()
    except FileNotFoundError as error:
        raise UsageError(
            f"no '{path.name}' in '{path.parent}', expected it beside img_align_celeba; "
            "it comes with CelebA's annotations"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise FileError(
            f"'{path}' cannot be read ({error}), expected text; take the file anew"
        ) from error
