"""Paths of any characters, in specs and from Python."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import save_file

import repsim_energy as rs
from repsim_energy.comparison.given import as_datasets, as_models
from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.options import path_of
from repsim_energy.registry import load_dataset, load_registry
from repsim_energy.specs import parse_chain, parse_spec, split_list, write_spec

NAMES = [
    "pl+us",
    "a+random_labels",
    "com,ma",
    "run:seed=3",
    "e=q",
    "~",
    "bl ank ",
    "[br]ack{et}s",
    "it's",
    "'quoted'",
    '"double"',
    "фото",
    "照片",
    "a:b",
    "x+y,z:k='v'",
]


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
        tmp_path / "home" / "x.npz",
        train_images=np.zeros((4, 8, 8, 3), np.uint8),
        train_labels=[0] * 4,
    )
    registry = load_registry(plugins=False)
    assert len(load_dataset(registry, "npz:path=~/x.npz").train) == 4
    (tmp_path / "~").mkdir()
    np.savez(
        tmp_path / "~" / "x.npz",
        train_images=np.zeros((5, 8, 8, 3), np.uint8),
        train_labels=[0] * 5,
    )
    assert len(load_dataset(registry, "npz:path=~/x.npz").train) == 5


@pytest.fixture
def lying_about(tmp_path, monkeypatch):
    """Make the files of these names, here, and return where that is."""

    def make(*names):
        for name in names:
            (tmp_path / name).mkdir()
        return tmp_path

    monkeypatch.chdir(tmp_path)
    return make


AMBIGUOUS = {
    "folder:path=run:seed=3": ["run:seed=3", "run"],
    "folder:path=run:seed=3:limit=2": ["run:seed=3", "run"],
    "folder:path=run:seed=3:limit=4": ["run:seed=3:limit=4", "run"],
    "folder:path=photos ": ["photos ", "photos"],
    "folder:path=photos +random_labels": ["photos ", "photos"],
    "folder:path=a+b": ["a+b", "a"],
    "folder:path=a+b:limit=3": ["a+b", "a"],
    "folder:path=a+b+random_labels": ["a+b", "a"],
    "folder:path=x+y+z": ["x+y+z", "x+y"],
    "folder:path=x+y:limit=3": ["x+y:limit=3", "x+y"],
}


@pytest.mark.parametrize(
    ("text", "both"),
    [
        *((text, True) for text in AMBIGUOUS),
        *((text, False) for text in AMBIGUOUS if "+" not in text),  # a plus belongs to the only one
        ("folder:path=photos +random_labels", False),
    ],
)
def test_a_spec_that_could_mean_two_paths_is_refused(lying_about, text, both):
    longer, taken = AMBIGUOUS[text]
    lying_about(longer, *([taken] if both else []))
    with pytest.raises(UsageError, match=r"could mean .*; quote the path, path=") as error:
        parse_chain(text)
    for path in (longer, taken):
        assert f"'{path}'" in str(error.value)
        after = text.removeprefix(f"folder:path={path}")
        parsed = parse_chain(f"folder:path='{path}'{after}")
        assert parsed[0].options["path"] == path


@pytest.mark.parametrize(
    ("text", "longer", "taken"),
    [
        ("folder:path=a,b", "a,b", "a"),
        ("folder:path=a,vgg11:width=2", "a,vgg11:width=2", "a"),
        ("mine=checkpoint:path=a, b", "a, b", "a"),
        ("folder:path=a ,b", "a ", "a"),
        ("vgg11,folder:path=a ", "a ", "a"),
    ],
)
def test_a_list_that_could_be_a_path_is_refused(lying_about, text, longer, taken):
    split_list(text)
    lying_about(longer)
    with pytest.raises(UsageError, match=f"could mean '{longer}' or .*'{taken}'"):
        split_list(text)
    items = split_list(text.replace(longer, f"'{longer}'"))
    assert any(item.endswith(f"path='{longer}'") for item in items)


@pytest.mark.parametrize(
    "text",
    [
        "folder:path=run:limit=3",
        "folder:path=a+random_labels:seed=1",
        "folder:path= a",
        "vgg11:width=0.5",
        "folder:path=" + "x" * 5000,
    ],
)
def test_specs_that_can_mean_but_one_thing_stay(lying_about, text):
    expected = parse_chain(text)
    lying_about("run", "a", "limit=3", "b", "seed=3")
    assert parse_chain(text) == expected
    assert split_list(text) == [text]


def test_a_plus_belongs_to_the_only_path_there_is_and_options_follow_it(lying_about):
    lying_about("a+b")
    first, second = parse_chain("folder:path=a+b:limit=3+random_labels:seed=1")
    assert first.options == {"path": "a+b", "limit": "3"}
    assert second.options == {"seed": "1"}


@pytest.mark.skipif(os.name != "posix", reason="the system has no such names")
@pytest.mark.parametrize("name", ["run:seed=3", "photos ", " photos", "a+b", "a,b", "it's 'x':k=1"])
def test_from_python_every_path_is_what_it_is(lying_about, name):
    for path in ("run", "photos", "a", name):  # what else it could be taken for
        folder = lying_about(path) / path / "cats"
        folder.mkdir()
        for number in range(3):
            pixels = np.full((8, 8, 3), 50 * number + len(path), np.uint8)
            pixels[:4] = 7
            Image.fromarray(pixels).save(folder / f"{number}.png")
    expected = [50 * number + len(name) for number in range(3)]
    registry = load_registry(plugins=False)
    for source in (Path(name), write_spec("folder", path=Path(name))):
        (data,) = as_datasets(registry, source)
        assert data.train.images[:, 0, 7, 0].tolist() == expected


def test_home_folders_are_those_of_users(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert path_of("~/a") == tmp_path / "home" / "a"
    user = pytest.importorskip("pwd").getpwuid(os.getuid())
    assert path_of(f"~{user.pw_name}/a") == Path(user.pw_dir, "a")
    assert path_of("~nobody-at-all/a") == Path("~nobody-at-all/a")
    Path("~", "a").mkdir(parents=True)
    Path("~b.npz").touch()
    assert path_of("~/a") == Path("~/a")
    assert path_of("~b.npz") == Path("~b.npz")
    assert path_of("a/~") == Path("a/~")


def test_data_sets_are_found_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="no images at '~/nowhere-at-all'"):
        load_dataset(load_registry(plugins=False), "~/nowhere-at-all")
    (tmp_path / "shown").mkdir()
    pixels = np.zeros((4, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "shown" / "x.npz", train_images=pixels, train_labels=[0, 1] * 2)
    assert len(load_dataset(load_registry(plugins=False), "~/shown/x.npz").train) == 4


@pytest.mark.parametrize("start", ["", "~", "~/"])
def test_text_that_is_too_long_for_a_name_is_no_file(start):
    value = start + "a" * 5000
    assert parse_chain(f"folder:path={value}+random_labels")[0].options == {"path": value}
    assert path_of(value).name == ("~" if start == "~" else "") + "a" * 5000
