"""A toolkit that is missing or is another project: one line that says what was found."""

from __future__ import annotations

import subprocess
import sys

import pytest
import repsim_energy as rs

from repsim_toolkits.loading import load

PYPI = "Measures of representational similarity across models"


@pytest.fixture
def other_repsim(tmp_path, monkeypatch):
    """A package ``repsim`` with the metadata of PyPI's, which is neither of the two wanted."""
    (tmp_path / "repsim").mkdir()
    (tmp_path / "repsim" / "__init__.py").write_text("__version__ = '0.1.5'\n")
    about = tmp_path / "repsim-0.1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        f"Metadata-Version: 2.2\nName: repsim\nVersion: 0.1.5\nSummary: {PYPI}\n"
    )
    (about / "top_level.txt").write_text("repsim\n")
    for name in [n for n in sys.modules if n.partition(".")[0] == "repsim"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("repsim", None)


@pytest.mark.parametrize(
    ("module", "reason"),
    [
        ("wrongu_repsim", "repsim has no RepresentationMetricSpace, compare"),
        ("resi", "cannot import repsim.measures.utils"),
    ],
)
def test_another_project_called_repsim_is_named(other_repsim, adapter, module, reason):
    with pytest.raises(rs.UsageError, match=reason) as error:
        adapter(module, {})
    assert f"module 'repsim' is repsim 0.1.5 ({PYPI}), expected" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_toolkit_is_said_to_be_missing():
    with pytest.raises(rs.UsageError) as error:
        load("no_such_kit", "f", toolkit="a kit", remedy="pip install kit")
    assert str(error.value) == (
        "cannot import no_such_kit (No module named 'no_such_kit'); no module 'no_such_kit' is "
        "installed, expected a kit; pip install kit"
    )


def test_a_toolkit_that_breaks_on_import_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_kit.py").write_text("import numpy\nnumpy.no_such_name\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(rs.UsageError, match=r"no_such_name.*'broken_kit' is at .*expected a kit"):
        load("broken_kit", toolkit="a kit", remedy="pip install kit")


def test_nothing_of_a_toolkit_is_imported_before_it_is_used():
    kits = {"rsatoolbox", "netrep", "similarity", "simtorch", "repsim"}
    script = (
        "import sys, repsim_toolkits, repsim_toolkits.rsatoolbox, repsim_toolkits.netrep, "
        "repsim_toolkits.similarity_repository; "
        f"print(sorted({kits} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
