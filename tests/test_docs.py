"""The documentation says what is there: hooks, commands, names, links, and its example runs."""

import ast
import re
import typing
from pathlib import Path

import pytest

import repsim_energy as rs
from repsim_energy import hookspecs
from repsim_energy.cli.app import COMMANDS
from repsim_energy.registry import load_registry
from repsim_energy.registry.plugins import HOOKS
from repsim_energy.results import VARIABLES
from repsim_energy.scaffold import write_plugin
from repsim_energy.testing import datasets, metrics, models, variants
from repsim_energy.testing.trial import CHANGES

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"


def text(name):
    return (DOCS / name).read_text()


def test_every_hook_is_specified_and_documented():
    page = text("how-to/write-a-plugin.md")
    for hook in HOOKS:
        assert hasattr(hookspecs, hook)
        assert f"`{hook}`" in page


def test_every_command_and_built_in_is_documented():
    page = text("reference/commands.md")
    registry = load_registry(plugins=False)
    names = [name for kind in ("model", "dataset", "variant") for name in registry.names(kind)]
    for name in [*COMMANDS, *names]:
        assert name.removesuffix("/*") in page, name


def test_every_variable_of_a_result_is_documented():
    page = text("reference/result-schema.md")
    for name in VARIABLES:
        assert f"`{name}`" in page, name


def test_every_public_name_can_be_imported_and_has_a_docstring():
    named = set(re.findall(r"rs\.(\w+)", text("reference/python.md")))
    for name in rs.__all__:
        thing = getattr(rs, name)
        assert thing.__doc__ or typing.get_origin(thing) is typing.Literal, name
    assert named == set(rs.__all__)


def test_type_checkers_know_the_public_names():
    """The imports that they read are those that are made when a name is used."""
    tree = ast.parse(Path(rs.__file__).read_text(encoding="utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If))
    imports = [n for n in block.body if isinstance(n, ast.ImportFrom)]
    found = {a.asname: (n.module, a.name) for n in imports for a in n.names}
    lazy = {
        name: (f"repsim_energy.{home}", name) for home, names in rs._HOMES.items() for name in names
    }
    assert found == lazy | {"testing": ("repsim_energy", "testing")}
    assert rs.__all__ == sorted({*found, "__version__"})


def test_links_between_pages_lead_somewhere():
    for page in [
        ROOT / "README.md",
        *DOCS.rglob("*.md"),
        *ROOT.glob("*/README.md"),
        *ROOT.glob("[pd]*/*/README.md"),
    ]:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            to = (page.parent / target).resolve()
            missing = [d for d in ("plugins", "datasets") if not (ROOT / d).exists()]
            away = any(to.is_relative_to(ROOT / d) for d in missing)  # core stands by itself
            assert to.exists() or away, f"{page}: {target}"


def test_the_plugin_of_the_how_to_is_what_the_command_writes(tmp_path):
    page = text("how-to/write-a-plugin.md")
    blocks = re.findall(r"```\w+\n(.*?)```", page, re.DOTALL)
    written = write_plugin("repsim-example", "model", tmp_path)
    assert blocks == [path.read_text() for path in written if path.suffix != ".md"]


def test_the_rules_that_a_plugin_is_held_to_are_those_of_the_page():
    """All of them, and no others: a rule that is dropped from a check is missed here."""
    page = " ".join(text("how-to/write-a-plugin.md").split())
    built, split = "is built for classes and channels", "gives both splits"
    assert len(CHANGES) == 5
    each = "ignores, or sees, each of the five changes below as it declares"
    for thing, rules in {
        "A metric": ["has the whole interface", *metrics.RULES, each],
        "An architecture": [built, *models.RULES],
        "A trained model": [built, *models.GIVEN_RULES],
        "A data set": [split, *datasets.RULES],
        "A variant": [*variants.RULES],
    }.items():
        (listed,) = re.findall(rf"\*\*{thing}\*\* ([^.]*)\.", page)
        assert listed.split("; ") == rules
    (changes,) = re.findall(r"Invariances that it may declare are ([^.]*)\.", page)
    assert re.findall(r"`(\w+)`", changes) == list(CHANGES)


@pytest.mark.parametrize("command", ["result.nc", "-m pytest"])
def test_the_readme_has_two_commands_for_a_fresh_machine(command):
    lines = (ROOT / "README.md").read_text().splitlines()
    assert (
        sum(line.startswith("    python3 -m venv") and line.endswith(command) for line in lines)
        == 1
    )
