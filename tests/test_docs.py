"""The documentation says what is there: hooks, commands, names, links, and its example runs."""

import ast
import re
import typing
from pathlib import Path

import pytest
from samples import noise_images, small_cnn

import repsim_energy as rs
from repsim_energy import hookspecs, testing
from repsim_energy.cli.app import COMMANDS
from repsim_energy.registry import load_registry
from repsim_energy.registry.plugins import HOOKS
from repsim_energy.scaffold import write_plugin
from repsim_energy.testing.metric_fixture import CHANGES

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
    """Those of single experiments are looked for where these run."""
    page = text("reference/result-schema.md")
    net, images = small_cnn(2, 3), noise_images(20, (3, 8, 8))
    for metric in ("energy", "cka"):
        result = rs.compare({"net": net}, images, metric)
        for name in [*result.variables, *result.attrs, *result.dims]:
            assert f"`{name}`" in page, name


def test_every_public_name_can_be_imported_and_has_a_docstring():
    named = set(re.findall(r"rs\.(\w+)", text("reference/python.md")))
    for name in rs.__all__:
        thing = getattr(rs, name)
        assert thing.__doc__ or typing.get_origin(thing) is typing.Literal, name
    assert named == set(rs.__all__)


def test_public_names_are_those_of_the_stub():
    """Type checkers read the stub, and names are looked up in it when they are used."""
    tree = ast.parse(Path(rs.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    names = [a.asname for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names]
    assert sorted(rs.__all__) == sorted([*names, "__version__"])
    assert set(names) <= set(dir(rs))


PAGES = [
    *ROOT.glob("*.md"),
    *DOCS.rglob("*.md"),
    *ROOT.glob("*/README.md"),
    *ROOT.glob("[pd]*/*/README.md"),
]


def anchors(page):
    """Return what the headings of a page are linked by."""
    content = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.*)$", content, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text()):
            to = (page.parent / target).resolve() if target else page
            if to.suffix == ".md" and to.exists() and anchor:
                assert anchor in anchors(to), f"{page}: {target}#{anchor}"
            missing = [d for d in ("plugins", "datasets") if not (ROOT / d).exists()]
            away = any(to.is_relative_to(ROOT / d) for d in missing)  # core stands by itself
            assert to.exists() or away, f"{page}: {target}"


def blocks(part):
    return re.findall(r"```\w+\n(.*?)```", part, re.DOTALL)


def test_the_plugin_of_the_how_to_is_what_the_command_writes(tmp_path):
    page = text("how-to/write-a-plugin.md")
    distribution = page[page.index("## A distribution") : page.index("## The four hooks")]
    written = write_plugin("repsim-example", "model", tmp_path)
    assert blocks(distribution) == [path.read_text() for path in written if path.suffix != ".md"]


def test_the_single_file_of_the_how_to_keeps_the_rules():
    file, _ = blocks(text("how-to/write-a-plugin.md").partition("## A distribution")[0])
    names = {}
    exec(file, names)  # noqa: S102 (the page is ours)
    ((name, metric),) = names["repsim_metrics"]().items()
    assert name == metric.name == "profile_cosine"
    testing.check_metric(metric())


def test_the_objects_of_the_how_to_are_compared():
    names = {}
    exec(blocks(text("how-to/own-networks-and-images.md"))[0], names)  # noqa: S102 (as above)
    assert names["result"].sizes["model"] == 2


def test_the_rules_of_the_page_are_those_that_are_checked(monkeypatch):
    """All of them, and no others: a rule that is dropped from a check is missed here."""
    monkeypatch.syspath_prepend(DOCS)
    import plugin_page

    assert plugin_page.page() == text("how-to/write-a-plugin.md"), "python docs/plugin_page.py"
    page = " ".join(text("how-to/write-a-plugin.md").split())
    (changes,) = re.findall(r"Invariances that it may declare are ([^.]*)\.", page)
    assert re.findall(r"`(\w+)`", changes) == list(CHANGES)


@pytest.mark.parametrize("command", ["result.nc", "-m pytest -n 2 --dist loadfile"])
def test_the_readme_has_two_commands_for_a_fresh_machine(command):
    lines = (ROOT / "README.md").read_text().splitlines()
    assert (
        sum(line.startswith("    python3 -m venv") and line.endswith(command) for line in lines)
        == 1
    )
