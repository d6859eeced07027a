"""The code blocks of the pages: shell commands with what they print, Python, files, other text."""

import re
import shlex
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in (
        *("README.md", "CONTRIBUTING.md", "docs/index.md", "docs/tutorial/**/*.md"),
        *("docs/how-to/**/*.md", "docs/explanation/*.md", "[pd]*/*/README.md"),
        *(f"docs/reference/{name}.md" for name in ("commands", "python", "result-schema")),
    )
    for path in ROOT.glob(pattern)
)
"""The pages whose blocks people copy. Plugins and data sets are not part of every copy."""

PROGRAMS = {"repsim", "python", "python3", "pip", "cd", "export", "rm", "pre-commit"}
"""The first word of a line that is a command, without its folder."""

ERROR = "repsim has no RepresentationMetricSpace"
"""An error message that begins like a command."""


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Parameters
    ----------
    page : path of the page below the root of the repository
    line : number of the first line of its text
    language : the word behind the fence; empty for an indented block
    text : its lines, without the indentation
    file : the name of the file that the sentence before announces, as in "``name.py``:"
    """

    page: str
    line: int
    language: str
    text: str
    file: str = ""

    @property
    def kind(self):
        """``file``, ``shell``, ``python``, or ``text`` for everything that nobody runs."""
        if self.file:
            return "file"
        if self.language:
            return {"shell": "shell", "bash": "shell", "python": "python"}.get(
                self.language, "text"
            )
        first = self.text.removeprefix("$ ").split()
        words = [word for word in first if "=" not in word]  # variables come before the program
        is_command = Path(words[0]).name in PROGRAMS and not self.text.startswith(ERROR)
        return "shell" if is_command else "text"

    @property
    def place(self):
        return f"{self.page}:{self.line}"


@dataclass(frozen=True)
class Command:
    """A command of a shell block.

    Parameters
    ----------
    block : the block that it is in
    words : the program and its arguments
    variables : the environment variables that it sets
    output : the file that its output goes to
    printed : the lines below it that show what it prints
    """

    block: Block
    words: tuple
    variables: tuple = ()
    output: str = ""
    printed: str = ""

    @property
    def program(self):
        return Path(self.words[0]).name

    @property
    def typed(self):
        """The words as one text, the program without its folder."""
        return shlex.join([self.program, *self.words[1:]])


def blocks_of(page, text=None):
    """Return the blocks of a page in their order."""
    lines = (text or (ROOT / page).read_text("utf-8")).splitlines()
    blocks, number, before = [], 0, ""
    while number < len(lines):
        fence = re.fullmatch(r"(```+)(\{?[\w-]*\}?.*)", lines[number])
        if fence:
            end = lines.index(fence[1], number + 1)
            file = re.search(r"`(\w+\.py)`[:.]$", before)
            content = "\n".join(lines[number + 1 : end]) + "\n"
            blocks.append(Block(page, number + 2, fence[2], content, file[1] if file else ""))
            number, before = end + 1, ""
        elif lines[number].startswith("    ") and not lines[number - 1]:
            end = number
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end]):
                end += 1
            content = "\n".join(line[4:] for line in lines[number:end]).rstrip() + "\n"
            blocks.append(Block(page, number + 1, "", content))
            number, before = end, ""
        else:
            before = lines[number] or before
            number += 1
    return blocks


def commands_of(block):
    """Return the commands of a shell block, each with the lines that show what it prints."""
    text = block.text.replace("\\\n", "")
    if not re.search(r"^\$ ", text, re.MULTILINE):
        return [command for line in text.splitlines() for command in _parsed(block, line, "")]
    head, *parts = re.split(r"^\$ ", text, flags=re.MULTILINE)
    assert not head, f"{block.place} prints something before its first command"
    return [
        command
        for line, _, printed in (part.partition("\n") for part in parts)
        for command in _parsed(block, line, printed)
    ]


def _parsed(block, line, printed):
    words = shlex.shlex(line, posix=True, punctuation_chars="&>|;")
    words.whitespace_split = True
    for is_end, part in groupby(words, lambda word: word in ("&&", ";")):
        if is_end:
            continue
        part = [*part]
        output = ""
        for sign in {">", ">>"} & {*part}:
            output = part.pop(part.index(sign) + 1)
            part.remove(sign)
        count = next(i for i, word in enumerate(part) if not re.match(r"[A-Z_]+=", word))
        yield Command(block, tuple(part[count:]), tuple(part[:count]), output, printed)


BLOCKS = {page: blocks_of(page) for page in PAGES}
COMMANDS = [
    command
    for blocks in BLOCKS.values()
    for block in blocks
    if block.kind == "shell"
    for command in commands_of(block)
]
