"""mypy accepts plugins whose types are right, and names each mistake of one whose types are not.

Without mypy, which the extra ``lint`` installs, these tests are skipped; ``.ci/run`` has it.
"""

import re
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from repsim_energy.registry.plugins import Kind
from repsim_energy.scaffold import write_plugin

pytestmark = pytest.mark.process

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
KINDS = get_args(Kind)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Return file name -> the (line, code) of each error that mypy finds there."""
    pytest.importorskip("mypy", reason="mypy is not installed; pip install '.[lint]'")
    files = sorted(HERE.glob("*_plugin.py"))
    for kind in KINDS:
        written = write_plugin(f"my-{kind}", kind, tmp_path_factory.mktemp("new"))
        files += [path for path in written if path.name == f"my_{kind}.py"]
    command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
    answer = subprocess.run(
        [*command, "--show-error-codes", "--no-pretty", *map(str, files)],
        cwd=ROOT,  # whose package is checked against, and whose cache makes it fast
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode in (0, 1), answer.stdout + answer.stderr
    errors = {file.name: [] for file in files}
    for line in answer.stdout.splitlines():
        if match := re.fullmatch(r"(.+):(\d+): error: .*\[([\w-]+)\]", line):
            errors[Path(match[1]).name].append((int(match[2]), match[3]))
    return errors


def test_a_well_typed_plugin_has_no_errors(found):
    assert found["well_typed_plugin.py"] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_is_well_typed(found, kind):
    assert found[f"my_{kind}.py"] == []


def test_each_mistake_of_an_ill_typed_plugin_is_an_error(found):
    lines = (HERE / "ill_typed_plugin.py").read_text(encoding="utf-8").splitlines()
    marked = [
        (number, match[1])
        for number, line in enumerate(lines, 1)
        if (match := re.search(r"# error: ([\w-]+)$", line))
    ]
    assert len(marked) == 10
    assert found["ill_typed_plugin.py"] == marked
