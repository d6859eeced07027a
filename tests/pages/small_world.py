"""What the pages take for granted, small: networks, images, trainings, and files of users."""

import importlib
import json
import runpy
import shutil
import sys
import tomllib
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from blocks import BLOCKS, ROOT
from PIL import Image
from safetensors.torch import save_file
from samples import small_cnn
from torch import nn

import repsim_energy as rs
from repsim_energy.data import deadleaves
from repsim_energy.models.architectures import resnet, vgg
from repsim_energy.training import recipe

IMAGES = {"train": 128, "test": 40}
STEPS = 3
PAGES_WITH_FILES = (
    "docs/how-to/own-networks-and-images.md",
    "docs/how-to/profile-a-network.md",
)
WIDTHS = {(vgg, "vgg11"): 0.0625, (resnet, "resnet18"): 0.0625, (resnet, "resnet20"): 0.25}


def make_small(monkeypatch):
    """Make the default networks narrow, the default images few and the recipes short.

    The commands stay as they are on the page; what they name in full, such as ``width=0.25``, too.
    """
    monkeypatch.setattr(deadleaves, "DEFAULT_IMAGES", IMAGES)
    short = {"steps": STEPS, "snapshots": 2, "test_images": 20}
    for name, full in recipe.RECIPES.items():
        monkeypatch.setitem(recipe.RECIPES, name, replace(full, **short))
    for (module, name), width in WIDTHS.items():
        monkeypatch.setattr(module, name, partial(getattr(module, name), width=width))
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")  # trains here, not in processes
    monkeypatch.setenv("MPLBACKEND", "agg")


def weights(seed=0, size=3, channels=3):
    return torch.randn(8, channels, size, size, generator=torch.Generator().manual_seed(seed))


def files_of_networks():
    """The checkpoints of the page on own networks: filters with a batch norm, ONNX and Keras."""
    norm = {f"bn1.{name}": torch.rand(8) + 0.5 for name in ("weight", "bias")}
    norm |= {f"bn1.running_{name}": torch.rand(8) + 0.5 for name in ("mean", "var")}
    for seed, name in enumerate(("mine", "before", "theirs")):
        tensors = {"conv1.weight": weights(seed), **norm}
        save_file(tensors, f"{name}.safetensors")
        torch.save(tensors, f"{name}.pt")
    from onnx import TensorProto, helper, numpy_helper

    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, (1, 3, 32, 32))
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    node = helper.make_node("Conv", ["image", "w"], ["out"], name="stem")
    tensor = numpy_helper.from_array(weights().numpy(), "w")
    graph = helper.make_graph([node], "net", [image], [out], [tensor])
    Path("mine.onnx").write_bytes(helper.make_model(graph).SerializeToString())
    write_keras("other.keras", weights(1).permute(2, 3, 1, 0).numpy())


def write_keras(path, kernel):
    """Write a network of one convolution as Keras 3 does."""
    import h5py

    config = {"name": "conv", "kernel_size": kernel.shape[:2], "data_format": "channels_last"}
    layer = {"class_name": "Conv2D", "module": "keras.layers", "config": config}
    net = {"class_name": "Sequential", "config": {"name": "net", "layers": [layer]}}
    with h5py.File("model.weights.h5", "w") as file:
        file["layers/conv2d/vars/0"] = kernel
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(net))
        archive.write("model.weights.h5")


def pictures():
    """A folder of both splits with two classes of six pictures each."""
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            Path("photos", split, name).mkdir(parents=True)
            for i in range(6):
                pixels = generator.integers(0, 256, (32, 36, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(Path("photos", split, name, f"{i}.png"))


def broken_files(monkeypatch):
    """The files that the page on errors speaks of."""
    for name, size, channels in (("a", 3, 3), ("seven", 7, 3), ("four", 3, 4)):
        torch.save({"conv1.weight": weights(0, size, channels)}, f"{name}.pt")
    Path("cut.pt").write_bytes(Path("a.pt").read_bytes()[:700])
    network = type("Network", (), {"__module__": "__main__"})
    monkeypatch.setattr(sys.modules["__main__"], "Network", network, raising=False)
    torch.save(network(), "object.pt")
    Path("pictures").mkdir()
    Path("pictures/list.txt").write_text("cat\n")


def metric_file():
    """The file of the page on plugins."""
    (file,) = (b for b in BLOCKS["docs/how-to/write-a-plugin.md"] if b.file == "mymetric.py")
    Path(file.file).write_text(file.text)


def names_of_toolkits():
    """A network, its filters, a basis and a result with it."""
    images = torch.rand(40, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    network, other = small_cnn(2, 3), small_cnn(2, 3)
    assert isinstance(network[0], nn.Conv2d)
    result = rs.compare({"a": network, "b": other}, images)
    rs.save_result(result, "result.nc")
    basis = rs.patch_moments(images, (3, 3)).basis()
    return {"network": network, "filters": network[0].weight, "basis": basis, "result": result}


def generated_images(name):
    """The images that the tests of a data set generate."""
    folder = {"repsim-celeba": "data", "repsim-imagenet": "ILSVRC2012"}[name]
    runpy.run_path(ROOT / "datasets" / name / "tests/specs.py")["write"](Path(folder))


def prepare(page, monkeypatch):
    """Make what a page supposes that its reader has, and return the names that its code uses."""
    if page in PAGES_WITH_FILES:
        files_of_networks()
    if page in (*PAGES_WITH_FILES, "docs/how-to/cluster.md"):
        pictures()
    if page == "docs/how-to/kernel-sizes.md":
        for name, channels in (("gray", 1), ("color", 3)):
            torch.save({"conv1.weight": weights(0, 3, channels)}, f"{name}.pt")
    if page == "docs/how-to/troubleshoot.md":
        broken_files(monkeypatch)
    if page == "README.md":
        metric_file()
    if page.startswith("datasets/repsim-"):
        generated_images(Path(page).parent.name)
    if page == "plugins/repsim-example/README.md":
        shutil.copytree(ROOT / "plugins/repsim-example", ".", dirs_exist_ok=True)
    return names_of_toolkits() if page == "plugins/repsim-toolkits/README.md" else {}


def install(folder, monkeypatch):
    """Install a distribution of this repository as ``pip install -e`` does, without its needs."""
    project = tomllib.loads((folder / "pyproject.toml").read_text("utf-8"))["project"]
    site = Path("site").resolve()
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    name = f"Name: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\n{name}")
    groups = project.get("entry-points", {})
    lines = [[f"[{group}]", *(f"{k} = {v}" for k, v in e.items())] for group, e in groups.items()]
    (info / "entry_points.txt").write_text("\n".join(line for one in lines for line in one))
    for path in (site, folder.resolve()):
        monkeypatch.syspath_prepend(str(path))
    importlib.invalidate_caches()
