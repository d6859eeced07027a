"""The first layers that come with the package say where they are from, and carry their licenses."""

import json
import re
from importlib.resources import files

import numpy as np
import pytest
import torch
from safetensors import safe_open

import repsim_energy as rs

ATLAS = files("repsim_energy") / "atlas"
FILE = ATLAS / "first-layers.safetensors"
OWN = {f"{name}_{stage}" for name in ("vgg11", "resnet18") for stage in ("init", "trained")}
PERMISSIVE = {"MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "CC0-1.0"}


@pytest.fixture(scope="module")
def stored():
    """Cards and tensors as they are in the file."""
    with safe_open(str(FILE), "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["cards"]), tensors


def test_every_layer_has_its_source_and_the_license_of_it(stored):
    cards, tensors = stored
    licenses = (ATLAS / "LICENSES.txt").read_text("utf-8")
    names = {re.split(r"\.(?:conv1|bn1|affine)\.", name)[0] for name in tensors}
    for name in cards:
        weight = tensors[f"{name}.conv1.weight"]
        assert weight.ndim == 4, name
        assert weight.isfinite().all(), name
        assert abs(weight).max() > 0, name
    assert names == set(cards)
    for name, card in cards.items():
        repository = re.match(r"(?:github\.com/)?([^@:]+?)(?:@| [\d.]+ :| :)", card["source"])[1]
        repository = repository.strip().removeprefix("PyPI ")
        prefix = [line for line in licenses.splitlines() if repository in line and ": " in line]
        assert prefix, name
        stems = [stem for line in prefix for stem in line.split(": ")[0].split(", ")]
        assert any(re.fullmatch(stem.replace("*", ".+"), name) for stem in stems), name
        assert card["license"] in PERMISSIVE, name
        assert any(line.endswith(card["license"]) for line in prefix), name
        assert re.fullmatch(r"[0-9a-f]{64}", card["source_sha256"]), name
        assert card["channels"] in ("RGB", "BGR", "grey"), name


def test_the_file_is_small():
    assert len(FILE.read_bytes()) < 300_000


def test_entries_have_rgb_filters_and_the_norm_of_their_cards(stored):
    cards, tensors = stored
    atlas = rs.open_atlas()
    assert set(atlas) == set(cards) | OWN
    for name, card in cards.items():
        entry, weight = atlas[name], tensors[f"{name}.conv1.weight"]
        wanted = weight.flip(1) if card["channels"] == "BGR" else weight
        assert torch.equal(entry.filters, wanted), name
        if entry.norm == "beside" and f"{name}.affine.weight" not in tensors:
            variance = tensors[f"{name}.bn1.running_var"].double() + card["bn_eps"]
            gamma = tensors.get(f"{name}.bn1.weight", torch.ones_like(variance)).double()
            factor = (gamma / variance.sqrt())[:, None, None, None]
            assert torch.allclose(entry.folded.double(), wanted * factor, rtol=1e-6), name
        elif entry.norm != "beside":
            assert torch.equal(entry.folded, wanted), name
        assert (entry.norm == "folded by its authors") == (card["bn_folded"] is True), name
    assert sum(entry.norm == "beside" for entry in atlas.values()) > 10


def test_most_families_are_there_once():
    families = [entry.family for entry in rs.open_atlas().values()]
    once = [family for family in families if families.count(family) == 1]
    assert len(once) >= 12
    assert len(set(families)) >= 18


def test_own_entries_are_the_runs_of_the_example_result():
    atlas, result = rs.open_atlas(), rs.example_result()
    components = result["components"].values[0].reshape(27, 27)
    for model, name in (("vgg", "vgg11"), ("resnet", "resnet18")):
        for stage in ("init", "trained"):
            stored = result.energy.sel(model=model, stage=stage, seed=0).values.ravel()
            responses = atlas[f"{name}_{stage}"].filters.double().numpy().reshape(-1, 27)
            profile = np.sqrt(((responses @ components.T) ** 2).mean(0))
            np.testing.assert_allclose(profile, stored, rtol=1e-6)
