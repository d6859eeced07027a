"""What identifies images: their bytes, wherever they lie, hashed where they are."""

import hashlib
import tracemalloc

import numpy as np
import pytest
import torch

from repsim_energy.interfaces import ImageSet


def image_set(images):
    return ImageSet(images, torch.zeros(len(images), dtype=torch.int64), ("a",), "images")


BYTES = torch.arange(2 * 3 * 4 * 5, dtype=torch.uint8).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    "images",
    [
        BYTES,
        BYTES[:0],
        BYTES[:, :, :, :0],
        BYTES.permute(0, 1, 3, 2),
        BYTES.to(memory_format=torch.channels_last),
        BYTES[:, :, ::2, 1:],
        BYTES.expand(2, 3, 4, 5)[:1].expand(7, 3, 4, 5),
        BYTES.double() / 7,
        BYTES.half(),
        BYTES.float().requires_grad_(),
    ],
    ids=lambda images: f"{images.dtype}{tuple(images.shape)}{images.stride()}",
)
def test_a_fingerprint_is_the_hash_of_type_shape_and_values_in_order(images):
    array = np.array(images.detach().tolist(), dtype=images.detach().numpy().dtype)
    array = array.reshape(images.shape)
    head = f"{array.dtype.str}{array.shape}".encode()
    expected = hashlib.sha256(head + array.tobytes("C")).hexdigest()
    assert image_set(images).image_fingerprint == expected


def test_what_numpy_and_utf_8_do_not_have_is_hashed_too():
    half = BYTES.bfloat16()
    expected = b"bfloat16(2, 3, 4, 5)" + half.view(torch.int16).numpy().tobytes()
    assert image_set(half).image_fingerprint == hashlib.sha256(expected).hexdigest()
    assert image_set(half).image_fingerprint != image_set(half.view(torch.int16)).image_fingerprint
    named = [
        ImageSet(BYTES, torch.zeros(2).long(), (name,), "x") for name in ("a\udcff", "a\udcfe")
    ]
    assert named[0].fingerprint != named[1].fingerprint


def test_hashing_copies_no_images():
    images = torch.zeros(64, 3, 256, 256, dtype=torch.uint8)
    for given in (images, images.permute(0, 1, 3, 2)):
        tracemalloc.start()
        _ = image_set(given).image_fingerprint
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < images.nbytes / 16
