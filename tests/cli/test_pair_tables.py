"""Tables of pairs: a row each where there are few, in the width of the terminal."""

import io

import pytest
import xarray as xr
from rich.console import Console

import repsim_energy as rs
from repsim_energy.cli import tables
from repsim_energy.cli.result_text import print_result


@pytest.fixture
def shown(monkeypatch):
    """What a terminal of a width shows of a result, as lines."""

    def shown(result, width):
        out = io.StringIO()
        console = Console(
            file=out, width=width, highlight=False, force_terminal=True, color_system=None
        )
        monkeypatch.setattr(tables, "_console", lambda: console)
        print_result(result)
        return out.getvalue().splitlines()

    return shown


def with_models(count):
    """Return the example result with its networks repeated under other names."""
    models = [number % 2 for number in range(count)]
    names = [f"network{number}" for number in range(count)]
    result = rs.example_result().isel(model=models, model_ref=models)
    return result.assign_coords(model=names, model_ref=names)


def cells(line):
    return [cell.strip() for cell in line.strip("│").split("│")]


def test_few_pairs_have_a_row_each_with_the_numbers_of_the_summary(shown):
    result = rs.example_result()
    lines = shown(result, 80)
    head = next(line for line in lines if "similarity" in line)
    assert max(map(len, lines[: lines.index(head) + 6])) <= 80
    rows = [cells(line) for line in lines if line.startswith("│")][:3]
    summary, beyond = (rs.summarize(result, of) for of in ("similarity", "beyond_theory"))
    titles = [title.strip() for title in head.strip("┃").split("┃")]
    for row, (i, j) in zip(rows, [(0, 0), (0, 1), (1, 1)], strict=True):
        cell = dict(zip(titles, row, strict=True))
        assert row[:2] == [str(summary.group.values[k]) for k in (i, j)]
        assert cell["similarity"].startswith(f"{summary['mean'].values[i, j]:.3f}")
        assert cell["beyond theory"].startswith(f"{beyond['mean'].values[i, j]:.3f}")
        assert int(cell["n"]) == summary.n.values[i, j]


def test_many_pairs_are_a_matrix(shown):
    lines = shown(with_models(5), 160)
    assert not any("beyond theory" in line and "┃" in line for line in lines)
    assert "r beyond theory" in lines
    assert sum(line.startswith("│ network0 ") for line in lines) >= 2


def test_long_names_are_numbers_with_a_legend(shown):
    names = ["a" * 30, "b" * 30]
    lines = shown(rs.example_result().assign_coords(model=names, model_ref=names), 80)
    assert lines[lines.index(f"  1 {names[0]}") + 1] == f"  2 {names[1]}"
    assert max(map(len, lines[: lines.index(f"  1 {names[0]}")])) <= 80


def test_no_line_of_a_table_is_broken_in_a_narrow_terminal(shown):
    lines = shown(rs.example_result(), 30)
    assert "  1 vgg     0.97" in lines


def test_a_result_without_a_null_says_so(shown):
    result = rs.example_result()
    blank = {name: xr.full_like(result[name], float("nan")) for name in ("null_low", "null_high")}
    assert any("no null interval is known" in line for line in shown(result.assign(blank), 80))
