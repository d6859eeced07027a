"""Whatever users can type or meet has its place on a page: options, variables, errors, files."""

import dataclasses
import inspect
import re
from pathlib import Path

import pytest
import rich_click as click

import repsim_energy as rs
from repsim_energy import errors
from repsim_energy.cli.app import repsim as group
from repsim_energy.plot.kinds import KINDS
from repsim_energy.registry import describe, load_registry

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "repsim_energy"


def text(name):
    return (ROOT / "docs" / name).read_text("utf-8")


def options_of(command, name):
    """Yield name and option of a command and of the commands in it, in its longest spelling."""
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            yield name, max(parameter.opts, key=len)
    if isinstance(command, click.Group):
        for word in command.list_commands(click.Context(command)):
            part = command.get_command(click.Context(command), word)
            yield from options_of(part, f"{name} {word}".strip())


OPTIONS = [*options_of(group, "")]


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=[" ".join(o) for o in OPTIONS])
def test_every_option_of_a_command_is_on_the_page_of_commands(command, option):
    assert re.search(rf"{option}(?![\w-])", text("reference/commands.md"))


def test_the_site_lists_every_option_as_the_help_does():
    """From the group itself, so that none is left out: see ``:nested: full``."""
    page = text("reference/cli.md")
    assert ".. click:: repsim_energy.cli.app:repsim" in page
    assert ":nested: full" in page


def test_every_environment_variable_is_on_the_page_of_commands():
    sources = "\n".join(path.read_text("utf-8") for path in PACKAGE.rglob("*.py"))
    variables = set(re.findall(r"(?<!\w)REPSIM_[A-Z_]+", sources))
    assert len(variables) > 3
    for variable in variables:
        assert f"`{variable}" in text("reference/commands.md"), variable


def test_every_exit_code_of_an_error_is_in_the_table():
    codes = set(re.findall(r"^\| (\d+) \| ", text("reference/commands.md"), re.MULTILINE))
    kinds = [kind for kind in vars(errors).values() if inspect.isclass(kind)]
    used = {str(kind.exit_code) for kind in kinds if issubclass(kind, rs.RepsimError)}
    assert used | {"0", "3", "130"} == codes


@pytest.mark.parametrize("kind", [Exception, Warning])
def test_every_type_of_error_is_public_and_on_the_page_of_python(kind):
    own = [e for e in vars(errors).values() if inspect.isclass(e) and issubclass(e, kind)]
    for error in (e for e in own if e.__module__ == errors.__name__):
        assert error.__name__ in rs.__all__
        assert f"`rs.{error.__name__}" in text("reference/python.md"), error


def test_every_parameter_of_compare_is_on_the_page_of_python():
    page = text("reference/python.md")
    for parameter in inspect.signature(rs.compare).parameters:
        assert re.search(rf"\b{parameter}\b", page), parameter


def test_every_field_of_a_recipe_is_on_the_page_of_commands():
    recipes = text("reference/commands.md").partition("## Recipes")[2].partition("\n## ")[0]
    for field in dataclasses.fields(rs.Recipe):
        assert f"`{field.name}=" in recipes, field.name


KINDS_OF_THINGS = ("model", "dataset", "variant", "metric")


@pytest.mark.parametrize("kind", KINDS_OF_THINGS)
def test_every_option_of_what_is_built_in_is_on_a_page(kind):
    registry = load_registry(plugins=False)
    pages = text("reference/commands.md") + text("how-to/own-networks-and-images.md")
    for name in registry.names(kind):
        if name.endswith("/*"):
            continue
        for option in describe(registry, kind, name)[1]:
            assert re.search(rf"[`:+]{option.name}=", pages), f"{name}:{option.name}="


def test_every_kind_of_figure_is_on_its_page():
    (kinds,) = re.findall(r"^## Kinds$(.*?)^## ", text("how-to/plot-a-result.md"), re.M | re.S)
    table = re.findall(r"^\| `(\w+)` \| ", kinds, re.MULTILINE)
    assert sorted(table) == sorted(KINDS)


def test_every_attribute_of_a_result_is_described():
    """Also those of commands, which results that are made in Python lack."""
    attributes = set(re.findall(r"attrs\[\"(\w+)\"\]", _sources("results", "comparison", "cli")))
    assert "command" in attributes
    for attribute in attributes:
        assert f"`{attribute}`" in text("reference/result-schema.md"), attribute


def _sources(*folders):
    paths = [path for folder in folders for path in (PACKAGE / folder).rglob("*.py")]
    return "\n".join(path.read_text("utf-8") for path in paths)
