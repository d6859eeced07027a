"""``repsim completion``, and completion of names in option values.

Names come from the registry, so those of plugins are completed as well. No completion imports
torch. A completion that fails offers nothing and prints nothing, because the user is typing.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import warnings
from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import TypeAlias

import rich_click as click
from click.shell_completion import (
    CompletionItem,
    FishComplete,
    ShellComplete,
    add_completion_class,
    get_completion_class,
)

from repsim_energy.errors import UsageError
from repsim_energy.registry import Kind, load_registry

__all__ = [
    "alternatives",
    "completion",
    "datasets_or_paths",
    "models_or_files",
    "names_of",
    "options_to_vary",
    "register_shells",
]

SHELLS = ("bash", "zsh", "fish", "powershell")

VARIABLE = "_REPSIM_COMPLETE"
"""Environment variable in which the scripts ask ``repsim`` for completions."""

Items: TypeAlias = "list[CompletionItem[str]]"  # CompletionItem has no parameter before click 8.3
Complete = Callable[[click.Context, click.Parameter, str], Items]


class Fish(FishComplete):
    """Completion for fish of values that contain commas, at which click's own script cuts them."""

    source_template = """\
function %(complete_func)s
    set -lx COMP_WORDS (commandline -cp)
    set -lx COMP_CWORD (commandline -t)
    for line in (env %(complete_var)s=fish_complete %(prog_name)s)
        set -l item (string split --max 1 "," -- $line)
        switch $item[1]
            case dir
                __fish_complete_directories $item[2]
            case file
                __fish_complete_path $item[2]
            case plain
                echo $item[2]
        end
    end
end
complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return type and value, with the description after a tab."""
        return typed_line(item)


class PowerShell(ShellComplete):
    """Completion for PowerShell, which click does not have.

    PowerShell replaces a part of the last word only, for instance what follows a comma. The script
    reports that part, and receives the rest of each completion.
    """

    name = "powershell"
    source_template = """\
Register-ArgumentCompleter -Native -CommandName '%(prog_name)s', '%(prog_name)s.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $length = [Math]::Max(0, $cursorPosition - $commandAst.Extent.StartOffset)
    $line = $commandAst.ToString().PadRight($length).Substring(0, $length)
    try {
        $env:%(complete_var)s = 'powershell_complete'
        $env:COMP_WORDS = $line
        $env:COMP_CWORD = $wordToComplete
        $answers = @(& '%(prog_name)s')
    }
    finally {
        $env:%(complete_var)s = $null
        $env:COMP_WORDS = $null
        $env:COMP_CWORD = $null
    }
    foreach ($answer in $answers) {
        $type, $item = $answer -split ',', 2
        if ($type -eq 'plain') {
            $value, $help = $item -split "`t", 2
            if (-not $help) { $help = $value }
            [System.Management.Automation.CompletionResult]::new(
                $value, $value, 'ParameterValue', $help)
        }
        else {
            [System.Management.Automation.CompletionCompleters]::CompleteFilename($wordToComplete)
        }
    }
}
"""

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words of the line, in which backslashes are part of paths."""
        line = os.environ["COMP_WORDS"]
        words = [word.replace('"', "").replace("'", "") for word in WORD.findall(line)]
        last = "" if not words or line[-1].isspace() else words.pop()
        return words[1:], last

    def complete(self) -> str:
        """Return a line for each completion, without what PowerShell leaves as it is."""
        words, last = self.get_completion_args()
        replaced = os.environ.get("COMP_CWORD", "")  # an empty variable does not exist on Windows
        option = last[: last.find("=") + 1] if last.startswith("--") else ""
        left = len(last.removesuffix(replaced)) if last.endswith(replaced) else 0
        items = self.get_completions(words, last)
        return "\n".join(self._line(item, option, left) for item in items)

    def _line(self, item: CompletionItem[str], option: str, left: int) -> str:
        item.value = f"{option}{item.value}"[left:] if item.type == "plain" else item.value
        return self.format_completion(item)

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return type and value, with the description after a tab."""
        return typed_line(item)


WORD = re.compile(r"""(?:"[^"]*"?|'[^']*'?|[^\s"'])+""")
"""A word of a command line, which may be quoted in part, and whose quote may not end yet."""


def typed_line(item: CompletionItem[str]) -> str:
    """Return type and value of a completion, with the description after a tab."""
    line = f"{item.type},{item.value}"
    return f"{line}\t{' '.join(item.help.split())}" if item.help else line


def register_shells() -> None:
    """Let click use the scripts of this module. Call it before click's ``main``."""
    add_completion_class(Fish)
    add_completion_class(PowerShell)


HELP = """Print the script that completes commands, options and names with the tab key.

\b
bash: add  eval "$(repsim completion bash)"  to ~/.bashrc
zsh:  add  eval "$(repsim completion zsh)"   to ~/.zshrc, after compinit
fish: repsim completion fish > ~/.config/fish/completions/repsim.fish
PowerShell: add  repsim completion powershell | Out-String | Invoke-Expression  to $PROFILE

The script for PowerShell follows its documentation and has not been tried on a PowerShell yet.
"""


@click.command(help=HELP)
@click.argument(
    "shell",
    metavar="|".join(SHELLS),
    shell_complete=lambda *args: [shell for shell in SHELLS if shell.startswith(args[2])],
)
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell."""
    register_shells()
    cls = get_completion_class(shell) if shell in SHELLS else None
    if cls is None:
        raise UsageError(
            f"got the shell '{shell}', expected {', '.join(SHELLS)}; there is no completion for "
            "others"
        )
    click.echo(cls(ctx.find_root().command, {}, "repsim", VARIABLE).source())


def _silently(complete: Complete) -> Complete:
    """Return a completion that offers nothing where it fails, and never prints."""

    def silent(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:
        nowhere = io.StringIO()
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter("ignore")
            try:
                return complete(ctx, param, incomplete)
            except Exception:  # of a plugin, perhaps
                return []

    return silent


def names_of(kind: Kind) -> Complete:
    """Return a completion by the names of one kind of component."""

    @_silently
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
        return _starting(_names(ctx, kind), "", incomplete)

    return complete


@_silently
def models_or_files(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Complete the last of several models, or the path of a file of weights."""
    before, part = _last(incomplete, ",")
    label, equals, name = part.partition("=")
    if equals and ":" not in label:
        before, part = before + label + equals, name
    return _paths(incomplete) + _starting(_names(ctx, "model"), before, part)


@_silently
def datasets_or_paths(ctx: click.Context, _: click.Parameter, incomplete: str) -> Items:
    """Complete the last of several data sets or its last variant, or the path of images."""
    before, part = _last(incomplete, ",")
    if "+" not in part:
        return _paths(incomplete) + _starting(_names(ctx, "dataset"), before, part)
    chain, part = _last(part, "+")
    return _starting(_names(ctx, "variant"), before + chain, part)


@_silently
def options_to_vary(_: click.Context, __: click.Parameter, incomplete: str) -> Items:
    """Complete the part of an option to vary, and the options of recipes and comparisons.

    Those of models, data sets and metrics are in code that would import torch.
    """
    part, dot, option = incomplete.partition(".")
    from repsim_energy.comparison.axes import OF_COMPARISONS, PARTS

    if not dot:
        return _starting([f"{one}." for one in PARTS], "", part)
    if part == "comparison":
        return _starting([f"{name}=" for name in OF_COMPARISONS], "comparison.", option)
    if part != "recipe":
        return []
    from repsim_energy.training.recipe import Recipe

    return _starting([f"{field.name}=" for field in fields(Recipe)], "recipe.", option)


@_silently
def alternatives(_: click.Context, param: click.Parameter, incomplete: str) -> Items:
    """Complete the words of a metavar such as ``auto|cpu|cuda``."""
    words = (param.metavar or "").split("|")
    return _starting([word for word in words if word.isalpha() and word.islower()], "", incomplete)


def _names(ctx: click.Context, kind: Kind) -> list[str]:
    """Return the names of components and the prefixes of families, such as ``torchvision/``."""
    options = ctx.find_root().params
    files = [file for file in options.get("files") or () if file]
    registry = load_registry(files, installed=not options.get("no_plugins"), strict=False)
    return [name.removesuffix("*") for name in registry.names(kind)]


def _last(text: str, separator: str) -> tuple[str, str]:
    """Return the text up to the last separator, and the rest."""
    before, found, rest = text.rpartition(separator)
    return before + found, rest


def _starting(names: Iterable[str], before: str, part: str) -> Items:
    return [CompletionItem(before + name) for name in names if name.startswith(part)]


def _paths(incomplete: str) -> Items:
    """Let the shell complete a path, which is possible for a single one."""
    return [] if "," in incomplete else [CompletionItem(incomplete, type="file")]
