"""Settings of Sphinx, which builds the site from these pages.

``.ci/docs ENVIRONMENT`` builds it as it is published: warnings are errors, nothing is downloaded.
"""

from __future__ import annotations

import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from docutils import nodes
from docutils.utils.math import MathError, latex2mathml
from sphinx.errors import SphinxError

import repsim_energy
from repsim_energy import testing

if TYPE_CHECKING:
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment
    from sphinx.writers.html5 import HTML5Translator

DOCS = Path(__file__).parent
ROOT = DOCS.parent

project = "repsim-energy"
author = "The repsim-energy developers"
project_copyright = author
version = release = metadata.version(project)

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_click",
    "sphinx_copybutton",
    "sphinxcontrib.bibtex",
]
html_static_path = ["_static"]
html_css_files = ["site.css"]
templates_path = ["_templates"]
exclude_patterns = ["_build", "_static", "_templates"]
html_theme = "furo"
html_title = f"repsim-energy {release}"
html_math_renderer = "mathml"
html_theme_options = {"navigation_with_keys": True}

# Markdown
myst_enable_extensions = []
myst_heading_anchors = 4
bibtex_bibfiles = ["references.bib"]
bibtex_default_style = "plain"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

# Notebooks: executed when their code has changed. Their outputs are kept beside the built site.
nb_execution_mode = "cache"
nb_execution_in_temp = True
nb_execution_timeout = 240
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
os.environ["REPSIM_PROGRESS"] = "0"  # no bars in the outputs
# Cells that begin with %%bash call the command `repsim` of this environment.
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])

# Docstrings
autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

# Every reference has to lead somewhere. Except those of types in signatures: of other packages,
# whose sites are not asked, and of this one where they are not public.
nitpicky = True
nitpick_ignore_regex = [
    (
        "py:class",
        r"(torch|nn|numpy|np|xarray|xr|pandas|pd|matplotlib|collections|pathlib|os|PIL)\..*",
    ),
    (
        "py:class",
        r"Tensor|NDArray|ArrayLike|Images|Axes|Order|Path|ModelLike|DatasetLike|LayersLike|PairsLike|Vary|csr_array"
        r"|CovarianceKind|Outputs",
    ),
    ("py:class", r"repsim_energy\.(models|registry|scheduling|training|versions)\..*"),
]

ROOT_PAGES = {
    "CHANGELOG.md": "project/changelog",
    "CONTRIBUTING.md": "project/contributing",
    "LICENSE": "project/license",
    "README.md": "index",
    "SECURITY.md": "project/security",
}
"""File at the root of the repository -> page of the site."""

SHOWN = {page: ROOT / name for name, page in ROOT_PAGES.items() if page[:7] == "project"}
LINK = re.compile(r"\]\((?P<path>[^)#:\s]+)(?P<anchor>#[^)\s]*)?\)")
SOURCE = re.compile(
    r"\b(?:doi:(?P<doi>10\.\d{4,9}/[^\s;,]*[^\s;,.])|arXiv:(?P<arxiv>\d{4}\.\d{4,5}))"
)
SECTION = re.compile(r"^(\w+\n-{3,}\n)", re.MULTILINE)
ENTRY = re.compile(r"^(\S.*?) : (.*)$", re.MULTILINE)


def show_root_page(app: Sphinx, docname: str, source: list[str]) -> None:
    """Replace a page of ``project/`` by its file, and links to files by links to their pages."""
    file = SHOWN.get(docname, Path(app.env.doc2path(docname)))
    if docname in SHOWN and file.suffix == ".md":
        app.env.note_dependency(str(file))
        source[0] = file.read_text(encoding="utf-8")
    if file.suffix == ".md":
        source[0] = LINK.sub(lambda link: link_to_page(link, file.parent), source[0])


def link_to_page(link: re.Match[str], folder: Path) -> str:
    """Return a link between files of the repository as a link to a page of the site."""
    target = (folder / link["path"]).resolve()
    if target.is_relative_to(DOCS):
        page = target.relative_to(DOCS).as_posix()
    elif target.parent == ROOT and target.name in ROOT_PAGES:
        page = f"{ROOT_PAGES[target.name]}.md"
    else:
        return link[0]
    return f"](/{page}{link['anchor'] or ''})"


def prepare_docstring(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Link sources such as ``arXiv:2206.02454``, and keep each description in one piece.

    numpydoc takes the rest of the line ``name : description`` for a type, and every line below
    ``Returns`` that is not indented for an item of its own.
    """
    text = SOURCE.sub(link_of_source, "\n".join(lines))
    parts = SECTION.split(text)
    for i in range(1, len(parts), 2):
        if parts[i].startswith(("Parameters", "Attributes")):
            parts[i + 1] = ENTRY.sub(r"\1\n    \2", parts[i + 1])
        elif parts[i].startswith("Returns"):
            parts[i + 1] = re.sub(r"(?<=\S)\n(?=\S)", " ", parts[i + 1])
    lines[:] = "".join(parts).split("\n")


def link_of_source(source: re.Match[str]) -> str:
    """Return a DOI or a number of arXiv as a link."""
    place = f"doi.org/{source['doi']}" if source["doi"] else f"arxiv.org/abs/{source['arxiv']}"
    return f"`{source[0]} <https://{place}>`__"


def find_public_name(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve the place of a definition, ``repsim_energy.interfaces.PatchBasis``, to its page."""
    place, _, name = node.get("reftarget", "").rpartition(".")
    if node.get("refdomain") != "py" or not (place == "rs" or place.startswith("repsim_energy")):
        return None
    names = [f"repsim_energy.{name}"] if name in repsim_energy.__all__ else []
    names += [f"repsim_energy.testing.{name}"] if name in testing.__all__ else []
    domain = env.domains.python_domain
    for public in names:
        found = domain.resolve_xref(env, node["refdoc"], app.builder, "obj", public, node, content)
        if found is not None:
            return found
    return None


def write_formula(translator: HTML5Translator, node: nodes.Element) -> None:
    """Write a formula as MathML, which browsers draw without scripts."""
    block = isinstance(node, nodes.math_block)
    try:
        formula = latex2mathml.tex2mathml(node.astext(), as_block=block)
    except MathError as error:
        raise SphinxError(f"{node.source}: formula '{node.astext()}': {error}") from error
    translator.body.append(f'<div class="math">{formula}</div>' if block else formula)
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Register the functions above."""
    app.add_html_math_renderer("mathml", (write_formula, None), (write_formula, None))
    app.connect("source-read", show_root_page)
    app.connect("autodoc-process-docstring", prepare_docstring, priority=400)  # before numpydoc
    app.connect("missing-reference", find_public_name)
