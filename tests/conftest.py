"""Fixtures that many tests share: a cache of their own, threads, images, plugins."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import repsim_here
from PIL import Image
from samples import smooth_images, write_distribution

from repsim_energy.interfaces import Dataset

IMAGES = "REPSIM_TEST_IMAGES"


def pytest_configure(config):
    """Hide GPUs from all tests but those that are of them: ``pytest -m gpu``.

    Networks train on a GPU where there is one, and round there as no stored number knows.
    """
    if config.option.markexpr != "gpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Compute in one thread, here and in processes, unless OMP_NUM_THREADS says otherwise.

    What these tests compute is so little that threads mostly wait for each other, and on a machine
    with other work to do ten times as long as the work takes.
    """
    number = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as session:
        if "OMP_NUM_THREADS" not in os.environ:
            session.setenv("OMP_NUM_THREADS", "1")
            torch.set_num_threads(1)
        yield
    torch.set_num_threads(number)


@pytest.fixture(scope="session", autouse=True)
def shared_cache(tmp_path_factory):
    """No test reads or writes the user's cache; those of a session share rendered images."""
    cache = tmp_path_factory.getbasetemp() / "cache"
    with pytest.MonkeyPatch.context() as session:
        session.setenv("REPSIM_CACHE", str(cache))
        session.delenv("REPSIM_NO_PLUGINS", raising=False)
        session.delenv("REPSIM_STRICT_PLUGINS", raising=False)
        yield cache


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    monkeypatch.setenv("REPSIM_CACHE", str(cache))
    return cache


@pytest.fixture(autouse=True)
def _processes_are_marked(request, monkeypatch):
    """A test that starts Python in a process says so, so that it can be left out."""
    if request.node.get_closest_marker("process"):
        return
    start = subprocess.Popen.__init__

    def refuse(*_):
        pytest.fail("this test starts a process: mark it with pytest.mark.process")

    def start_others(process, args, *rest, **options):  # such as lscpu, which NumPy asks
        if sys.executable in args:
            refuse()
        start(process, args, *rest, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", start_others)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pictures(rng):
    return smooth_images(rng)


@pytest.fixture
def data(pictures):
    return Dataset("pictures", pictures, pictures)


@pytest.fixture
def pictures_npz(tmp_path):
    """The same kind of images in a file, 32x32, with a test split."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (90, 8, 8, 3)).repeat(4, 1).repeat(4, 2).astype(np.uint8)
    labels = np.arange(90) % 3
    path = tmp_path / "pictures.npz"
    np.savez(
        path,
        train_images=images[:60],
        train_labels=labels[:60],
        test_images=images[60:],
        test_labels=labels[60:],
        classes=np.array(["a", "b", "c"]),
    )
    return path


@pytest.fixture
def photos(tmp_path):
    """A folder of both splits with two classes of six 12x10 pictures each."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(6):
                pixels = rng.integers(0, 256, (10, 12, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{i}.png")
    return tmp_path / "photos"


@pytest.fixture(scope="session")
def cifar_subset():
    """5,170 real CIFAR-10 images."""
    if IMAGES not in os.environ:
        pytest.skip(f"no real images: set {IMAGES} to a folder with cifar10-subset.npz")
    path = Path(os.environ[IMAGES], "cifar10-subset.npz")
    assert path.is_file(), f"{IMAGES} names a folder without cifar10-subset.npz"
    return path


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a folder on the path; gives a function that writes distributions into it."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield partial(write_distribution, folder)
    for name, module in [*sys.modules.items()]:
        if str(getattr(module, "__file__", None)).startswith(str(folder)):
            del sys.modules[name]


@pytest.fixture(scope="session")
def files_of_at_most():
    """A context in which no file grows beyond so many bytes, as on a full disk."""

    @contextlib.contextmanager
    def limited(size):
        resource = pytest.importorskip("resource")
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


@pytest.fixture(scope="session")
def repsim():
    """The command, called in this process: a function of its arguments and of variables to set."""
    return repsim_here
