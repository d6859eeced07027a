"""What people call their files is shown and stored as it is, on every terminal."""

import io
import os
import re
import sys

import numpy as np
import pytest
import torch
from commands import repsim_process
from rich.console import Console

import repsim_energy as rs
from repsim_energy.cli import tables
from repsim_energy.cli.progress import reporter_on_stderr
from repsim_energy.cli.result_text import print_result
from repsim_energy.errors import visible
from repsim_energy.progress import Progress

ODD = ["[exp1]", "x[/b]", "[red]", "[link=a]", r"\[a]", ":smile:", "{task}", "a b"]


def bank(seed):
    return torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))


def compared(labels, images):
    return rs.compare({label: bank(n) for n, label in enumerate(labels)}, images, stage="trained")


def shown(result, monkeypatch, width, encoding="utf-8"):
    """What a terminal of this width is sent."""
    sent = io.BytesIO()
    stream = io.TextIOWrapper(sent, encoding=encoding, errors="repsim_plain", write_through=True)
    console = Console(
        file=stream, width=width, highlight=False, force_terminal=True, color_system=None
    )
    monkeypatch.setattr(tables, "_console", lambda: console)
    print_result(result)
    return sent.getvalue().decode(encoding)


def test_brackets_are_no_markup(pictures, monkeypatch):
    text = shown(compared(ODD, pictures), monkeypatch, 400)
    rows = [line.split("│")[1].strip() for line in text.splitlines() if "│" in line]
    assert rows == [*ODD, *(f"{label} (given)" for label in ODD)]


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_names_as_they_are(monkeypatch, terminal):
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with reporter_on_stderr(False) as reporter:
        for step in (1, 2):
            reporter.progress(Progress("x[/b] \udce9", 1, 1, step, 2))
    assert r"x[/b] \xe9" in stream.getvalue()


def test_names_that_are_not_utf8_are_stored_escaped(pictures, tmp_path, monkeypatch):
    result = compared([os.fsdecode(b"caf\xe9.pt"), "naïve"], pictures)
    assert result.model.values.tolist() == [r"caf\xe9.pt", "naïve"]
    "".join(result.first_layer.values).encode()
    rs.save_result(result, tmp_path / "r.nc")
    assert rs.open_result(tmp_path / "r.nc").identical(result)
    text = shown(result, monkeypatch, 100)
    assert r"caf\xe9.pt (given)" in text
    assert "naïve (given)" in text


@pytest.mark.skipif(os.name != "posix", reason="names are bytes on POSIX alone")
@pytest.mark.process
def test_a_command_line_that_is_not_utf8_ends_with_a_result(tmp_path, pictures_npz):
    name = tmp_path / os.fsdecode(b"caf\xe9[x].pt")
    torch.save({"c.weight": bank(0)}, tmp_path / "m.pt")
    try:
        (tmp_path / "m.pt").rename(name)
    except OSError:
        pytest.skip("this file system takes UTF-8 alone")
    args = ["--models", f"checkpoint:path={name}", "--dataset", f"npz:path={pictures_npz}"]
    done = repsim_process("compare", *args, "-o", str(tmp_path / "r.nc"))
    assert done.returncode == 0, done.stderr
    assert r"caf\xe9[x] (given)" in done.stdout
    result = rs.open_result(tmp_path / "r.nc")
    assert result.model.values.tolist() == [r"caf\xe9[x]"]
    assert result.model_spec.values.tolist() == [visible(f"checkpoint:path={name}")]
    done = repsim_process("compare", args[0], f"{args[1]}:arch=[/x]", *args[2:])
    assert done.returncode == 2
    assert "[/x]" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("width", [40, 80, 120, 200])
@pytest.mark.parametrize("count", [2, 7, 12])
def test_every_network_is_named_whole_at_any_width(pictures, monkeypatch, width, count):
    """Rows and columns are told apart, each line fits, and no letter of a name is left out."""
    labels = [f"checkpoint:path=runs/seed_{n}/best.pt" for n in range(count)]
    text = shown(compared(labels, pictures), monkeypatch, width)
    title, *lines = text.splitlines()
    assert "…" not in text
    numbered = [line for line in lines if re.match(r" +\d+ checkpoint", line)]
    fits = count * 43 <= width or (width == 200 and count == 2)
    assert len(numbered) == (0 if fits else count)
    letters = re.sub(r"[\s│]", "", text)
    assert all(label in letters for label in labels)
    if width >= 4 + 6 * count:
        matrix = lines[: len(lines) - 2]
        assert all(len(line) <= max(width, len(labels[0]) + 5) for line in matrix[: count + 4])


def test_numbers_of_a_numbered_table_are_those_of_the_result(pictures, monkeypatch):
    labels = [f"checkpoint:path=runs/seed_{n}/best.pt" for n in range(7)]
    result = compared(labels, pictures)
    text = shown(result, monkeypatch, 80)
    rows = [line.split("│")[1:-1] for line in text.splitlines() if re.match(r"│ \d ", line)]
    found = np.array(
        [[cell.strip().replace("-", "nan", cell.strip() == "-") for cell in row] for row in rows]
    ).astype(float)[:, 1:]
    expected = result.similarity[0, :, 0, 0, :, 0].values.copy()
    np.fill_diagonal(expected, np.nan)
    np.testing.assert_allclose(found, expected, atol=5.1e-4)


@pytest.mark.process
def test_output_that_is_ascii_holds_everything(tmp_path, pictures_npz):
    torch.save({"c.weight": bank(0)}, tmp_path / "naïve.pt")
    args = [
        "compare",
        "--models",
        f"checkpoint:path={tmp_path / 'naïve.pt'},linear_cnn:filters=8",
        "--dataset",
        f"npz:path={pictures_npz}",
        "--recipe",
        "quick:steps=2",
        "-j",
        "1",
        "--stage",
        "trained",
    ]
    for env in (
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    ):
        done = repsim_process(*args, **env)
        assert done.returncode == 0, done.stderr
        assert "mean +- sd over n pairs" in done.stdout
        assert r"na\xefve (given)" in done.stdout or r"na\xc3\xafve (given)" in done.stdout
        assert (done.stdout + done.stderr).isascii()
        assert repsim_process("compare", "--help", **env).stdout.isascii()
