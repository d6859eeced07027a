"""What a user, a name or a link states of a file is compared with its content."""

import hashlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

import repsim_energy as rs
from repsim_energy.errors import FileError, RepsimWarning, UsageError
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.feature_files import read_features
from repsim_energy.models.files.reader import read_file

RNG = torch.Generator().manual_seed(0)
STATE = {
    "conv1.weight": torch.randn(4, 3, 3, 3, generator=RNG),
    "conv2.weight": torch.randn(2, 4, 3, 3, generator=RNG),
}
CONTENT = save(STATE)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = "".join(format(15 - int(digit, 16), "x") for digit in DIGEST)


def written(path, content=CONTENT):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ["w-{}.pth", "resnet50_a1_0-{}.pt", "x_20200130-{}.pth.gz"])
@pytest.mark.parametrize("digits", [8, 10, 64])
def test_a_hash_in_the_name_is_compared(name, digits, tmp_path):
    right = written(tmp_path / name.format(DIGEST[:digits]))
    assert read_file(right).sha256 == DIGEST
    wrong = written(tmp_path / name.format(OTHER[:digits]))
    with pytest.raises(FileError, match=f"has the SHA-256 {DIGEST}, expected {OTHER[:digits]} as"):
        read_file(wrong)
    assert read_file(wrong, DIGEST[:8]).sha256 == DIGEST  # the user knows better


@pytest.mark.parametrize(
    "name",
    [
        "model-20240131.pt",  # a date
        "model-1a2b3c4.pt",  # seven digits
        "model-1a2b3c4d",
        "w-1b4e28ba-2fa1-11d2-883f-0016d3cca427.pt",  # a UUID
        "epoch-deadbeefs.pt",
    ],
)
def test_other_names_state_no_hash(name, tmp_path):
    assert read_file(written(tmp_path / name)).sha256 == DIGEST


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no links")
def test_a_link_to_a_file_named_by_its_hash_is_compared(tmp_path):
    for digest in (DIGEST, OTHER):
        blob = written(tmp_path / "blobs" / digest)
        link = tmp_path / f"{digest[:4]}.safetensors"
        link.symlink_to(blob)
        if digest == DIGEST:
            assert read_file(link).sha256 == DIGEST
        else:
            with pytest.raises(FileError, match=f"expected {OTHER} as in its name"):
                read_file(link)


def test_the_option_refuses_another_content_and_prints_the_hash(tmp_path):
    path = written(tmp_path / "w.safetensors")
    assert checkpoint(10, 3, path=path, sha256=DIGEST[:8].upper()).file_sha256 == DIGEST
    with pytest.raises(FileError, match=f"has the SHA-256 {DIGEST}, expected {OTHER[:12]}:"):
        checkpoint(10, 3, path=path, sha256=OTHER[:12])
    for wrong in ("1234567", "x" * 8, DIGEST + "0", "sha256"):
        with pytest.raises(UsageError, match=f"got sha256={wrong}, expected 8 to 64.*{DIGEST}"):
            checkpoint(10, 3, path=path, sha256=wrong)


def test_the_hash_of_an_index_is_that_of_all_its_files(tmp_path):
    for number, (name, tensor) in enumerate(STATE.items(), 1):
        written(tmp_path / f"w-0000{number}-of-00002.safetensors", save({name: tensor}))
    names = {name: f"w-0000{n}-of-00002.safetensors" for n, name in enumerate(STATE, 1)}
    index = written(
        tmp_path / "w.safetensors.index.json",
        f'{{"weight_map": {names}}}'.replace("'", '"').encode(),
    )
    digest = read_file(index).sha256
    assert read_file(index, digest).sha256 == digest
    written(
        tmp_path / "w-00002-of-00002.safetensors", save({"conv2.weight": torch.zeros(2, 4, 3, 3)})
    )
    with pytest.raises(FileError, match="download or save it again, or correct sha256="):
        read_file(index, digest)


def test_features_are_compared_too(tmp_path):
    path = tmp_path / "f.npz"
    np.savez(path, x=np.random.default_rng(0).random((9, 2)), ids=np.arange(9))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert read_features(path, sha256=digest[:9]).sha256 == digest
    with pytest.raises(FileError, match=f"has the SHA-256 {digest}, expected {OTHER[:9]}:"):
        read_features(path, sha256=OTHER[:9])
    models = [f"features:path={path}:sha256={digest[:9]}", f"features:path={path}"]
    assert rs.compare(models, metric="cka").file_sha256.values.tolist() == [digest] * 2


def test_a_file_without_checksums_is_read_with_a_warning(tmp_path):
    stream = io.BytesIO()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, stream)
    finally:
        torch.serialization.set_crc32_options(True)
    path = written(tmp_path / "w.pt", stream.getvalue())
    with pytest.warns(RepsimWarning, match="has no checksums.*set_crc32_options.*sha256="):
        found = read_file(path)
    assert all(torch.equal(found.value[name], tensor) for name, tensor in STATE.items())


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(number, tmp_path):
    bias = torch.zeros(4).index_fill(0, torch.tensor(2), number)
    path = written(tmp_path / "w.safetensors", save({**STATE, "conv1.bias": bias}))
    with pytest.warns(RepsimWarning, match="NaN or infinite numbers in conv1.bias, by damage or"):
        checkpoint(10, 3, path=Path(path))


def test_the_command_shows_the_hash_of_a_file(repsim, pictures_npz, tmp_path):
    path = written(tmp_path / "w.safetensors")
    result = tmp_path / "r.nc"
    spec = f"checkpoint:path={path}:sha256={DIGEST[:8]}"
    done = repsim("compare", "--models", spec, "--dataset", str(pictures_npz), "-o", str(result))
    assert done.returncode == 0, done.stderr
    assert DIGEST in repsim("show", str(result), "--what", "file_sha256").stdout
