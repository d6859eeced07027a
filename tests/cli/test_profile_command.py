"""The command ``repsim profile``."""

import json
import os
import re
import shutil
import tarfile
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from samples import LEAVES, TINY

import repsim_energy as rs
from repsim_energy.data import deadleaves

ENTRY = "ssrnet_imdb"
PAGE = Path(__file__).parents[2] / "docs/how-to/profile-a-network.md"


@pytest.fixture
def weights(tmp_path):
    """A file with the filters of an entry of the atlas, one of them dead and two duplicates."""
    filters = rs.open_atlas()[ENTRY].filters.clone()
    filters[1], filters[2] = 0, 2 * filters[3]
    save_file({"conv1.weight": filters.contiguous()}, tmp_path / "mine.safetensors")
    return tmp_path / "mine.safetensors"


def test_the_page_has_the_numbers_of_the_python_call(repsim, weights, tmp_path):
    done = repsim("profile", str(weights), "--images", LEAVES, "-o", str(tmp_path / "x.nc"))
    assert done.returncode == 0, done.stderr
    result = rs.profile_network(weights, LEAVES)
    own = result.isel(model=0).squeeze()
    text = " ".join(done.stdout.split())
    fit, steps = (
        own[name].sel(stage="trained").item() for name in ("fit_correlation", "fit_steps")
    )
    for part in (
        "mine: 32 filters 3x3x3 of layer conv1",
        f"on the patches of {LEAVES} theory: r {fit:.3f} at t = {steps:.4g}",
        f"distance to whitening: {own.whitening_distance.item():.3f} (0 whitening",
        f"effective rank {own.filters_effective_rank.item():.1f} (white random filters 14.4)",
        f"dead 1, duplicates 1, sparsity {own.filters_sparsity.item():.3f}",
        "warning: 1 of 32 filters are dead",
        "warning: 1 of 32 filters are duplicates of others (|cosine| above 0.99, 1 group)",
        "most similar of 23 networks of the atlas (14 see patches of other sizes):",
        "r of white random filters: 95% between -0.381 and 0.381",
        "random filters with its neighbor and color correlations: "
        f"r below {result.smooth_threshold.item():.3f}, "
        f"r beyond theory below {result.smooth_beyond_threshold.item():.3f}",
    ):
        assert part in text, part
    assert "the default" not in text
    similarity = result.similarity.isel(model=0).squeeze().drop_sel(model_ref="mine")
    ordered = similarity.sortby(-similarity)
    rows = [re.split(r"\s*[│┃]\s*", line)[1:5] for line in done.stdout.splitlines() if "│" in line]
    assert [row[0] for row in rows] == ordered.model_ref.values[:8].tolist()
    assert [row[2] for row in rows] == [f"{value:.3f}" for value in ordered.values[:8]]
    assert rows[0][:2] == [ENTRY, "SSR-Net"]
    beyond = result.beyond_theory.isel(model=0).squeeze().drop_sel(model_ref="mine")
    best = beyond.idxmax().item()
    assert f"most similar beyond the theory: {best} {beyond.max().item():.3f}" in text
    stored = rs.open_result(tmp_path / "x.nc")
    np.testing.assert_array_equal(stored.similarity, result.similarity)
    assert stored.attrs["command"]


def test_the_page_fits_80_columns(repsim, weights, monkeypatch):
    monkeypatch.setattr(deadleaves, "DEFAULT_IMAGES", {"train": 120, "test": 40})
    done = repsim("profile", str(weights), "--nearest", "3", COLUMNS="80")
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stdout.count("│") == 5 * 3
    assert "deadleaves (rendered, the default" in done.stdout


def test_json_has_the_result(repsim, weights):
    done = repsim("profile", str(weights), "--images", LEAVES, "--json")
    found = json.loads(done.stdout)
    assert found["attrs"]["profiled"] == "mine"
    assert found["data_vars"]["filters_dead"]["data"][0][0] == [1.0]


def test_the_report_is_of_the_network_and_its_nearest(repsim, weights, tmp_path):
    pytest.importorskip("jinja2")
    pytest.importorskip("matplotlib")
    page = tmp_path / "page.html"
    done = repsim(
        "profile", str(weights), "--images", LEAVES, "--nearest", "2", "--report", str(page)
    )
    assert done.returncode == 0, done.stderr
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!doctype html>")
    assert ENTRY in text
    assert f">{ENTRY}<" in text
    assert ">abcrown_resnet2b<" not in text


def test_kernels_without_entries_are_profiled_alone(repsim, tmp_path):
    save_file({"conv1.weight": torch.randn(6, 3, 2, 2)}, tmp_path / "a.safetensors")
    done = repsim("profile", str(tmp_path / "a.safetensors"), "--images", LEAVES)
    assert done.returncode == 0, done.stderr
    assert "nothing to compare with: 0 networks of the atlas (37 see patches" in done.stdout
    assert "variance entropy" not in done.stdout


def test_filters_that_the_theory_does_not_describe_say_so(repsim, tmp_path):
    torch.manual_seed(0)
    save_file({"conv1.weight": torch.randn(64, 3, 3, 3)}, tmp_path / "noise.safetensors")
    done = repsim("profile", str(tmp_path / "noise.safetensors"), "--images", LEAVES)
    assert "it does not describe this network" in " ".join(done.stdout.split())
    assert "most similar beyond the theory" not in done.stdout


def test_an_architecture_is_trained(repsim, fresh_cache):
    recipe = "quick:steps=4:batch=20:snapshots=2:precision=float32"
    done = repsim("profile", TINY, "--images", LEAVES, "--recipe", recipe, "--jobs", "1")
    assert done.returncode == 0, done.stderr
    assert f"{TINY}: 8 filters 3x3x3" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["vgg11,resnet18"], "got 2 networks ('vgg11', 'resnet18'), expected one"),
        (["no.safetensors"], "no checkpoint at 'no.safetensors'"),
        (["vgg11", "--images", "./none"], "no images at './none'"),
        (["vgg11", "-o", "nowhere/x.nc"], "nowhere"),
        (["vgg11", "--report", "nowhere/x.html"], "nowhere"),
    ],
)
def test_what_cannot_be_done_ends_with_one_line(repsim, arguments, line):
    done = repsim("profile", *arguments)
    assert done.returncode == 2
    assert line in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_no_input_is_written_over(repsim, weights):
    before = weights.read_bytes()
    done = repsim("profile", str(weights), "-o", str(weights))
    assert done.returncode == 2
    assert "is read by this command" in done.stderr
    assert weights.read_bytes() == before


def test_the_page_lists_the_atlas():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    entries = {
        name: f"{entry.filters.shape[0]} of {'x'.join(map(str, entry.filters.shape[2:]))}x"
        f"{entry.filters.shape[1]} | {entry.family} | {entry.trained_on} | {entry.norm} | "
        f"{entry.license}"
        for name, entry in rs.open_atlas().items()
    }
    assert dict(rows) == entries
    assert f"\n{len(entries)} first layers" in PAGE.read_text("utf-8")


@pytest.mark.slow
def test_the_page_shows_what_is_printed(repsim, tmp_path, monkeypatch):
    folder = Path(os.environ.get("REPSIM_TEST_IMAGES", "/nowhere"))
    if not (folder / "networks/whole").is_dir():
        pytest.skip("REPSIM_TEST_IMAGES names no folder with networks/")
    monkeypatch.chdir(tmp_path)
    shutil.copy(folder / "networks/whole/mtcnn_rnet.safetensors", tmp_path)
    with tarfile.open(folder / "images/imagenet-samples-224.tar") as archive:
        archive.extractall(tmp_path / "photos", filter="data")
    network = ("mtcnn_rnet.safetensors", "--images", "photos", "--nearest", "5")
    done = repsim("profile", *network, COLUMNS="80")
    lines = PAGE.read_text("utf-8").splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("    mtcnn_rnet"))
    end = next(i for i, line in enumerate(lines) if i > start and not line)
    number = re.compile(r"-?\d+\.\d+")
    shown = textwrap.dedent("\n".join(lines[start:end]))
    assert number.sub("#", done.stdout.strip()) == number.sub("#", shown)
    found, wanted = (
        [float(value) for value in number.findall(text)] for text in (done.stdout, shown)
    )
    np.testing.assert_allclose(found, wanted, atol=0.011)
