"""The command ``repsim doctor``: exit codes, text and JSON."""

import json

import pytest
import torch

from repsim_energy.cli import main
from repsim_energy.doctor import examination
from repsim_energy.doctor.examination import all_checks


@pytest.fixture
def run(capsys, monkeypatch):
    """Run the command in this process; a few checks stand for all."""
    chosen = [(d, c) for d, c in all_checks() if c.name in ("patch basis", "class correlations")]
    monkeypatch.setattr(examination, "all_checks", lambda: iter(chosen))

    def command(*args, before=()):
        with pytest.raises(SystemExit) as stop:
            main([*before, "doctor", *args])
        return stop.value.code, capsys.readouterr()

    return command


def test_a_healthy_machine_is_exit_code_0(run):
    code, said = run()
    assert code == 0
    assert said.out.splitlines()[-1] == "all 2 checks passed"
    assert f"torch {torch.__version__}" in " ".join(said.out.split())
    assert said.err == ""


def test_a_wrong_number_is_exit_code_1(run, monkeypatch):
    eigh = torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: [t + 1e-6 for t in eigh(matrix)])
    code, said = run()
    assert code == 1
    assert said.out.splitlines()[-1] == "1 of 2 checks FAILED: patch basis (cpu)"
    assert "FAILED: expected C u = e u, orthonormal" in said.out
    assert said.err == ""


def test_a_kernel_that_raises_is_no_traceback(run, monkeypatch):
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: 1 / 0)
    code, said = run("--json")
    assert code == 1
    found = json.loads(said.out)
    problems = {check["name"]: check["problem"] for check in found["checks"]}
    assert problems == {
        "patch basis": "ZeroDivisionError: division by zero",
        "class correlations": None,
    }
    assert said.err == ""


def test_json_says_what_the_text_says(run):
    _, text = run()
    code, said = run("--json")
    found = json.loads(said.out)
    assert code == 0
    assert found["passed"] is True
    assert found["summary"] == text.out.splitlines()[-1]
    for check in found["checks"]:
        assert check["name"] in text.out
        assert check["passed"] is True
        assert check["deviation"] <= check["allowed"]
    words = " ".join(text.out.split())
    for answers in found["facts"].values():
        for name, answer in answers.items():
            if name not in ("disk at the cache", "memory"):  # which change meanwhile
                assert f"{name} {answer}" in words


def test_a_broken_plugin_is_listed_and_changes_no_number(run, install):
    install("broken", "import no_such_package")
    code, said = run()
    assert code == 0
    assert said.err == ""
    line = "plugin broken of broken 1.0: failed; cannot be loaded: ModuleNotFoundError"
    assert line in " ".join(said.out.split())
    found = json.loads(run("--json")[1].out)
    assert {p["name"]: p["status"] for p in found["plugins"]}["broken"] == "failed"
    alone = json.loads(run("--json", before=["--no-plugins"])[1].out)
    assert {p["distribution"] for p in alone["plugins"]} == {"repsim-energy"}
