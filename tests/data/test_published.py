"""Published files are those that torchvision knows, which is not imported to read them."""

import pytest
from torchvision import datasets

from repsim_energy.data import published


@pytest.mark.parametrize("name", ["CIFAR10", "CIFAR100"])
def test_files_of_cifar_are_those_of_torchvision(name):
    ours, theirs = getattr(published, name), getattr(datasets, name)
    for field in ("url", "filename", "tgz_md5", "base_folder", "meta"):
        assert getattr(ours, field) == getattr(theirs, field)
    for field in ("train_list", "test_list"):
        assert dict(getattr(ours, field)) == dict(getattr(theirs, field))


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST", "KMNIST"])
def test_files_of_mnist_are_those_of_torchvision(name):
    ours, theirs = getattr(published, name), getattr(datasets, name)
    assert (ours.folder, dict(ours.resources)) == (name, dict(theirs.resources))
    assert set(ours.mirrors) & set(theirs.mirrors)
    if name != "MNIST":  # whose classes have a second name there
        assert ours.classes == tuple(c.replace("/", " or ") for c in theirs.classes)


def test_a_sum_is_that_of_a_file_that_is_there(tmp_path):
    (tmp_path / "file").write_bytes(b"content")
    assert published.has_md5(tmp_path / "file", "9a0364b9e99bb480dd25e1f0284c8555")
    assert not published.has_md5(tmp_path / "file", "0" * 32)
    assert not published.has_md5(tmp_path / "absent", "9a0364b9e99bb480dd25e1f0284c8555")
