"""Models are called by a name that is given, or by one that is short and tells them apart."""

import json
import os
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import repsim_energy as rs
from repsim_energy.comparison.given import as_models
from repsim_energy.comparison.labels import short_labels
from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.registry import load_registry

REGISTRY = load_registry(plugins=False)


def bank(seed):
    return torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(seed))


def labels(*models):
    return [spec.label for spec in as_models(REGISTRY, list(models))]


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A function that writes checkpoints of these names into the current folder."""
    monkeypatch.chdir(tmp_path)

    def write(*names):
        for number, name in enumerate(names):
            Path(name).parent.mkdir(parents=True, exist_ok=True)
            torch.save({"c.weight": bank(number)}, name)
        return names

    return write


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.pt", "b.pt"], ["a", "b"]),
        (["runs/a/best.pt", "runs/b/best.pt", "runs/last.pt"], ["a/best", "b/best", "last"]),
        (["r/0/ckpt/x.pt", "r/1/ckpt/x.pt"], ["0/ckpt/x", "1/ckpt/x"]),
        (["w.pt", "w.ckpt"], ["w.pt", "w.ckpt"]),
        (["w.pt", "a/w.pt", "b/w.pt", "b/w.pth"], ["w.pt", "a/w.pt", "b/w.pt", "b/w.pth"]),
        (["vgg-0.95.pt", "epoch.95.weights.pth"], ["vgg-0.95", "epoch.95.weights"]),
        (["[x], y+z.pt", "фото.pt"], ["[x], y+z", "фото"]),
    ],
)
@pytest.mark.parametrize("way", ["path", "name", "spec"])
def test_files_have_short_names_that_tell_them_apart(names, expected, way, files):
    files(*names)
    models = {
        "path": [Path(name) for name in names],
        "name": list(names),
        "spec": [rs.write_spec("checkpoint", path=name) for name in names],
    }[way]
    assert labels(*models) == expected
    assert labels(*models, "vgg11") == [*expected, "vgg11"]
    assert [s.spec for s in as_models(REGISTRY, models)] == [
        rs.write_spec("checkpoint", path=name) for name in names
    ]


PARTS = st.sampled_from(["a", "b", "best", "x.pt", "w.ckpt", "c.d"])
PATHS = st.lists(PARTS, min_size=1, max_size=4).map("/".join)


@given(st.lists(PATHS, min_size=1, max_size=8, unique=True), st.sets(PARTS))
def test_labels_are_unique_and_stand_at_the_end_of_their_paths(paths, taken):
    found = short_labels([rs.write_spec("checkpoint", path=path) for path in paths], taken)
    assert len(set(found)) == len(found)
    for path, label in zip(paths, found, strict=True):
        assert f"/{path}".endswith((f"/{label}", f"/{label}.pt", f"/{label}.ckpt"))
        assert label not in taken or label == path


def test_options_tell_apart_what_is_read_from_one_file(files):
    (name,) = files("w.pt")
    options = ["", ":layer=c", ":layer=c:normalize=none"]
    specs = [f"checkpoint:path={name}{option}" for option in options]
    assert labels(*specs) == ["w", "w:layer=c", "w:layer=c:normalize=none"]
    assert labels(f"w.pt{options[1]}", specs[2]) == ["w", "w:normalize=none"]


@pytest.mark.parametrize("text", ["a.pt", "checkpoint:path=a.pt", "checkpoint:path=a.pt:layer=c"])
def test_a_name_before_the_first_equals_sign_is_the_label(text, files, pictures):
    files("a.pt", "e=q.pt")
    specs = as_models(REGISTRY, [f"my net={text}", "x = vgg11:width=0.5", "e=q.pt", "y=e=q.pt"])
    assert [spec.label for spec in specs] == ["my net", "x", "e=q", "y"]
    assert specs[0].spec.startswith("checkpoint:path=a.pt")
    assert specs[1].spec == "vgg11:width=0.5"
    result = rs.compare([f"mine={text}"], pictures)
    assert result.model.values.tolist() == ["mine"]
    assert list(json.loads(result.attrs["configuration"])["models"]) == ["mine"]
    assert result.model_spec.values.tolist() == [specs[0].spec]


@pytest.mark.parametrize(
    ("models", "words"),
    [
        (["x=vgg11", "x=resnet18"], "'x' is listed twice"),
        (["vgg11=resnet18", "vgg11"], "'vgg11' is listed twice"),
        (["a.pt", "./a.pt"], "'a' is listed twice"),
        (["a.pt", Path("a.pt")], "'a' is listed twice"),
        (["a=a.pt", "a=checkpoint:path=b/a.pt"], "'a' is listed twice"),
        (["=vgg11"], "no name before ="),
        (["x=y=vgg11"], "cannot read 'y=vgg11'"),
        ({"x": "y=vgg11"}, "got the label 'x' too"),
        (["e=q.pt"], "that file, or 'q.pt' called 'e'"),
        (["x=nowhere.pt"], "no checkpoint at 'nowhere.pt'"),
    ],
)
def test_names_that_are_not_unique_or_not_clear_are_refused(models, words, files):
    files("a.pt", "b/a.pt", "e=q.pt", "q.pt")
    with pytest.raises(UsageError, match=words) as caught:
        as_models(REGISTRY, models)
    assert "\n" not in str(caught.value)


def test_a_name_of_a_model_and_a_file_of_it_are_both_understood(files, monkeypatch):
    files("vgg11.pt", "vgg11")
    assert labels("vgg11.pt", "vgg11") == ["vgg11.pt", "vgg11"]
    assert labels("./vgg11") == ["vgg11"]
    assert labels("vgg11.pt", "vgg11=./vgg11") == ["vgg11.pt", "vgg11"]


@pytest.mark.parametrize(
    "ending",
    ["safetensors", "pt", "pth", "th", "ckpt", "bin", "PT", "pt.gz", "onnx", "h5", "keras"],
)
@pytest.mark.parametrize("folder", [".", "a b", "c=d,e", "~"])
def test_a_file_is_a_model_by_its_name(ending, folder, files):
    (name,) = files(f"{folder}/mine.{ending}")
    for model in (name, str(Path(name).absolute()), Path(name)):
        (spec,) = as_models(REGISTRY, model)
        assert spec.label == "mine"
        assert Path(spec.identity["options"]["path"]).samefile(name)


@pytest.mark.parametrize("text", ["mien.pt", "./mien.pt", "x=mien.pt:layer=c", "{cwd}/mien.pt"])
def test_a_file_that_is_not_there_is_said_with_one_that_resembles_it(text, files):
    files("mine.pt", "readme.txt")
    with pytest.raises(UsageError, match=r"no checkpoint at .*mien.pt'.*mean '.*mine.pt'"):
        as_models(REGISTRY, text.format(cwd=os.getcwd()))
    for other in (
        "zzz.pt",
        "/nowhere/at/all.h5",
        "~nobody/w.pt",
        "no\0name.pt",
        "x" * 5000 + ".pt",
    ):
        with pytest.raises(RepsimError, match="no checkpoint at") as caught:
            as_models(REGISTRY, other)
        assert "did you mean" not in str(caught.value)
    with pytest.raises(UsageError, match="unknown model 'mine'"):
        as_models(REGISTRY, "mine")


def test_objects_beside_names_keep_their_numbers():
    assert labels(bank(0), bank(1), "vgg11", bank(2)) == [
        "filters",
        "filters#1",
        "vgg11",
        "filters#3",
    ]


def test_seven_networks_are_told_apart_at_80_columns(files, repsim, pictures_npz, tmp_path):
    names = files(*(f"runs/seed_{n}/best.pt" for n in range(7)))
    done = repsim(
        "compare",
        "--models",
        ",".join(names),
        "--dataset",
        f"npz:path={pictures_npz}",
        "-q",
        "-o",
        str(tmp_path / "r.nc"),
        COLUMNS="80",
    )
    assert done.returncode == 0, done.stderr
    expected = [f"seed_{n}/best" for n in range(7)]
    assert rs.open_result(tmp_path / "r.nc").model.values.tolist() == expected
    assert all(f"{label} " in done.stdout for label in expected)


def test_a_result_does_not_replace_a_file_that_is_a_model(files, repsim, pictures_npz):
    (name,) = files("w.pt")
    for model in (name, f"mine={name}", f"mine=checkpoint:path={name}", f"./{name}:layer=c"):
        done = repsim(
            "compare", "--models", model, "--dataset", f"npz:path={pictures_npz}", "-o", name
        )
        assert done.returncode == 2
        assert "is read by this command" in done.stderr
