"""Completion with the tab key: what is offered, in real shells, without torch."""

import os
import re
import select
import shutil
import subprocess
import sys
import time

import click
import pytest
from click.shell_completion import ShellComplete
from commands import repsim_process

from repsim_energy.cli import completion, first_screen
from repsim_energy.cli.app import COMMANDS
from repsim_energy.cli.app import repsim as group

SHELLS = ["bash", "zsh", "fish", "powershell"]

EXPECTED = [
    ("repsim co", {"compare", "completion"}),
    ("repsim compare --mod", {"--models"}),
    ("repsim compare --models resnet3", {"resnet34"}),
    ("repsim compare --models vgg11,resnet3", {"vgg11,resnet34"}),
    ("repsim compare --models vgg11:width=0.5,mine=lin", {"vgg11:width=0.5,mine=linear_cnn"}),
    ("repsim compare --models torchv", {"torchvision/"}),
    ("repsim compare --dataset cifar", {"cifar10", "cifar100"}),
    ("repsim compare --dataset cifar10,deadleaves+ran", {"cifar10,deadleaves+random_labels"}),
    ("repsim compare --dataset cifar10+random_labels+pc", {"cifar10+random_labels+pca_labels"}),
    ("repsim compare --metric c", {"cka", "covariance"}),
    ("repsim compare --stage t", {"trained"}),
    ("repsim train --device c", {"cpu", "cuda"}),
    ("repsim models resnet2", {"resnet20"}),
    ("repsim variants alpha", {"alpha_scaled"}),
    ("repsim reproduce table1 fig8", {"fig8a", "fig8b"}),
    ("repsim completion ", set(SHELLS)),
    ("repsim compare --models nothing_like_it", set()),
]


def offered(line):
    """What click offers for a line, without what the shell itself completes."""
    *words, last = line.split(" ")
    complete = ShellComplete(group, {}, "repsim", "_REPSIM_COMPLETE")
    items = complete.get_completions(words[1:], last)
    return {item.value for item in items if item.type == "plain"}


@pytest.mark.parametrize(("line", "expected"), EXPECTED)
def test_names_are_completed(line, expected):
    assert offered(line) == expected


def test_paths_are_left_to_the_shell_where_there_is_one():
    complete = ShellComplete(group, {}, "repsim", "_REPSIM_COMPLETE")
    for option, value, kinds in [
        ("--models", "runs/a", ["file"]),
        ("--models", "vgg11,runs/a", []),
        ("--dataset", "photos/", ["file"]),
    ]:
        items = complete.get_completions(["compare", option], value)
        assert [item.type for item in items] == kinds


def test_names_of_plugin_files_are_completed_and_broken_ones_stay_silent(tmp_path, capfd):
    (tmp_path / "good.py").write_text(
        "from repsim_energy import hookimpl\n"
        "print('hello')\n"
        "@hookimpl\n"
        "def repsim_metrics():\n"
        "    return {'my_metric': 'numpy:array'}\n"
    )
    (tmp_path / "broken.py").write_text("1 / 0\n")
    assert offered(f"repsim --plugin {tmp_path / 'good.py'} metrics my") == {"my_metric"}
    assert offered(f"repsim --plugin {tmp_path / 'broken.py'} metrics c") == set()
    assert offered("repsim --no-plugins metrics ck") == {"cka"}
    assert capfd.readouterr() == ("", "")


@pytest.mark.process
def test_completing_imports_no_torch(tmp_path):
    code = (
        "import sys; from test_completion import EXPECTED, offered\n"
        "for line, expected in EXPECTED: assert offered(line) == expected, line\n"
        "assert not {'torch', 'torchvision', 'xarray', 'netCDF4', 'PIL'} & set(sys.modules)\n"
    )
    paths = [*sys.path, os.path.dirname(__file__)]
    code = f"import sys; sys.path[:] = {paths!r}\n{code}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("shell", ["tcsh", "csh", "BASH", ""])
def test_other_shells_are_refused(repsim, shell):
    done = repsim("completion", shell)
    assert done.returncode == 2
    assert re.fullmatch(
        r"error: got the shell '.*', expected bash, zsh, fish, powershell; .*\n", done.stderr
    )


def test_completion_says_how_to_install_it(repsim):
    text = repsim("completion", "--help").stdout
    assert all(f"repsim completion {shell}" in text for shell in SHELLS)


@pytest.fixture
def path(tmp_path, monkeypatch):
    """A folder on the search path with the command ``repsim`` of this Python."""
    command = tmp_path / "bin" / "repsim"
    command.parent.mkdir()
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:] = {sys.path!r}\n"
        "from repsim_energy.cli import main\nmain()\n"
    )
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


class Terminal:
    """A shell on a terminal of its own, at which keys are typed."""

    def __init__(self, *command):
        import pty

        self._terminal, other = pty.openpty()
        self._process = subprocess.Popen(
            command, stdin=other, stdout=other, stderr=other, start_new_session=True, close_fds=True
        )
        os.close(other)
        self.text = ""

    def type(self, keys):
        os.write(self._terminal, keys.encode())

    def wait_for(self, pattern, seconds=30):
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.text)):
            if time.monotonic() > deadline:
                pytest.fail(f"no {pattern} in {self.text!r}")
            if select.select([self._terminal], [], [], 0.1)[0]:
                self.text += os.read(self._terminal, 65536).decode(errors="replace")
        self.text = self.text[match.end() :]
        return match

    def close(self):
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)


START = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], 'eval "$(repsim completion bash)"'),
    "zsh": (
        ["zsh", "-f", "-i"],
        'bindkey -e; autoload -Uz compinit; compinit -u -D; eval "$(repsim completion zsh)"',
    ),
}


@pytest.mark.process
@pytest.mark.parametrize("shell", list(START))
def test_the_tab_key_completes_in_the_shell(path, shell):
    command, start = START[shell]
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    terminal = Terminal(*command)
    try:
        terminal.type(f"PS1='> '; {start}; echo rea''dy\n")
        terminal.wait_for("[\r\n]ready")
        for line, rest in [
            ("repsim compare --models vgg11,resnet3", "4"),
            ("repsim doc", "tor"),
            ("repsim compare --dataset cifar10+ran", "dom_labels"),
        ]:
            terminal.type(f"{line}\t")
            terminal.wait_for(re.escape(rest))
            terminal.type("\x01echo '[\x05]'\n")  # prints the line instead of running it
            assert terminal.wait_for(r"[\r\n]\[(repsim[^\]]*)\]")[1].strip() == line + rest
    finally:
        terminal.close()


@pytest.mark.process
def test_fish_completes(path):
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    lines = dict(EXPECTED)
    for line in [*list(lines)[:4], "repsim compare --dataset cifar10,deadleaves+ran"]:
        code = f"repsim completion fish | source; complete -C '{line}'"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code], capture_output=True, text=True, timeout=120
        )
        found = {line.partition("\t")[0] for line in done.stdout.splitlines()}  # then descriptions
        assert found == lines[line], done.stderr


def replaced_in_powershell(line, replaced):
    """The line after each completion: PowerShell puts it in the place of ``replaced``."""
    complete = completion.PowerShell(group, {}, "repsim", "_REPSIM_COMPLETE")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("COMP_WORDS", line)
        environment.setenv("COMP_CWORD", replaced)
        answers = complete.complete().splitlines()
    plain = [answer.split(",", 1)[1] for answer in answers if answer.startswith("plain,")]
    return {line.removesuffix(replaced) + one.partition("\t")[0] for one in plain}


@pytest.mark.parametrize(("line", "expected"), EXPECTED)
@pytest.mark.parametrize("separators", [" ", " ,", " ,=+"])
def test_powershell_puts_completions_in_the_place_of_the_last_part(line, expected, separators):
    """Whatever it takes for the last part: the word, or what follows one of its separators."""
    before = line.rpartition(" ")[0]
    last = re.split(f"[{re.escape(separators)}]", line)[-1]
    assert replaced_in_powershell(line, last) == {f"{before} {one}" for one in expected}


def test_powershell_completes_values_behind_an_equals_sign():
    expected = {"repsim compare --models=vgg11,resnet34"}
    for last in ("--models=vgg11,resnet3", "vgg11,resnet3", "resnet3"):
        assert replaced_in_powershell("repsim compare --models=vgg11,resnet3", last) == expected


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("repsim ", ([], "")),
        ("repsim  compare", ([], "compare")),
        ("repsim show C:\\runs\\a", (["show"], "C:\\runs\\a")),
        ('repsim show "C:\\my runs\\a" --csv ', (["show", "C:\\my runs\\a", "--csv"], "")),
        ("repsim show 'C:\\my ru", (["show"], "C:\\my ru")),
        (
            'repsim compare --dataset=folder:path="my photos"',
            (["compare"], "--dataset=folder:path=my photos"),
        ),
    ],
)
def test_lines_of_powershell_are_split_into_words(monkeypatch, line, words):
    monkeypatch.setenv("COMP_WORDS", line)
    complete = completion.PowerShell(group, {}, "repsim", "_REPSIM_COMPLETE")
    assert complete.get_completion_args() == words


def test_powershell_completes_paths_itself(monkeypatch):
    monkeypatch.setenv("COMP_WORDS", "repsim compare --dataset C:\\photos\\c")
    monkeypatch.setenv("COMP_CWORD", "C:\\photos\\c")
    complete = completion.PowerShell(group, {}, "repsim", "_REPSIM_COMPLETE")
    assert complete.complete() == "file,C:\\photos\\c"


@pytest.mark.process
def test_the_script_of_powershell_asks_as_the_command_answers(repsim, path):
    """It sets what is read, removes it afterwards, and the command answers."""
    script = repsim("completion", "powershell").stdout
    start = "Register-ArgumentCompleter -Native -CommandName 'repsim', 'repsim.exe' -ScriptBlock {"
    assert script.startswith(start)
    for variable in ("_REPSIM_COMPLETE", "COMP_WORDS", "COMP_CWORD"):
        assert re.findall(rf"\$env:{variable} = (\S+)", script)[-1] == "$null"
    asked = dict(re.findall(r"\$env:(\w+) = '?([\w$]+)'?", script.partition("finally")[0]))
    assert asked["_REPSIM_COMPLETE"] == f"{completion.PowerShell.name}_complete"
    assert script.count("{") == script.count("}")
    assert script.count("(") == script.count(")")
    asking = {**asked, "COMP_WORDS": "repsim sho", "COMP_CWORD": "sho"}
    answers = subprocess.run(
        [path / "bin" / "repsim"], env=os.environ | asking, capture_output=True, text=True
    )
    assert re.fullmatch(r"plain,show\t.+\n", answers.stdout), answers.stderr


@pytest.mark.process
def test_powershell_completes(path):
    if shutil.which("pwsh") is None:
        pytest.skip("PowerShell is not installed")
    lines = ["repsim compare --models vgg11,resnet3", "repsim compare --dataset cifar10+ran"]
    for line, expected in [(lines[0], "vgg11,resnet34"), (lines[1], "cifar10+random_labels")]:
        code = (
            "repsim completion powershell | Out-String | Invoke-Expression; "
            f"$found = TabExpansion2 -inputScript '{line}' -cursorColumn {len(line)}; "
            "$found.ReplacementIndex; $found.CompletionMatches.CompletionText"
        )
        done = subprocess.run(
            ["pwsh", "-NoProfile", "-Command", code], capture_output=True, text=True, timeout=120
        )
        index, *found = done.stdout.splitlines()
        command = line.rpartition(" ")[0]
        assert [line[: int(index)] + one for one in found] == [f"{command} {expected}"], done.stderr


def test_repsim_alone_shows_three_commands_that_exist(repsim):
    done = repsim()
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    shown = [line.split()[1] for line in lines if line.startswith("  repsim ")]
    assert len(shown) == 3
    assert set(shown) <= set(COMMANDS)
    assert all(len(line) <= 100 for line in lines)
    assert "repsim --help" in lines[-1]
    assert lines[0].startswith("repsim compares what neural networks represent")


def test_the_lines_of_the_first_screen_are_valid_commands():
    for line in first_screen.FIRST_SCREEN.splitlines():
        if line.startswith("  repsim "):
            name, *arguments = line.split()[1:]
            command = group.get_command(click.Context(group), name)
            command.make_context(name, arguments)


def test_help_lists_every_command(repsim):
    text = repsim("--help").stdout
    assert all(re.search(rf"^\W*{name}\s", text, re.MULTILINE) for name in COMMANDS)


def test_options_without_a_command_show_the_first_screen(repsim):
    assert repsim("--no-plugins").stdout == repsim().stdout


@pytest.mark.process
def test_an_unknown_shell_is_one_line_in_a_process():
    done = repsim_process("completion", "csh")
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
