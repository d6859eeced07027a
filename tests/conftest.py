"""Fixtures that many tests share: a cache of their own, images, plugins, the command."""

import importlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from repsim_energy.interfaces import ImageSet

REAL_IMAGES = Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    """No test reads or writes the user's cache; tests of one session share rendered images."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    monkeypatch.setenv("REPSIM_CACHE", str(cache))
    monkeypatch.delenv("REPSIM_NO_PLUGINS", raising=False)
    monkeypatch.delenv("REPSIM_STRICT_PLUGINS", raising=False)


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("REPSIM_CACHE", str(cache))
    return cache


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pictures(rng):
    """60 correlated colour images of 12x12 pixels in three classes."""
    noise = torch.randn(60, 3, 16, 16, generator=rng)
    smooth = torch.nn.functional.avg_pool2d(noise, 5, stride=1)
    pixels = ((smooth - smooth.min()) / (smooth.max() - smooth.min()) * 255).to(torch.uint8)
    return ImageSet(pixels, torch.arange(60) % 3, ("a", "b", "c"), "pictures")


@pytest.fixture
def pictures_npz(tmp_path):
    """The same kind of images in a file, 32x32, with a test split."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 8, 8, 3)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    labels = np.arange(90) % 3
    path = tmp_path / "pictures.npz"
    np.savez(
        path,
        train_images=images[:60], train_labels=labels[:60],
        test_images=images[60:], test_labels=labels[60:],
        classes=np.array(["a", "b", "c"]),
    )  # fmt: skip
    return path


@pytest.fixture(scope="session")
def cifar_subset():
    """5,170 real CIFAR-10 images; REPSIM_TEST_IMAGES names a folder that holds the file."""
    folder = Path(os.environ.get("REPSIM_TEST_IMAGES", REAL_IMAGES))
    path = folder / "cifar10-subset.npz"
    if not path.is_file():
        pytest.skip("no real images: set REPSIM_TEST_IMAGES to a folder with cifar10-subset.npz")
    return path


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Write a distribution with one module and its entry point, and put it on the path."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))

    def write(name, source, entry=None, module=None):
        module = module or f"plugin_{name.replace('-', '_')}"
        sys.modules.pop(module, None)
        (folder / f"{module}.py").write_text(source)
        info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        target = entry or module
        (info / "entry_points.txt").write_text(f"[repsim_energy]\n{name} = {target}\n")
        importlib.invalidate_caches()
        return folder

    return write


@pytest.fixture
def repsim(install):
    def run(*args, **env):
        path = os.pathsep.join([sys.path[0], *sys.path[1:]])
        return subprocess.run(
            [sys.executable, "-m", "repsim_energy", *args], capture_output=True, text=True,
            env={**os.environ, "PYTHONPATH": path, **env},
        )  # fmt: skip

    return run
