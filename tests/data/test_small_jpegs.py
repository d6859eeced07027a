"""Small JPEG files have the pixels and the errors that Pillow gives when it opens each of them."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from repsim_energy.data.decoding import load_rgb
from repsim_energy.data.small_jpegs import SMALL_BYTES, decoded
from repsim_energy.errors import FileError

KINDS = {
    "plain": {},
    "fine": {"quality": 98, "subsampling": 0},
    "coarse": {"quality": 5, "subsampling": 2},
    "tables of its own": {"optimize": True},
    "progressive": {"progressive": True},
    "comment": {"comment": b"\xff\xda in a comment"},
    "profile": {"icc_profile": bytes(range(256)) * 20},
    "restarts": {"restart_marker_blocks": 1},
}


def jpeg(seed=0, size=(13, 10), mode="RGB", **options):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    file = BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def opened(content):
    """Return the pixels that Pillow reads, or none if it refuses the file."""
    try:
        with Image.open(BytesIO(content)) as picture:
            return np.asarray(picture.convert("RGB"))
    except (OSError, ValueError, SyntaxError):
        return None


def read(path, content):
    path.write_bytes(content)
    try:
        return np.asarray(load_rgb(path))
    except FileError:
        return None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kind", KINDS)
def test_pixels_are_those_of_the_opened_file(tmp_path, mode, kind):
    for seed in range(3):  # of headers that are alike, or not
        for size in ((13, 10), (1, 1), (64, 48)):
            content = jpeg(seed, size, mode, **KINDS[kind])
            assert decoded(content) is not None
            np.testing.assert_array_equal(read(tmp_path / "a.jpg", content), opened(content))


@pytest.mark.parametrize("kind", ["plain", "progressive"])
def test_damaged_files_are_read_or_refused_as_if_opened(tmp_path, kind):
    content, rng = bytearray(jpeg(size=(24, 24), **KINDS[kind])), np.random.default_rng(1)
    outcomes = set()
    for place in [*range(0, 700, 5), *rng.integers(700, len(content), 40)]:
        for damaged in (
            content[:place],
            content[:place] + content[place + 1 :],
            content[:place] + bytes([content[place] ^ rng.integers(1, 256)]) + content[place + 1 :],
            content[:place] + b"\xff\xda" + content[place:],
        ):
            found, expected = read(tmp_path / "a.jpg", bytes(damaged)), opened(bytes(damaged))
            np.testing.assert_array_equal(found, expected, err_msg=f"at {place}")
            outcomes.add(expected is None)
    assert outcomes == {True, False}


def test_other_files_are_left_to_pillow(tmp_path):
    large = jpeg(size=(200, 200), quality=100, subsampling=0)
    assert len(large) > SMALL_BYTES
    np.testing.assert_array_equal(read(tmp_path / "a.jpg", large), opened(large))
    file = BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(file, "PNG")
    assert decoded(file.getvalue()) is None
    assert decoded(b"") is None
    pair = BytesIO()
    pictures = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
    pictures[0].save(pair, "MPO", save_all=True, append_images=pictures[1:])
    assert decoded(pair.getvalue()) is None
    np.testing.assert_array_equal(
        read(tmp_path / "b.jpg", pair.getvalue()), opened(pair.getvalue())
    )
