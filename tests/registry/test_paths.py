"""Paths of any characters, in specs and from Python."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import repsim_energy as rs
from repsim_energy.comparison.subjects import as_datasets, as_models
from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.registry import load_dataset, load_registry
from repsim_energy.specs import parse_chain, parse_spec, split_list, write_spec

NAMES = [
    "pl+us", "a+random_labels", "com,ma", "run:seed=3", "e=q", "~", "bl ank ", "[br]ack{et}s",
    "it's", "'quoted'", '"double"', "фото", "照片", "a:b", "x+y,z:k='v'",
]  # fmt: skip


@given(st.text(), st.text())
def test_what_is_written_reads_back(first, second):
    spec = write_spec("folder", path=first, other=second)
    assert split_list(f"a:b=1,{spec},c") == ["a:b=1", spec, "c"]
    chain = parse_chain(f"{spec}+random_labels:seed=1")
    assert [part.name for part in chain] == ["folder", "random_labels"]
    assert parse_spec(spec).options == {"path": first, "other": second}


@pytest.fixture(params=NAMES)
def images(request, tmp_path, monkeypatch):
    """A folder of a difficult name that holds images, seen from the folder above it."""
    monkeypatch.chdir(tmp_path)
    folder = Path(request.param)
    folder.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    np.savez(folder / "x.npz", train_images=pixels, train_labels=[0, 1] * 3)
    return folder


def test_paths_of_any_characters_are_read(images):
    registry = load_registry(plugins=False)
    path = images / "x.npz"
    for text in (path, path.absolute(), rs.write_spec("npz", path=path)):
        (found,) = as_datasets(registry, text)
        assert len(found.train) == 6
    bank = torch.rand(4, 3, 3, 3)
    save_file({"conv1.weight": bank}, images / "w.safetensors")
    for model in (
        images / "w.safetensors",
        rs.write_spec("checkpoint", path=images / "w.safetensors"),
    ):
        (spec,) = as_models(registry, model)
        taken = spec.build(2, 3)
        assert torch.equal(next(taken.module.parameters()), bank)
    with pytest.raises(UsageError, match="no folder at"):
        as_datasets(registry, images / "absent")


def test_a_folder_with_a_plus_needs_no_quotes_where_it_can_only_be_that(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b+c+d", "e", "e+random_labels"):
        Path(name).mkdir()
    assert parse_chain("folder:path=b+c+d")[0].options == {"path": "b+c+d"}
    chain = parse_chain("folder:path=b+c+d+random_labels")
    assert [part.name for part in chain] == ["folder", "random_labels"]
    with pytest.raises(UsageError, match="'e.random_labels' or variants of 'e', .* path='...'"):
        parse_chain("folder:path=e+random_labels")
    assert len(parse_chain("folder:path='e'+random_labels")) == 2
    assert len(parse_chain("folder:path='e+random_labels'")) == 1


def test_a_misspelled_variant_is_still_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    with pytest.raises(RepsimError, match="did you mean 'random_labels'"):
        load_dataset(load_registry(plugins=False), "folder:path=photos+random_lables")


@pytest.mark.parametrize("text", ["a:b='c", 'a:b="c', "a:b='c'd", "a:b='", "a:b='c''"])
def test_quotes_that_do_not_close_are_refused(text):
    with pytest.raises(UsageError, match="expected a quote at both ends"):
        parse_spec(text)


def test_the_home_folder_is_known_and_a_folder_of_that_name_is_meant_where_it_is(
    tmp_path, monkeypatch
):
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    np.savez(
        tmp_path / "home" / "x.npz", train_images=np.zeros((4, 8, 8, 3), np.uint8),
        train_labels=[0] * 4,
    )  # fmt: skip
    registry = load_registry(plugins=False)
    assert len(load_dataset(registry, "npz:path=~/x.npz").train) == 4
    (tmp_path / "~").mkdir()
    np.savez(
        tmp_path / "~" / "x.npz", train_images=np.zeros((5, 8, 8, 3), np.uint8),
        train_labels=[0] * 5,
    )  # fmt: skip
    assert len(load_dataset(registry, "npz:path=~/x.npz").train) == 5
