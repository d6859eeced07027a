"""The pages of the site: each has its place, each public name, hook and source is on one."""

import re
from pathlib import Path

import pytest

import repsim_energy as rs
from repsim_energy import testing
from repsim_energy.registry.plugins import HOOKS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = {p.relative_to(DOCS).with_suffix("").as_posix(): p.read_text() for p in DOCS.rglob("*.md")}


def entries(page):
    """Return the pages that the tables of contents of a page name."""
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", PAGES[page], re.DOTALL | re.MULTILINE)
    folder = page.rpartition("/")[0]
    lines = [line for tree in trees for line in tree.splitlines() if line and line[0] != ":"]
    return [f"{folder}/{line}".lstrip("/") for line in lines]


def test_every_page_is_reached_from_the_first_one_once():
    reached = ["index"]
    for page in reached:
        reached += entries(page)
    assert sorted(reached) == sorted(PAGES)


def test_every_page_of_a_section_is_listed_with_what_it_is_for():
    for section in ("examples", "explanation", "how-to", "reference"):
        page = PAGES[f"{section}/index"]
        for entry in entries(f"{section}/index"):
            assert f"]({Path(entry).name}.md)" in page, entry


def test_every_public_name_has_one_page():
    blocks = re.findall(r"```\{eval-rst\}\n(.*?)```", PAGES["reference/api"], re.DOTALL)
    listed = {"repsim_energy": ["plot", "testing"]}
    listed |= {"repsim_energy.plot": [], "repsim_energy.testing": []}
    for block in blocks:
        (module,) = re.findall(r"currentmodule:: (\S+)", block)
        listed[module] += re.findall(r"^   (\w+)$", block, re.MULTILINE)
        listed[module] += re.findall(r"^\.\. py:\w+:: (\w+)$", block, re.MULTILINE)
    assert sorted(listed["repsim_energy"]) == sorted(rs.__all__)
    assert sorted(listed["repsim_energy.testing"]) == sorted(testing.__all__)
    assert sorted(listed["repsim_energy.plot"]) == sorted(rs.plot.__all__)


def test_every_hook_is_on_the_page_of_hooks():
    assert re.findall(r"autofunction:: (\w+)", PAGES["reference/hooks"]) == list(HOOKS)


NOTEBOOKS = [page for page in PAGES if page.startswith("examples/") and page != "examples/index"]


@pytest.mark.parametrize("page", NOTEBOOKS)
def test_notebooks_say_what_they_show_and_can_be_opened_elsewhere(page):
    text = PAGES[page].partition("\n# ")[2]
    head, *cells = text.split("```{code-cell} python\n")
    assert "This notebook " in head
    assert f"{{nb-download}}`{page.partition('/')[2]}.ipynb`" in head
    assert cells[0].startswith("# %pip install ")


def test_the_gallery_draws_every_kind_of_figure():
    drawn = re.findall(r"^rs\.plot\.(\w+)\(result\);$", PAGES["examples/gallery"], re.MULTILINE)
    assert sorted([*drawn, "table"]) == sorted(rs.plot.__all__)


def test_citations_agree_with_the_citation_file():
    page, bibliography = PAGES["how-to/cite"], (DOCS / "references.bib").read_text("utf-8")
    software, paper = re.findall(r"^@.*?^\}\n", page, re.MULTILINE | re.DOTALL)
    assert paper in bibliography
    cff = (ROOT / "CITATION.cff").read_text("utf-8")
    for key in ("title", "version", "license"):
        (value,) = re.findall(rf"^{key}: (.*)$", cff, re.MULTILINE)
        assert f"{key:<7} = {{{value}}}" in software
    stated = dict(re.findall(r"^    (volume|start|end|url): (.*)$", cff, re.MULTILINE))
    assert f"{{{stated['start']}--{stated['end']}}}" in paper
    assert all(f"{{{stated[key]}}}" in paper for key in ("volume", "url"))


SOURCE = r"doi:(10\.\d+/[^\s;,]*[^\s;,.])|arXiv:(\d{4}\.\d{4,5})|(https://jmlr\.org/\S*\w)"


def test_every_source_of_a_docstring_is_in_the_bibliography():
    bibliography = (DOCS / "references.bib").read_text(encoding="utf-8")
    files = [*(ROOT / "repsim_energy").rglob("*.py"), *ROOT.glob("plugins/repsim-classics/*/*.py")]
    sources = {"".join(s) for f in files for s in re.findall(SOURCE, f.read_text("utf-8"))}
    assert len(sources) > 8
    assert not {source for source in sources if source not in bibliography}


def test_no_entry_of_the_bibliography_occurs_twice():
    bibliography = (DOCS / "references.bib").read_text(encoding="utf-8")
    for part in (r"^@\w+\{(\w+),", r"title *= (.*)", r"doi *= (.*)", r"(arXiv:\S+)\}"):
        found = re.findall(part, bibliography, re.MULTILINE)
        assert found
        assert len(set(found)) == len(found)


def test_folders_of_the_cache_are_on_its_page(repsim, tmp_path):
    repsim(
        *("train", "--models", "linear_cnn", "--seeds", "1", "--recipe", "quick:steps=1"),
        *("--dataset", "deadleaves:count=50:size=8", "--jobs", "1"),
        REPSIM_CACHE=str(tmp_path),
    )
    described = re.findall(r"^\| `(\w+)/` ", PAGES["how-to/cache"], re.M)
    made = sorted(path.name for path in tmp_path.iterdir())
    assert made == ["data", "locks", "runs"]
    assert sorted([*made, "bases", "crbm", "failed", "images", "partial"]) == sorted(described)
