"""Every code block of the pages runs, in its order, or stands in a table with the reason.

``tables.py`` lists what is parsed only, or not run at all. ``small_world.py`` makes networks,
images and trainings small, so that commands run as they are written.
"""

import ast
import contextlib
import doctest
import os
import re
import runpy
import shlex
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import click
import pytest
from blocks import BLOCKS, COMMANDS, ROOT, Block, blocks_of, commands_of
from small_world import install, make_small, prepare
from tables import (
    FOREIGN,
    NOT_RUN,
    PARSED,
    PRINTED,
    REAL_IMAGES,
    SHORTER,
    TEXTS,
    beginning,
    entry,
)

from repsim_energy.cli.app import repsim as click_group


def parse(words):
    """Parse a command of ``repsim`` with click, without running it."""
    with click_group.make_context("repsim", [*words]) as context:
        command, args = click_group, [*context._protected_args, *context.args]
        while args and hasattr(command, "get_command"):
            name, command, args = command.resolve_command(context, args)
            context = command.make_context(name, args, parent=context)
            args = [*context._protected_args, *context.args]


def imported(source):
    """Return the modules that a source imports, and the packages that they are in."""
    nodes = [*ast.walk(ast.parse(source))]
    names = [a.name for n in nodes if isinstance(n, ast.Import) for a in n.names]
    names += [n.module for n in nodes if isinstance(n, ast.ImportFrom)]
    return {*names, *(name.split(".")[0] for name in names)}


def verdict(thing):
    """Return ``run``, or ``parsed`` or ``not run`` with the reason, of a command or a block."""
    if not isinstance(thing, Block):
        if pattern := entry(NOT_RUN, thing.typed):
            return f"not run: {NOT_RUN[pattern]}"
        if pattern := entry(PARSED, thing.typed):
            return f"parsed: {PARSED[pattern]}"
        return "run"
    if thing.kind == "python" and (foreign := imported(thing.text) & {*FOREIGN}):
        return f"parsed: needs {', '.join(sorted(foreign))}"
    if thing.kind == "python" and REAL_IMAGES in thing.text and REAL_IMAGES not in os.environ:
        return "parsed: needs real images"
    if thing.kind == "text" and not beginning(PRINTED, thing.text):
        return f"text: {TEXTS[beginning(TEXTS, thing.text)]}"
    return {"text": "compared", "file": "written"}.get(thing.kind, "run")


def things_of(page):
    """Return the commands and the other blocks of a page in their order."""
    for block in BLOCKS[page]:
        yield from commands_of(block) if block.kind == "shell" else [block]


def masked(text):
    """Return printed text without its numbers, hashes, and the widths of columns."""
    text = re.sub(r"\b[0-9a-f]{16}\b", "#", text)
    text = re.sub(r"(?<![\w.:=/])[-−]?\d+(\.\d+)?(?![\w./]|\.\d)", "#", text)
    text = re.sub(r"([━─])\1*", r"\1", text)
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


class Reader:
    """Somebody who copies the blocks of a page one after another."""

    def __init__(self, page, monkeypatch, repsim, capsys):
        self.monkeypatch, self.repsim, self.capsys = monkeypatch, repsim, capsys
        self.names = {"__name__": "page", **prepare(page, monkeypatch)}
        self.printed, self.folder = "", Path.cwd()

    def read(self, thing):
        """Do what the tables say with a command or a block."""
        said = verdict(thing)
        if said.startswith(("not run", "text")):
            return
        if not isinstance(thing, Block):
            words = [SHORTER.get(word, word) for word in thing.words[1:]]
            (parse if said.startswith("parsed") else partial(self.command, thing))(words)
        elif thing.kind == "file":
            Path(thing.file).write_text(thing.text)
        elif thing.kind == "text":
            assert_printed(thing.text, self.printed)
        elif not self.wrote(thing.text):
            code = compile("\n" * (thing.line - 1) + thing.text, thing.page, "exec")
            if said == "run":
                self.python(thing, code)

    def wrote(self, text):
        """Whether a command of the page wrote a file with this text."""
        files = (path for path in self.folder.rglob("*.py") if "site" not in path.parts)
        return any(path.read_text() == text for path in files)

    def python(self, block, code):
        exec(code, self.names)  # noqa: S102 (the page is ours)
        self.printed = self.capsys.readouterr().out
        for name, number in re.findall(r"^(\w+) = .*  # ([\d.]+)$", block.text, re.MULTILINE):
            assert f"{self.names[name]:.{len(number.partition('.')[2])}f}" == number, name
        for expected in re.findall(r"^print\(.*\)  # ([\d(.].*)$", block.text, re.MULTILINE):
            alike = (
                re.escape(expected).replace(re.escape("..."), r"\d*").replace(r",\ \(", r",?\ \(")
            )
            assert re.search(f"^{alike}$", self.printed, re.MULTILINE), self.printed

    def command(self, command, words):
        """Run a command here, and compare what it prints."""
        for variable in (*command.variables, *(words if command.program == "export" else ())):
            name, _, value = variable.partition("=")
            self.monkeypatch.setenv(name, SHORTER.get(value, value))
        act = getattr(self, command.program.removesuffix("3"), None)
        if act is not None and command.program not in ("repsim", "python"):
            act(*words)
        elif command.program == "python":
            self.script(*words)
        elif command.program == "repsim":
            self.call(command, words)
        else:
            assert command.program == "export", command

    def cd(self, folder):
        os.chdir(folder)

    def pip(self, *words):
        """Install a distribution of the repository; the package itself is there already."""
        folder = Path(re.sub(r"\[.*", "", words[-1]))
        if words[-1].startswith("./"):
            install(ROOT / folder, self.monkeypatch)
        elif Path("pyproject.toml").exists():
            install(Path(), self.monkeypatch)

    def script(self, name, *args):
        self.monkeypatch.setattr(sys, "argv", [name, *args])
        runpy.run_path(name, run_name="__main__")
        self.printed = self.capsys.readouterr().out

    def call(self, command, words):
        done = self.repsim(*words)
        self.printed += done.stdout
        if command.output:
            Path(command.output).write_text(done.stdout)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        if command.printed.startswith("error: "):
            assert done.returncode in (2, 4)
            expected = " ".join(command.printed.split())
            assert len(errors) == 1
            same = doctest.OutputChecker().check_output(expected, errors[0], doctest.ELLIPSIS)
            assert same, f"{command.block.place}: {errors[0]}"
        else:
            assert done.returncode == 0, f"{command.block.place}: {command.typed}\n{done.stderr}"
            assert_printed(command.printed, done.stdout)


def assert_printed(page, printed):
    """Compare lines of a page with what was printed, all but numbers; ``...`` leaves lines out."""
    expected, lines = masked(page), masked(printed)
    precision = "trained in bfloat16"  # is printed where the processor multiplies it
    expected = [line for line in expected if line != precision or precision in lines]
    pieces = "\n".join(expected).split("\n...\n")
    missing = [piece for piece in pieces if piece and piece not in "\n".join(lines)]
    assert not missing, f"the page has\n{missing[0]}\nthe command prints\n" + "\n".join(lines)


@pytest.mark.parametrize("page", ["│ b │ 0.1 │", "│ a │ 0.1 ± 0.2 │", "│ a │ 0.1 │\n...\nstop"])
def test_other_labels_columns_and_lines_are_noticed(page):
    printed = "┃ model ┃  r ┃\n│ a     │ -0.25 │\nmore 1\nend 12"
    assert_printed("│ a │ 0.1 │\n...\nend 3", printed)
    with pytest.raises(AssertionError):
        assert_printed(page, printed)


@pytest.fixture
def reader(monkeypatch, tmp_path, repsim, capsys):
    """A function that makes somebody who reads a page, in an empty folder with an empty cache."""
    modules, folder = {*sys.modules}, Path.cwd()
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "page").mkdir()
    monkeypatch.chdir(tmp_path / "page")
    make_small(monkeypatch)
    yield lambda page: Reader(page, monkeypatch, repsim, capsys)
    os.chdir(folder)
    for name in {*sys.modules} - modules:
        if (
            name.partition(".")[0].startswith(("repsim_", "mymetric"))
            and "repsim_energy" not in name
        ):
            del sys.modules[name]


@pytest.mark.parametrize("page", BLOCKS)
def test_the_blocks_of_a_page_run(page, reader):
    somebody = reader(page)
    for thing in things_of(page):
        somebody.read(thing)


def test_no_block_is_left_out():
    counts = Counter()
    for page in BLOCKS:
        said = [verdict(thing).partition(":")[0] for thing in things_of(page)]
        print(f"{page}: {dict(Counter(said))}")
        counts.update(said)
    assert counts["run"] > counts["parsed"] + counts["not run"]


def test_the_tables_name_only_what_is_on_a_page():
    texts = [b.text for blocks in BLOCKS.values() for b in blocks if b.kind == "text"]
    sources = [b.text for blocks in BLOCKS.values() for b in blocks if b.kind == "python"]
    words = [part for c in COMMANDS for word in c.words for part in (word, word.partition("=")[2])]
    words += [v.partition("=")[2] for c in COMMANDS for v in c.variables]
    used = {entry(table, c.typed) for table in (NOT_RUN, PARSED) for c in COMMANDS}
    used |= {beginning(table, text) for table in (PRINTED, TEXTS) for text in texts}
    used |= {name for source in sources for name in imported(source)} | {*words}
    everything = {*NOT_RUN, *PARSED, *FOREIGN, *SHORTER, *PRINTED, *TEXTS}
    away = [d for d in ("plugins", "datasets") if not (ROOT / d).exists()]  # core stands by itself
    assert away or everything <= used, everything - used


PAGE = """a

    $ repsim models
    b

    $ A=1 repsim show x.nc > y \\
        --csv

`f.py`:

```python
x
```

```toml
y
```

    no command
"""


def test_blocks_are_found():
    shell, file, toml, text = blocks_of("p", PAGE)
    assert [b.kind for b in (shell, file, toml, text)] == ["shell", "file", "text", "text"]
    first, second = commands_of(shell)
    assert (first.words, first.printed) == (("repsim", "models"), "b\n\n")
    assert (second.variables, second.output) == (("A=1",), "y")
    assert second.words == ("repsim", "show", "x.nc", "--csv")
    assert (file.file, file.text, file.line) == ("f.py", "x\n", 12)


@pytest.mark.parametrize("words", [["compare", "--modles", "a"], ["plugins", "chekc"], ["sho"]])
def test_commands_that_do_not_exist_are_not_parsed(words):
    with pytest.raises(Exception, match="No such"):
        parse(words)


def test_the_page_on_errors_has_some():
    page = "docs/how-to/troubleshoot.md"
    errors = [c for c in COMMANDS if c.block.page == page and c.printed.startswith("error: ")]
    assert len(errors) == (ROOT / page).read_text().count("error: ") > 8


EXAMPLES = {"COMMAND": "models", "KIND": "model"}
"""Placeholder of a sentence -> a word that may stand there."""


def commands_in_sentences(page):
    """Return the commands of ``repsim`` between backquotes, optional parts included."""
    text = re.sub(
        r"^(```.*?^```|    .*?)$", "", (ROOT / page).read_text("utf-8"), flags=re.M | re.S
    )
    found = re.findall(r"`repsim ([^`>]+)[^`]*`", re.sub(r"(?<!\n)\n(?!\n)", " ", text))
    for command in found:
        alone = command.split(r" \| ")[0]  # without the commands that receive its output
        first = re.sub(r"\\\|[^\s\]]*", "", alone)  # the first of several, as a table writes them
        words = shlex.split(re.sub(r"[][]|\.\.\.", "", first))
        yield [EXAMPLES.get(word, word) for word in words]


@pytest.mark.parametrize("page", [page for page in BLOCKS if [*commands_in_sentences(page)]])
def test_commands_in_sentences_exist(page):
    """A sentence may name a command without what it needs."""
    for words in commands_in_sentences(page):
        with contextlib.suppress(click.MissingParameter, click.exceptions.Exit):
            parse(words)
