"""The tables of CelebA: attributes and splits of the images."""

from __future__ import annotations

from pathlib import Path

from repsim_energy import FileError, UnknownNameError, UsageError

__all__ = ["ATTRIBUTES", "PARTITION", "read_attribute", "read_partition"]

ATTRIBUTES = "list_attr_celeba.txt"
PARTITION = "list_eval_partition.txt"


def read_attribute(folder: Path, attribute: str) -> dict[str, int]:
    """Return image name -> 1 with the attribute, 0 without.

    The first line of the file has the number of images, the second one the attributes. Then follows
    a line per image: its name, and 1 or -1 for each attribute.

    Raises
    ------
    UsageError
        If the attribute does not exist.
    FileError
        If a line has another layout.
    """
    path = folder / ATTRIBUTES
    lines = _lines(path)
    if len(lines) < 2 or not lines[0].strip().isdigit():
        raise FileError(
            f"'{path}' begins with '{lines[0][:40] if lines else ''}', expected the number of "
            "images and, in the second line, the attributes; get the published file"
        )
    count, names, rows = int(lines[0]), lines[1].split(), lines[2:]
    if attribute not in names:
        raise UnknownNameError.among("attribute of CelebA", attribute, names)
    if len(rows) != count:
        raise FileError(
            f"'{path}' lists {len(rows)} images, expected {count} as its first line says; "
            "it is truncated, get it again"
        )
    column = 1 + names.index(attribute)
    table = {}
    for number, row in enumerate(rows, 3):
        fields = row.split()
        if len(fields) != 1 + len(names) or fields[column] not in ("-1", "1"):
            raise FileError(
                f"line {number} of '{path}' is '{row[:40]}', expected an image and "
                f"{len(names)} times 1 or -1; get the file again"
            )
        table[fields[0]] = int(fields[column] == "1")
    return table


def read_partition(folder: Path) -> dict[str, int]:
    """Return image name -> 0 for training, 1 for validation, 2 for test.

    Raises
    ------
    FileError
        If a line has another layout.
    """
    path = folder / PARTITION
    table = {}
    for number, row in enumerate(_lines(path), 1):
        fields = row.split()
        if len(fields) != 2 or fields[1] not in ("0", "1", "2"):
            raise FileError(
                f"line {number} of '{path}' is '{row[:40]}', expected an image and 0, 1 or 2; "
                "get the file again"
            )
        table[fields[0]] = int(fields[1])
    return table


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
            f"'{path}' cannot be read ({error}), expected text; get the file again"
        ) from error
