"""CelebA equals torchvision's reading of it; errors of broken files have one line."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import repsim_energy as rs
import torch
from PIL import Image
from repsim_energy.testing import check_dataset
from specs import SMILING
from torch import nn
from torchvision import datasets
from torchvision.transforms import functional

from repsim_celeba import celeba


class AsTorchvision(datasets.CelebA):
    """torchvision's reader without its check of MD5 sums."""

    def _check_integrity(self):
        return True


@pytest.mark.parametrize(("split", "count"), [("train", 40), ("test", 14)])
def test_pictures_and_labels_are_those_that_torchvision_reads(published, split, count):
    found = celeba(split, root=published, attribute="Smiling", size=32)
    expected = AsTorchvision(str(published), split)
    assert expected.attr_names[SMILING] == "Smiling"
    assert found.labels.tolist() == expected.attr[:, SMILING].tolist()
    assert found.images.shape == (count, 3, 32, 32)
    assert found.images.dtype == torch.uint8
    for image, (picture, _) in zip(found.images, expected, strict=True):
        box = picture.crop((0, 20, 178, 198)).resize((32, 32), Image.Resampling.BILINEAR)
        assert torch.equal(image, functional.pil_to_tensor(box))


def test_every_attribute_is_two_classes(published):
    for attribute in ("5_o_Clock_Shadow", "Male", "Young"):
        found = celeba("train", root=published, attribute=attribute, size=8)
        assert found.classes == (f"not_{attribute}", attribute)
        assert found.name == f"celeba {attribute}"


def test_the_files_may_stand_in_the_folder_itself(published):
    above = celeba("test", root=published, attribute="Male")
    within = celeba("test", root=published / "celeba", attribute="Male")
    assert above.fingerprint == within.fingerprint
    assert above.images.shape[1:] == (3, 64, 64)


def test_only_the_pictures_and_tables_that_are_needed_are_read(published):
    folder = published / "celeba"
    whole = celeba("train", root=published, attribute="Male", size=8)
    wanted = [*whole.labels.eq(0).nonzero()[:3, 0], *whole.labels.eq(1).nonzero()[:3, 0]]
    kept = {f"{int(i) + 1:06}.jpg" for i in wanted}
    for path in (folder / "img_align_celeba").iterdir():
        if path.name not in kept:
            path.unlink()
    for name in ("identity_CelebA", "list_bbox_celeba", "list_landmarks_align_celeba"):
        (folder / f"{name}.txt").unlink()
    found = celeba("train", root=published, attribute="Male", size=8, limit=6)
    assert found.labels.bincount().tolist() == [3, 3]
    assert torch.equal(found.images, whole.images[sorted(int(i) for i in wanted)])


def test_classes_turn_the_labels_round(published):
    plain = celeba("train", root=published, attribute="Male", size=8)
    turned = celeba("train", root=published, attribute="Male", size=8, classes=("Male", "not_Male"))
    assert turned.labels.tolist() == [1 - label for label in plain.labels.tolist()]
    assert turned.classes == ("Male", "not_Male")
    assert torch.equal(turned.images, plain.images)


def test_a_smaller_crop_shows_less_of_the_face(published):
    found = celeba("test", root=published, attribute="Male", size=100, crop=100, limit=1)
    with Image.open(published / "celeba" / "img_align_celeba" / "000047.jpg") as picture:
        expected = functional.pil_to_tensor(picture.crop((39, 59, 139, 159)))
    assert torch.equal(found.images[0], expected)


def test_it_keeps_the_rules_of_data_sets(published):
    check_dataset(celeba, root=published, attribute="Smiling", size=16)
    check_dataset(celeba, root=published, attribute="Bald", crop=120, limit=10)


def rewrite(path, change):
    path.write_text(change(path.read_text()))


def cut(path):
    path.write_bytes(path.read_bytes()[:2000])


def without_pictures(folder):
    shutil.rmtree(folder / "img_align_celeba")


ATTR, PART = "list_attr_celeba.txt", "list_eval_partition.txt"


@pytest.mark.parametrize(
    ("harm", "error", "words"),
    [
        (without_pictures, rs.UsageError, r"no folder 'img_align_celeba' in .* download=true"),
        (lambda d: (d / PART).unlink(), rs.UsageError, f"no '{PART}' in .*celeba', expected it"),
        (lambda d: (d / ATTR).unlink(), rs.UsageError, f"no '{ATTR}' in"),
        (lambda d: (d / ATTR).write_text(""), rs.FileError, "begins with '', expected the number"),
        (
            lambda d: rewrite(d / ATTR, lambda t: t.partition("\n")[2]),
            rs.FileError,
            "begins with '5_o_Clock_Shadow",
        ),
        (
            lambda d: rewrite(d / ATTR, lambda t: t[: len(t) // 2]),
            rs.FileError,
            "expected 60 as its first line says; it is truncated",
        ),
        (
            lambda d: rewrite(d / ATTR, lambda t: t[:-5] + "\n"),
            rs.FileError,
            "line 62 of .*40 times 1 or -1",
        ),
        (
            lambda d: rewrite(d / ATTR, lambda t: t.replace(" -1", "  0")),
            rs.FileError,
            "line 4 of .*'000002.jpg  0",
        ),
        (lambda d: (d / ATTR).write_bytes(bytes(range(256))), rs.FileError, "expected text"),
        (
            lambda d: rewrite(d / PART, lambda t: t.replace(" 2", " 3")),
            rs.FileError,
            "line 47 of .*'000047.jpg 3', expected an image and 0, 1 or 2",
        ),
        (
            lambda d: rewrite(d / PART, lambda t: t[: len(t) // 13 * 5]),
            rs.FileError,
            "has no split for '0000.*jpg'|line .* expected an image",
        ),
        (
            lambda d: cut(d / "img_align_celeba" / "000003.jpg"),
            rs.FileError,
            "000003.jpg' cannot be read as an image",
        ),
        (
            lambda d: (d / "img_align_celeba" / "000004.jpg").unlink(),
            rs.FileError,
            "000004.jpg' cannot be read",
        ),
        (
            lambda d: Image.new("RGB", (50, 60)).save(d / "img_align_celeba" / "000005.jpg"),
            rs.DataError,
            "000005.jpg' is 50x60, smaller than crop=178",
        ),
    ],
)
def test_broken_files_are_named_in_one_line(published, harm, error, words):
    harm(published / "celeba")
    with pytest.raises(error, match=words) as raised:
        celeba("train", root=published, attribute="Smiling", size=8)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"attribute": "Smilling"}, "attribute of CelebA 'Smilling'; did you mean 'Smiling'"),
        ({"classes": ("Smile",)}, "unknown class 'Smile'; did you mean 'Smiling'"),
        ({"size": 0}, "size=0, crop=178, expected pixels, at least 1"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(published, options, words):
    with pytest.raises(rs.UsageError, match=words):
        celeba("train", **{"root": published, "attribute": "Smiling", **options})
    with pytest.raises(rs.UsageError, match="unknown split of celeba 'valid'"):
        celeba("valid", root=published, attribute="Smiling")


def test_networks_are_compared_on_it(published):
    def tiny(num_classes, in_channels):
        first = nn.Conv2d(in_channels, 4, 3)
        return nn.Sequential(
            first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )

    faces = f"celeba:root={published}:attribute=Smiling:size=16"
    result = rs.compare([tiny], faces, seeds=2, recipe=rs.Recipe(steps=2, batch=8))
    assert np.isfinite(result.similarity.values).all()
    assert result.sizes["component"] == 27
    assert (result.steps.values == 2).all()


def test_the_command_trains_on_it(published, repsim, tmp_path):
    models = ["--models", "linear_cnn", "--seeds", "2"]
    training = ["--recipe", "quick:steps=2", "--jobs", "1"]
    faces = f"celeba:root={published}:attribute=Smiling:size=16+random_labels"
    output = str(tmp_path / "r.nc")
    code, out, err = repsim("compare", *models, *training, "--dataset", faces, "-o", output)
    assert code == 0, err
    assert out.startswith(f"energy_profile_correlation on celeba:root={published}")
    assert rs.open_result(tmp_path / "r.nc").sizes["seed"] == 2


def test_the_command_answers_mistakes_in_one_line(published, repsim):
    for spec, words in {
        f"celeba:root={published}:attribute=Smilin": "did you mean 'Smiling'",
        f"celeba:root={published}": "needs attribute=",
    }.items():
        code, out, err = repsim("compare", "--models", "linear_cnn", "--dataset", spec)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert words in err


def test_a_download_that_fails_is_one_line(published, repsim, tmp_path):
    """The download goes through a proxy that does not exist; it is skipped without gdown."""
    closed = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    closed |= {name.upper(): value for name, value in closed.items()}
    spec = f"celeba:root={tmp_path / 'new'}:attribute=Male:download=true"
    code, out, err = repsim("compare", "--models", "linear_cnn", "--dataset", spec, **closed)
    assert (code, out) == (1, "")
    assert "CelebA cannot be downloaded to" in err.splitlines()[-1]
    assert "Traceback" not in err


def test_what_is_there_is_not_downloaded(published):
    plain = celeba("test", root=published, attribute="Male")
    again = celeba("test", root=published, attribute="Male", download=True)
    assert again.fingerprint == plain.fingerprint


def test_the_name_is_offered_without_importing_what_reads_images():
    code = "import repsim_celeba, sys; print({'torch', 'torchvision', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "set()\n", found.stderr


def test_the_command_shows_the_options(repsim):
    code, out, _ = repsim("datasets", "celeba")
    assert code == 0
    assert all(option in out for option in ("root", "attribute", "size", "crop", "limit"))


@pytest.mark.parametrize("name", ["../secret.jpg", "/etc/hostname", "a/../../secret.jpg", ".."])
def test_names_that_lead_outside_are_refused_unread(published, name):
    folder = published / "celeba"
    for table in ("list_attr_celeba.txt", "list_eval_partition.txt"):
        path = folder / table
        path.write_text(path.read_text().replace("000001.jpg", name))
    shutil.copy(folder / "img_align_celeba" / "000001.jpg", folder / "secret.jpg")
    with pytest.raises(rs.FileError, match="expected images in 'img_align_celeba'"):
        celeba("train", root=published, attribute="Male", size=8)
