"""Facts of a report, and its format."""

import os
import tomllib
from pathlib import Path

import pytest
import torch

from repsim_energy.doctor import facts, report, requirements
from repsim_energy.doctor.checks import Finding
from repsim_energy.doctor.facts import machine_facts
from repsim_energy.numerics import processor
from repsim_energy.registry import Plugin
from repsim_energy.versions import NOT_INSTALLED, Origin

ROOT = Path(__file__).parents[2]


def finding(**changes):
    known = {
        "name": "patch basis",
        "device": "cpu",
        "threads": 2,
        "expected": "C u = e u",
        "deviation": 1e-15,
        "allowed": 1e-12,
        "seconds": 0.1,
        "problem": None,
        "warnings": (),
    }
    return Finding(**{**known, **changes})


def test_every_dependency_has_its_version(monkeypatch):
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    names = {line.partition(">")[0] for line in stated}
    found = requirements.versions()
    assert names | {"python", "repsim-energy"} <= found.keys()
    assert found["torch"] == torch.__version__
    assert not {name for name in names if found[name] == NOT_INSTALLED}


def test_an_installed_distribution_states_its_dependencies_itself(monkeypatch):
    lines = [
        "torch>=2.10",
        "no-such-thing>=1; python_version>'3'",
        'pytest>=8; extra == "test"',
        'neither-this; extra == "test"',
        'repsim-energy[plot]; extra == "test"',
    ]
    monkeypatch.setattr(requirements.metadata, "requires", lambda name: lines)
    assert requirements.required() == {
        "torch": False,
        "no-such-thing": False,
        "pytest": True,
        "neither-this": True,
    }
    found = requirements.versions()
    assert found["no-such-thing"] == NOT_INSTALLED
    assert "neither-this" not in found
    assert found["pytest"] == pytest.__version__


def test_settings_that_change_kernels_are_told_and_others_are_not(monkeypatch):
    told = {
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "default",
        "OMP_NUM_THREADS": "1",
        "MKL_CBWR": "COMPATIBLE",
        "OPENBLAS_CORETYPE": "Haswell",
    }
    for name, value in {**told, "API_TOKEN": "secret", "MY_OMP_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    found = machine_facts()["environment"]
    assert told.items() <= found.items()
    assert "secret" not in found.values()


def test_the_home_folder_is_not_told(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "kept"))
    found = machine_facts()
    assert found["cache"]["folder"] == f"~{os.sep}kept"
    assert str(tmp_path) not in str(found)


def test_the_cache_is_measured(fresh_cache):
    for run in ("a", "b"):
        (fresh_cache / "runs" / run).mkdir(parents=True)
        (fresh_cache / "runs" / run / "run.json").write_bytes(b"x" * 1024)
    (fresh_cache / "runs" / ".tmp-c").mkdir()  # under way
    (fresh_cache / "images").write_bytes(b"x" * 3 * 2**20)
    found = machine_facts()["cache"]
    assert (found["runs"], found["size"]) == ("2", "3.0 MB")


def test_what_cannot_be_found_out_says_why(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(facts, "processor_name", lambda: 1 / 0)
    found = machine_facts()
    assert "cannot be created" in found["cache"]["size"]
    assert found["machine"]["processor"] == "unknown (ZeroDivisionError: division by zero)"


@pytest.mark.parametrize(
    ("content", "name", "features"),
    [
        (
            "model name\t: Xeon 9\nflags\t\t: fpu avx avx2 smep avx512_vnni amx_int8 fma aes\n",
            "Xeon 9",
            "avx avx2 avx512_vnni amx_int8 fma",
        ),
        (
            "processor : 0\nFeatures : fp asimd asimdhp sve i8mm bf16 sha2\n",
            None,
            "asimd asimdhp sve i8mm bf16",
        ),
    ],
)
def test_linux_is_asked_for_its_processor(content, name, features, tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    processor.CPUINFO.write_text(content)
    assert processor.processor_features() == features
    assert name is None or processor.processor_name() == name


def test_torch_is_asked_where_the_system_does_not_say(tmp_path, monkeypatch):
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "nothing")
    monkeypatch.setattr(
        torch.cpu,
        "get_capabilities",
        lambda: {"avx2": True, "amx_int8": False, "sse": True},
        raising=False,
    )
    assert processor.processor_features() == "avx2"


def test_a_report_is_narrow_plain_text():
    long = "RuntimeError: " + "mat1 and mat2 shapes cannot be multiplied; " * 5
    broken = Plugin(
        "broken", Origin("broken-plugin", "1.0"), problems=["cannot be loaded: " + long]
    )
    lines = [
        *report.format_facts(machine_facts(), [broken]),
        report.format_finding(finding(problem=long, deviation=None, warnings=(long,))),
        report.summarize([finding(name=f"check {i}", problem=long) for i in range(30)]),
    ]
    text = "\n".join(lines)
    assert max(map(len, text.splitlines())) < 100
    assert "\x1b" not in text
    assert (
        "plugin        broken of broken-plugin 1.0: failed; cannot be loaded: RuntimeError" in text
    )


def test_the_last_line_counts():
    good, bad = finding(), finding(name="patch autocovariance", problem="off")
    assert report.summarize([good, good]) == "all 2 checks passed"
    assert report.summarize([good, bad]) == "1 of 2 checks FAILED: patch autocovariance (cpu)"
    assert report.format_finding(bad).splitlines()[1] == "        FAILED: expected C u = e u; off"
