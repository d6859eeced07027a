"""Files are UTF-8 whatever the locale says."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import repsim_energy

PACKAGE = Path(repsim_energy.__file__).parent
CODE = r"""
import sys
from pathlib import Path
from repsim_energy.experiments.report import read_rows, write_rows
folder = Path(sys.argv[1])
row = dict.fromkeys(("scale", "scale_summary", "recipe", "figure"), "")
row |= {"seconds": 1.0, "names": ["fig4"], "title": "t \u2192 \u221e"}
row |= {name: [] for name in ("data", "missing", "failures", "quantities")}
write_rows(folder, {"fig4": row})
write_rows(folder, read_rows(folder))
"""


@pytest.mark.process
def test_pages_are_written_where_the_locale_has_no_such_letters(tmp_path):
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = os.pathsep.join([str(PACKAGE.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, **plain, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr
    assert "t \u2192 \u221e" in (tmp_path / "reproduction.md").read_text(encoding="utf-8")


def test_no_text_is_read_or_written_without_saying_how():
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                named = {word.arg for word in node.keywords}
                wanted = node.func.attr in ("read_text", "write_text")
                assert not wanted or "encoding" in named, f"{path}:{node.lineno}"
