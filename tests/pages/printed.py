"""Tables that commands print: their cells as numbers."""

import re

CELL = re.compile(r"[│|]")


def rows(text):
    """Return the rows of all tables of a text, each as label -> numbers of its other cells."""
    lines = [line for line in text.splitlines() if line.startswith("│")]
    cells = [[cell.strip() for cell in CELL.split(line)[1:-1]] for line in lines]
    return [(row[0], [numbers(cell) for cell in row[1:]]) for row in cells]


def numbers(text):
    """Return the numbers of a cell: one, or a mean and its standard deviation."""
    return [float(number) for number in re.findall(r"-?\d+\.?\d*", text)]


def columns(text):
    """Return column -> numbers of the tables whose rows are runs."""
    titles = [line for line in text.splitlines() if line.startswith("┃ run")]
    if not titles:
        return {}
    names = [cell.strip() for cell in titles[0].split("┃")[2:-1]]
    runs = [row for label, row in rows(text) if " seed " in label]
    return {name: [run[i][0] for run in runs] for i, name in enumerate(names)}
