"""What is cited: one text, which the command, the pages and CITATION.cff agree on."""

import re
import tomllib
from pathlib import Path

import pytest

from repsim_energy.cli import cite
from repsim_energy.versions import NOT_INSTALLED

ROOT = Path(__file__).parents[2]
CFF = (ROOT / "CITATION.cff").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def printed(repsim, monkeypatch):
    """What the command of the release prints that pyproject.toml describes."""
    monkeypatch.setattr(cite, "version_of", lambda _: PROJECT["version"])
    done = repsim("cite")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def fields(entry):
    """Field -> value of a BibTeX entry, without the braces that keep capitals."""
    found = re.findall(r"^  (\w+) +=\s\{(.*)\},$", entry, re.MULTILINE)
    return {name: re.sub("[{}]", "", value) for name, value in found}


def test_both_entries_are_whole(printed):
    assert re.findall(r"^@(\w+)\{(\w+),$", printed, re.MULTILINE) == [
        ("software", "repsim_energy"),
        ("inproceedings", "chowers2023"),
    ]
    assert printed.count("{") == printed.count("}")
    software = fields(printed.partition("@inproceedings")[0])
    (author,) = PROJECT["authors"]
    assert software == {
        "author": author["name"],
        "title": PROJECT["name"],
        "version": PROJECT["version"],
        "license": PROJECT["license"],
    }


def test_the_paper_is_that_of_the_bibliography_of_the_site():
    assert cite.PAPER in (ROOT / "docs" / "references.bib").read_text()


def test_citation_cff_says_the_same(printed):
    """The file has a line ``key: value`` for each field, at its top or below the paper."""
    top, paper = CFF.split("references:")
    for key in ("title", "version", "license"):
        assert (
            f"\n{key}: {fields(cite.SOFTWARE)[key]}\n".replace("VERSION", PROJECT["version"]) in top
        )
    assert fields(cite.SOFTWARE)["author"] in top
    of_paper = fields(cite.PAPER)
    start, end = of_paper["pages"].split("--")
    assert of_paper["author"] == " and ".join(
        f"{family}, {given}"
        for family, given in re.findall(r"family-names: (\w+)\s+given-names: (\w+)", paper)
    )
    for key, value in {
        "title": f'"{of_paper["title"]}"',
        "year": of_paper["year"],
        "volume": of_paper["volume"],
        "start": start,
        "end": end,
        "name": of_paper["publisher"],
        "url": of_paper["url"],
        "collection-title": of_paper["booktitle"],
    }.items():
        assert re.search(rf"\b{key}: {re.escape(value)}\n", paper), key


@pytest.mark.parametrize("page", ["docs/how-to/cite.md", "README.md"])
def test_pages_show_what_the_command_prints(printed, page):
    blocks = re.findall(r"^```bibtex\n(.*?)^```$", (ROOT / page).read_text(), re.M | re.S)
    assert blocks or page == "README.md"
    for block in blocks:
        for entry in re.split(r"\n(?=@)", block.strip("\n")):
            assert f"{entry.strip()}\n" in printed


def test_a_source_tree_has_no_version(repsim, monkeypatch):
    monkeypatch.setattr(cite, "version_of", lambda _: NOT_INSTALLED)
    assert repsim("cite").stderr.startswith("the version is unknown")
