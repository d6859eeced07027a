"""The files around the package agree with each other: versions, places, what is checked where."""

import re
import tomllib
from pathlib import Path

import pytest

import repsim_energy as rs
from repsim_energy import testing

ROOT = Path(__file__).parents[1]


def text(name):
    path = ROOT / name
    if not path.exists():
        pytest.skip(f"this copy of the source has no {name}")
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def project():
    return tomllib.loads(text("pyproject.toml"))


def test_the_stated_versions_of_python_are_those_that_are_tested(project):
    stated = re.findall(r"Python :: (3\.\d+)", "\n".join(project["project"]["classifiers"]))
    (tested,) = re.findall(r"python: \[(.*)\]", text(".github/workflows/tests.yml"))
    assert stated == re.findall(r"3\.\d+", tested)
    assert project["project"]["requires-python"] == f">={stated[0]}"
    assert project["tool"]["mypy"]["python_version"] == stated[0]
    assert project["tool"]["ruff"]["target-version"] == f"py{stated[0].replace('.', '')}"


def test_the_stated_systems_are_those_that_are_tested(project):
    (tested,) = re.findall(r"os: \[(.*)\]", text(".github/workflows/tests.yml"))
    names = {"Linux": "ubuntu", "MacOS": "macos", "Windows": "windows"}
    classifiers = project["project"]["classifiers"]
    stated = [c.rpartition(" ")[2] for c in classifiers if c.startswith("Operating System")]
    assert {names[system] for system in stated} == set(re.findall(r"(\w+)-latest", tested))


def test_the_next_release_is_named_alike_everywhere(project):
    version = project["project"]["version"]
    assert f"\nversion: {version}\n" in text("CITATION.cff")
    assert re.search(r"^## (\S+) - ", text("CHANGELOG.md"), re.MULTILINE)[1] == version
    assert f"name: {project['project']['authors'][0]['name']}\n" in text("CITATION.cff")
    assert project["project"]["authors"][0]["name"] in text("LICENSE")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"])
def test_places_and_names_that_a_page_speaks_of_are_there(page):
    content = text(page)
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", content)
    places = re.findall(r"`((?:repsim_energy|docs|tests|\.ci|plugins)/[^` ]*)`", content)
    away = [name for name in ("plugins",) if not (ROOT / name).exists()]
    for place in [*links, *places]:
        assert (ROOT / place).exists() or place.split("/")[0] in away, place
    for module, name in re.findall(r"`repsim_energy\.(testing\.)?(\w+)`", content):
        assert hasattr(testing, name) if module else name in [*rs.__all__, "testing"], name


def test_what_is_optional_is_used_or_run(project):
    """A distribution that tests need is imported by one; that of a tool is named in its checks."""
    used = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py"))
    extras = project["project"]["optional-dependencies"]
    named = {"repsim-energy": "repsim_energy", "pytest-xdist": r"pytest -n 2 --dist"}
    for requirement in extras["test"]:
        name = re.split(r"[^\w-]", requirement)[0]
        in_readme = name in named and re.search(named[name], text("README.md"))
        module = name.replace("-", "_")
        assert in_readme or re.search(rf"^(import|from) {module}\b", used, re.MULTILINE), name
    checks = text(".ci/run") + text(".ci/package")
    for requirement in extras["lint"] + extras["release"]:
        name = re.split(r"[^\w-]", requirement)[0]
        assert re.search({"import-linter": "lint-imports"}.get(name, rf"\b{name}\b"), checks), name
