"""The distributions of this repository use public names alone, as everybody's have to."""

import ast
from pathlib import Path

import pytest

import repsim_energy as rs
from repsim_energy import testing

ROOT = Path(__file__).parents[2]
FOLDERS = sorted(path.parent for path in ROOT.glob("[pd]*/*/pyproject.toml"))
PUBLIC = {"repsim_energy": {*rs.__all__, "testing"}, "repsim_energy.testing": {*testing.__all__}}


def private_names(source):
    """Yield what of repsim_energy is imported, or taken from it by a dot, without being public."""
    tree = ast.parse(source)
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in (a for a in node.names if a.name.split(".")[0] == "repsim_energy"):
                if name.name not in PUBLIC:
                    yield name.name
                aliases[name.asname or "repsim_energy"] = PUBLIC.get(name.name, set())
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("repsim_energy"):
            known = PUBLIC.get(node.module, set()) if not node.level else set()
            if node.module == "repsim_energy" or node.module.startswith("repsim_energy."):
                yield from (f"{node.module}.{a.name}" for a in node.names if a.name not in known)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            known = aliases.get(node.value.id)
            if known is not None and node.attr not in known:
                yield f"{node.value.id}.{node.attr}"


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import repsim_energy as rs\nrs.compare\nrs.registry", ["rs.registry"]),
        (
            "from repsim_energy.testing import check_model, MetricFixture",
            ["repsim_energy.testing.MetricFixture"],
        ),
        (
            "from repsim_energy.registry import load_registry",
            ["repsim_energy.registry.load_registry"],
        ),
        ("import repsim_energy.numerics.cka.streaming", ["repsim_energy.numerics.cka.streaming"]),
        ("from repsim_energy_extra import x\nfrom repsim_energy import hookimpl, testing", []),
    ],
)
def test_private_names_are_found(source, found):
    assert list(private_names(source)) == found


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_distribution_uses_public_names_alone(folder):
    for path in folder.rglob("*.py"):
        assert list(private_names(path.read_text())) == [], path


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_core_knows_nothing_of_a_distribution(folder):
    module = folder.name.replace("-", "_")
    for path in (ROOT / "repsim_energy").rglob("*.py"):
        assert module not in path.read_text(), path
