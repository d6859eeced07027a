"""ImageNet in the folders of ILSVRC2012: pixels, classes, errors."""

import shutil
import subprocess
import sys

import numpy as np
import pytest
import repsim_energy as rs
import torch
from PIL import Image
from repsim_energy.testing import check_dataset
from specs import LATER, OTHER, WNIDS
from torch import nn
from torchvision import datasets, transforms

import repsim_imagenet
from repsim_imagenet import imagenet
from repsim_imagenet.folders import names

TEN = (
    "tench",
    "English springer",
    "cassette player",
    "chain saw",
    "church",
    "French horn",
    "garbage truck",
    "gas pump",
    "golf ball",
    "parachute",
)
USUAL = transforms.Compose(
    [transforms.Resize(32), transforms.CenterCrop(28), transforms.PILToTensor()]
)


def load(root, split="train", **options):
    return imagenet(split, **{"root": root, "size": 28, **options})


@pytest.mark.parametrize(("split", "folder", "each"), [("train", "train", 4), ("test", "val", 1)])
def test_all_classes_are_what_torchvision_reads_the_usual_way(unpacked, split, folder, each):
    found = load(unpacked, split, classes=("all",))
    expected = datasets.ImageFolder(str(unpacked / folder), USUAL)
    assert len(expected) == 12 * each
    assert found.labels.tolist() == expected.targets
    assert torch.equal(found.images, torch.stack([image for image, _ in expected]))


def test_the_default_is_256_then_224(unpacked):
    found = imagenet("test", root=unpacked, limit=1)
    with Image.open(unpacked / "val" / WNIDS[0] / "ILSVRC2012_val_00000001.JPEG") as picture:
        usual = [transforms.Resize(256), transforms.CenterCrop(224), transforms.PILToTensor()]
        assert torch.equal(found.images[0], transforms.Compose(usual)(picture))


def test_ten_classes_are_the_default(unpacked):
    found = load(unpacked)
    assert found.classes == TEN
    assert found.labels.tolist() == [number for number in range(10) for _ in range(4)]
    every = load(unpacked, classes=("all",))
    ten = [names()[wnid] for wnid in WNIDS]
    chosen = [every.classes[label] in ten for label in every.labels.tolist()]
    assert torch.equal(found.images, every.images[chosen])


def test_ids_names_and_their_spellings_are_one_class(unpacked):
    expected = load(unpacked, classes=("golf ball", "English springer"))
    assert expected.classes == ("golf ball", "English springer")
    for spelling in (("golf_ball", "english_springer"), ("n03445777", "n02102040")):
        assert load(unpacked, classes=spelling).fingerprint == expected.fingerprint
    assert load(unpacked, classes=("goldfish", LATER)).classes == ("goldfish", LATER)


def test_names_are_those_of_the_thousand_ids():
    known = names()
    assert len(known) == len(set(known.values())) == 1000
    assert list(known) == sorted(known)
    published = {  # the ids and names of Imagenette and of the ILSVRC2012 synset list
        "n01440764": "tench",
        "n02102040": "English springer",
        "n02979186": "cassette player",
        "n03000684": "chain saw",
        "n03028079": "church",
        "n03394916": "French horn",
        "n03417042": "garbage truck",
        "n03425413": "gas pump",
        "n03445777": "golf ball",
        "n03888257": "parachute",
        OTHER: "goldfish",
        "n02113186": "Cardigan",
        "n02963159": "cardigan",
        "n15075141": "toilet tissue",
    }
    assert {wnid: known[wnid] for wnid in published} == published


def test_a_cardigan_is_no_cardigan(unpacked):
    for wnid in ("n02113186", "n02963159"):
        shutil.copytree(unpacked / "train" / OTHER, unpacked / "train" / wnid)
    found = load(unpacked, classes=("cardigan", "Cardigan"))
    assert found.classes == ("cardigan", "Cardigan")


def test_limit_takes_of_every_class_and_reads_no_more(unpacked):
    for wnid in WNIDS:
        (unpacked / "train" / wnid / f"{wnid}_3.JPEG").write_bytes(b"not read")
    found = load(unpacked, limit=20)
    assert found.labels.bincount().tolist() == [2] * 10


def test_without_val_there_is_no_test_image(unpacked):
    shutil.rmtree(unpacked / "val")
    found = load(unpacked, "test")
    assert found.images.shape == (0, 3, 28, 28)
    assert found.classes == TEN


def test_it_keeps_the_rules_of_data_sets(unpacked):
    check_dataset(imagenet, root=unpacked, size=28)
    check_dataset(imagenet, root=unpacked, size=20, resize=24, classes=("all",), limit=24)


def test_odd_files_among_the_pictures(unpacked):
    """Files like those in ImageNet: PNG and CMYK named JPEG, gray images, other files."""
    folder = unpacked / "train" / WNIDS[0]
    flat = np.full((40, 50, 3), (200, 30, 10), np.uint8)
    with_alpha = np.dstack([flat, np.full((40, 50), 255, np.uint8)])
    with_alpha[:20, :, 3] = 0
    (folder / "notes.txt").write_text("no picture")
    (folder / ".hidden.JPEG").write_bytes(b"no picture")
    for path in folder.glob("*.JPEG"):
        path.unlink()
    Image.fromarray(flat).convert("L").save(folder / "a_gray.JPEG", quality=100)
    Image.fromarray(flat).convert("CMYK").save(folder / "b_cmyk.JPEG", "JPEG", quality=100)
    Image.fromarray(flat).save(folder / "c_png.JPEG", "PNG")
    Image.fromarray(with_alpha).save(folder / "d_alpha.png")
    found = load(unpacked, classes=("tench",), size=28, resize=28).images.int()
    assert len(found) == 4
    gray, cmyk, png, alpha = found
    red = torch.tensor([200, 30, 10]).view(3, 1, 1)
    assert (gray - gray[:1]).abs().max() == 0
    assert (cmyk - red).abs().max() <= 3
    assert (png - red).abs().max() == 0
    assert (alpha[:, -8:] - red).abs().max() == 0
    assert (alpha[:, :8] - 255).abs().max() == 0


def empty(folder):
    for path in folder.iterdir():
        path.unlink()


def flat_val(root):
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    shutil.copy(root / "train" / OTHER / f"{OTHER}_0.JPEG", root / "val" / "ILSVRC2012_val_1.JPEG")


def truncate(path):
    path.write_bytes(path.read_bytes()[:400])


@pytest.mark.parametrize(
    ("split", "harm", "error", "words"),
    [
        ("train", shutil.rmtree, rs.UsageError, "no folder at '.*/train', expected a folder per"),
        ("train", lambda r: shutil.rmtree(r / "train"), rs.UsageError, "no folder at '.*/train'"),
        ("test", flat_val, rs.UsageError, "'.*/val' has no folders named by WordNet ids"),
        (
            "train",
            lambda r: shutil.rmtree(r / "train" / WNIDS[3]),
            rs.UsageError,
            "class 'chain_saw' has no folder 'n03000684' in '.*/train'.*of the 11 .* classes=all",
        ),
        (
            "test",
            lambda r: shutil.rmtree(r / "val" / WNIDS[3]),
            rs.UsageError,
            "class 'chain_saw' has no folder 'n03000684' in '.*/val'",
        ),
        (
            "train",
            lambda r: empty(r / "train" / WNIDS[4]),
            rs.DataError,
            "n03028079' has no images",
        ),
        (
            "train",
            lambda r: truncate(r / "train" / WNIDS[5] / f"{WNIDS[5]}_2.JPEG"),
            rs.FileError,
            "n03394916_2.JPEG' cannot be read as an image",
        ),
    ],
)
def test_what_is_missing_or_broken_is_named_in_one_line(unpacked, split, harm, error, words):
    harm(unpacked)
    with pytest.raises(error, match=words) as raised:
        load(unpacked, split)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ("tensh",)}, "unknown class 'tensh'; did you mean 'tench'"),
        ({"classes": ("tench", "n01440764")}, "class 'n01440764' is given twice"),
        ({"size": 0}, "size=0, resize=0, expected 1 <= size <= resize"),
        ({"size": 28, "resize": 20}, "size=28, resize=20"),
        ({"limit": 0}, "at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(unpacked, options, words):
    with pytest.raises(rs.UsageError, match=words):
        load(unpacked, **options)
    with pytest.raises(rs.UsageError, match="unknown split of imagenet 'valid'"):
        load(unpacked, "valid")


def test_a_thousand_known_classes_are_not_all_listed(unpacked):
    for wnid in names():
        (unpacked / "train" / wnid).mkdir(exist_ok=True)
    with pytest.raises(rs.UsageError, match="and 951 more") as raised:
        load(unpacked, classes=("tensh",))
    assert len(str(raised.value)) < 1500


def test_streams_give_the_moments_of_the_set_bit_for_bit(unpacked):
    expected = rs.patch_moments(load(unpacked).images, (7, 7))
    batches = repsim_imagenet.batches(unpacked, size=28, batch_size=7)
    chunks = repsim_imagenet.chunks(unpacked, size=28, chunk_size=9)
    assert len(chunks) == 5
    for found in (
        rs.patch_moments(batches, (7, 7)),
        rs.patch_moments_of_chunks(chunks, (7, 7)),
        rs.patch_moments_of_chunks(chunks, (7, 7), scheduler="local:2"),
    ):
        assert found.count == expected.count
        assert torch.equal(found.total, expected.total)
        assert torch.equal(found.second, expected.second)


def test_streams_take_all_classes_and_the_test_split(unpacked):
    every = torch.cat(list(repsim_imagenet.batches(unpacked, "test", classes=["all"], size=28)))
    assert torch.equal(every, load(unpacked, "test", classes=("all",)).images)
    streams = {"batch_size": repsim_imagenet.batches, "chunk_size": repsim_imagenet.chunks}
    for option, stream in streams.items():
        with pytest.raises(rs.UsageError, match="at least 1"):
            list(stream(unpacked, size=28, **{option: 0}))
        with pytest.raises(rs.UsageError, match="no folder at"):
            stream(unpacked / "elsewhere")


def test_networks_are_compared_on_it(unpacked):
    def tiny(num_classes, in_channels):
        first = nn.Conv2d(in_channels, 4, 7, stride=2)
        return nn.Sequential(
            first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_classes)
        )

    result = rs.compare(
        [tiny], f"imagenet:root={unpacked}:size=28", seeds=2, recipe=rs.Recipe(steps=2, batch=8)
    )
    assert np.isfinite(result.similarity.values).all()
    assert result.sizes["component"] == 147


def test_the_command_compares_on_it(unpacked, repsim, tmp_path):
    spec = f"imagenet:root={unpacked}:size=28:classes=tench/golf_ball"
    models = ["--models", "linear_cnn", "--seeds", "2"]
    training = ["--recipe", "quick:steps=2", "--jobs", "1"]
    output = str(tmp_path / "r.nc")
    code, out, err = repsim("compare", *models, *training, "--dataset", spec, "-o", output)
    assert code == 0, err
    assert rs.open_result(tmp_path / "r.nc").sizes["seed"] == 2


def test_the_name_is_offered_without_importing_what_reads_images():
    code = "import repsim_imagenet, sys; print({'torch', 'torchvision', 'numpy'} & {*sys.modules})"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout == "set()\n", found.stderr
