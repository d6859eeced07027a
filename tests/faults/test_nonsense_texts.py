"""Texts that are no specs, and files that say that they are huge, give a typed error."""

import io
import json
import struct
import warnings
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from nonsense import examples, outcome
from numpy.lib import format as npy

import repsim_energy as rs
from repsim_energy.cli.parameters import parse_numbers, parse_seeds, parse_units, parse_words
from repsim_energy.errors import RepsimError
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.feature_files import read_features
from repsim_energy.specs import parse_chain, parse_spec
from repsim_energy.training.recipe import parse_recipe

PIECES = [
    "vgg11", "resnet18", "deadleaves", "checkpoint", "features", "npz", "folder", "energy", "cka",
    "quick", "path", "width", "classes", "limit", "seed", "steps", "lr", ":", "=", "+", ",", "/",
    "-", "0", "1", "0.25", "-1", "1e400", "nan", "inf", "true", "None", "..", "\0", "\n", " ", "'",
    "é", "\udce9", "[", "]", "{", "*", "%s", "$(x)", "__class__", "9" * 30, "x" * 300,
]  # fmt: skip
NEAR = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)
TEXTS = NEAR | NEAR | st.text(max_size=30)
MANY = [20, pytest.param(400, marks=pytest.mark.faults)]

PARSERS = {
    "spec": parse_spec,
    "chain": parse_chain,
    "recipe": parse_recipe,
    "seeds": lambda text: parse_seeds(text, "--seeds"),
    "numbers": lambda text: parse_numbers(text, "--components"),
    "units": lambda text: parse_units(text, "--unit"),
    "words": lambda text: parse_words(text, "--fold"),
    "run": rs.open_run,
}


@pytest.mark.parametrize("count", MANY)
@pytest.mark.parametrize("parser", PARSERS)
def test_texts_are_parsed_or_refused(parser, count, fresh_cache):
    @examples(count)
    @given(TEXTS)
    def check(text):
        outcome(lambda: str(PARSERS[parser](text)))

    check()


IMAGES = torch.rand(20, 3, 8, 8, generator=torch.Generator().manual_seed(0))
BANK = torch.rand(4, 3, 3, 3, generator=torch.Generator().manual_seed(1))

ARGUMENTS = {
    "metric": st.sampled_from(["energy:", "cka:", "covariance:"]).flatmap(
        lambda start: TEXTS.map(start.__add__)
    )
    | TEXTS,
    "recipe": TEXTS.map("quick:".__add__) | TEXTS | st.none() | st.integers(),
    "stage": TEXTS | st.none() | st.integers(),
    "patch": TEXTS | st.lists(st.integers(-1, 9), max_size=3) | st.integers() | st.floats(),
    "null": TEXTS | st.none(),
    "seeds": st.integers(-3, 3) | st.lists(st.integers(-3, 3), max_size=3) | TEXTS | st.floats(),
    "layers": TEXTS | st.lists(TEXTS, max_size=2),
    "fold": TEXTS,
    "channels": TEXTS,
    "normalize": TEXTS,
    "device": TEXTS,
    "scheduler": TEXTS.filter(lambda text: "local" not in text),
    "resamples": st.integers(-3, 3),
    "jobs": st.integers(-3, 0) | TEXTS,
}


@pytest.mark.parametrize("count", [3, pytest.param(60, marks=pytest.mark.faults)])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_of_compare_are_used_or_refused(name, count, fresh_cache):
    @examples(count)
    @given(ARGUMENTS[name])
    def check(value):
        outcome(rs.compare, {"a": BANK, "b": -BANK}, IMAGES, quiet=True, **{name: value})

    check()


@pytest.mark.parametrize("count", [10, pytest.param(400, marks=pytest.mark.faults)])
@pytest.mark.parametrize("kind", ["model", "data set"])
def test_names_of_models_and_data_sets_are_found_or_refused(kind, count, fresh_cache, tmp_path):
    @examples(count)
    @given(TEXTS)
    def check(text):
        if kind == "model":
            outcome(rs.profile_network, f"checkpoint:path={tmp_path}/absent.pt:{text}", IMAGES)
        else:
            outcome(rs.load_images, f"npz:path={tmp_path}/absent.npz:{text}")
            outcome(rs.load_images, f"idx:path={tmp_path}+{text}")

    check()


HUGE = [(2**40, 3, 32, 32), (2**62,), (2**63 - 1, 2), (1, 2**31, 2**31), (-1, 3), (2**20,) * 4]


def npy_header(shape, descr="<f4"):
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})
    return file.getvalue() + b"\0" * 64


def npz(shape):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in ("train_images", "train_labels", "fc", "ids"):
            archive.writestr(f"{name}.npy", npy_header(shape))
    return file.getvalue()


def safetensors(shape):
    size = 4 * int(np.prod([float(n) for n in shape]))
    header = {"conv1.weight": {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + b"\0" * 64


def idx(shape):
    return b"\0\0\x08\x03" + b"".join(struct.pack(">I", n % 2**32) for n in (*shape, 9, 9, 9)[:3])


def pytorch(shape):
    """A zip whose tensor says another shape than its storage has room for."""
    file = io.BytesIO()
    torch.save({"conv1.weight": torch.ones(2, 3, 3, 3)}, file)
    content = bytearray(file.getvalue())
    at = content.find(b"(K\x02K\x03K\x03K\x03t")
    content[at : at + 10] = b"(M\xff\xffK\x03K\x03t"
    return bytes(content)


READERS = {
    "npz of images": ("x.npz", npz, lambda p: rs.load_images(f"npz:path={p}")),
    "npz of features": ("x.npz", npz, read_features),
    "chunk": ("x.npy", npy_header, lambda p: rs.patch_moments_of_chunks([p], (3, 3))),
    "safetensors": ("x.safetensors", safetensors, lambda p: checkpoint(10, 3, path=p)),
    "sums": (
        "sums",
        safetensors,
        lambda p: rs.patch_moments_of_chunks([lambda: IMAGES], (3, 3), checkpoint=p),
    ),
    "idx": ("train-images-idx3-ubyte", idx, lambda p: rs.load_images(f"idx:path={p.parent}")),
    "pytorch": ("x.pt", pytorch, lambda p: checkpoint(10, 3, path=p)),
}


@pytest.mark.parametrize("shape", HUGE, ids=str)
@pytest.mark.parametrize("reader", READERS)
def test_small_files_that_say_they_are_huge_are_refused(reader, shape, tmp_path):
    """Before the memory is asked for: none of these files has more than 2 KB."""
    name, content, read = READERS[reader]
    path = tmp_path / name
    path.write_bytes(content(shape))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x02\0\1")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RepsimError) as caught:
            read(path)
    assert "\n" not in str(caught.value)
