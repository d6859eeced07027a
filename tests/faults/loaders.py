"""Every way into the toolkit for a file: functions that put bytes in its place and load them.

Each takes the content of the file and an empty folder. A file that is a pickle comes as it is; the
functions put it into the layout in which that way could unpickle it.
"""

import gzip
import hashlib
import io
import json
import pickle
import tarfile

import numpy as np
import torch
from malicious import npy_of, npz_of, zipped
from PIL import Image
from safetensors.torch import save
from torchvision import datasets

import repsim_energy as rs
from repsim_energy.data import published
from repsim_energy.data.torchvision_sets import cifar10
from repsim_energy.models.architectures.torchvision_zoo import _published_state, zoo
from repsim_energy.models.checkpoint import checkpoint
from repsim_energy.models.feature_files import read_features
from repsim_energy.training.run_cache import read_stored

WEIGHTS = save({"conv1.weight": torch.ones(4, 3, 3, 3)})
KEY = "ab" * 32


def written(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def initial_weights(content, folder, _):
    good = written(folder / "good.safetensors", WEIGHTS)
    checkpoint(10, 3, path=good, init=written(folder / "init.pt", zipped(content)))


def weights_with_an_architecture(content, folder, _):
    checkpoint(10, 3, path=written(folder / "w.pt", zipped(content)), arch=lambda *_: None)


def shard_of_an_index(content, folder, _):
    names = [f"net-0000{i}-of-00002.bin" for i in (1, 2)]
    written(folder / names[0], WEIGHTS)
    written(folder / names[1], zipped(content))
    index = {"weight_map": {"conv1.weight": names[0], "conv2.weight": names[1]}}
    checkpoint(10, 3, path=written(folder / "net.bin.index.json", json.dumps(index).encode()))


def _torch_home(folder, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return folder / "hub" / "checkpoints"


def torchvision_with_another_hash(content, folder, monkeypatch):
    written(_torch_home(folder, monkeypatch) / "resnet18-f37072fd.pth", zipped(content))
    zoo("resnet18", 10, 3, weights="IMAGENET1K_V1")


def torchvision_with_its_hash(content, folder, monkeypatch):
    name = f"net-{hashlib.sha256(zipped(content)).hexdigest()[:8]}.pth"
    written(_torch_home(folder, monkeypatch) / name, zipped(content))
    _published_state(f"https://download.pytorch.org/models/{name}")


def torchvision_without_a_hash(content, folder, monkeypatch):
    written(_torch_home(folder, monkeypatch) / "net.pth", content)
    _published_state("https://download.pytorch.org/models/net.pth")


def cifar_files(**changes):
    """Return name -> content of a tiny CIFAR-10, with other content for some names."""
    pixels = np.arange(20 * 3072, dtype=np.uint8).reshape(20, 3072)
    batch = pickle.dumps({"data": pixels, "labels": [i % 10 for i in range(20)]}, protocol=2)
    names = pickle.dumps({"label_names": list("abcdefghij")}, protocol=2)
    return {"data_batch_1": batch, "test_batch": batch, "batches.meta": names, **changes}


def cifar_class(files, archive=b""):
    """Return torchvision's data set with the MD5 sums of these files."""
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}

    class Tiny(datasets.CIFAR10):
        base_folder, filename = "cifar-tiny", "cifar-tiny.tar.gz"
        tgz_md5 = hashlib.md5(archive).hexdigest()
        train_list = (("data_batch_1", sums["data_batch_1"]),)
        test_list = (("test_batch", sums["test_batch"]),)
        meta = {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]}  # noqa: RUF012

    return Tiny


def archive_of(files, others=()):
    """Return the archive of CIFAR files, with other members before them."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as archive:
        for entry in others:
            archive.addfile(entry, io.BytesIO(b"x" * entry.size))
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-tiny/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _cifar(files, folder, monkeypatch, archive=b""):
    monkeypatch.setattr(published, "CIFAR10", cifar_class(files, archive))
    cifar10("train", root=folder)


def cifar_batch(content, folder, monkeypatch):
    files = cifar_files(data_batch_1=content)
    for name, part in files.items():
        written(folder / "cifar-tiny" / name, part)
    _cifar(files, folder, monkeypatch)


def cifar_names(content, folder, monkeypatch):
    files = cifar_files(**{"batches.meta": content})
    for name, part in files.items():
        written(folder / "cifar-tiny" / name, part)
    _cifar(files, folder, monkeypatch)


def cifar_archive(content, folder, monkeypatch):
    files = cifar_files(data_batch_1=content)
    archive = written(folder / "cifar-tiny.tar.gz", archive_of(files)).read_bytes()
    _cifar(files, folder, monkeypatch, archive)


def arrays_of_images(content, folder, _):
    names = ["train_images", "train_labels", "classes"]
    rs.load_images(f"npz:path={written(folder / 'x.npz', npz_of(content, names))}")


def features_in_arrays(content, folder, _):
    read_features(written(folder / "x.npz", npz_of(content, ["fc", "ids"])))


def features_in_netcdf(content, folder, _):
    read_features(written(folder / "x.nc", content))


def chunk_of_images(content, folder, _):
    rs.patch_moments_of_chunks([written(folder / "x.npy", npy_of(content))], (3, 3))


def checkpoint_of_sums(content, folder, _):
    chunks = [lambda: torch.zeros(2, 3, 8, 8, dtype=torch.uint8)]
    rs.patch_moments_of_chunks(chunks, (3, 3), checkpoint=written(folder / "sums", content))


def idx_files(content, folder, _):
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte.gz"):
        written(folder / name, gzip.compress(content) if name.endswith("gz") else content)
    rs.load_images(f"idx:path={folder}")


def picture_in_a_folder(content, folder, _):
    pixels = np.zeros((8, 8, 3), np.uint8)
    (folder / "cat").mkdir()
    Image.fromarray(pixels).save(folder / "cat" / "good.png")
    written(folder / "cat" / "x.png", content)
    rs.load_images(f"folder:path={folder}")


def picture_alone(content, folder, _):
    rs.load_rgb(written(folder / "x.jpg", content))


def result_file(content, folder, _):
    rs.open_result(written(folder / "x.nc", content))


def cached_run(content, folder, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(folder))
    name = "filters.safetensors"
    sums = {name: hashlib.sha256(content).hexdigest()}
    written(folder / "runs" / KEY / name, content)
    written(folder / "runs" / KEY / "run.json", json.dumps({"sha256": sums}).encode())
    read_stored(KEY)


def manifest_of_a_run(content, folder, monkeypatch):
    monkeypatch.setenv("REPSIM_CACHE", str(folder))
    written(folder / "runs" / KEY / "run.json", content)
    rs.open_run(KEY[:8])


LOADERS = [
    initial_weights,
    weights_with_an_architecture,
    shard_of_an_index,
    torchvision_with_another_hash,
    torchvision_with_its_hash,
    torchvision_without_a_hash,
    cifar_batch,
    cifar_names,
    cifar_archive,
    arrays_of_images,
    features_in_arrays,
    features_in_netcdf,
    chunk_of_images,
    checkpoint_of_sums,
    idx_files,
    picture_in_a_folder,
    picture_alone,
    result_file,
    cached_run,
    manifest_of_a_run,
]
