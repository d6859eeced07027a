"""Float images that are bytes divided by 255 have the exact moments of those bytes."""

import numpy as np
import pytest
import torch
from torchvision.transforms.functional import to_tensor

import repsim_energy as rs
from repsim_energy.errors import DataError
from repsim_energy.numerics.patches import scaled_bytes
from repsim_energy.numerics.patches.scaled_bytes import bytes_of

EVERY_BYTE = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)


@pytest.fixture
def images(rng):
    return torch.randint(0, 256, (30, 3, 9, 8), generator=rng, dtype=torch.uint8)


def reference(values, kh, kw):
    """Second moment of all patches in float64, patch by patch."""
    windows = values.double().unfold(2, kh, 1).unfold(3, kw, 1)
    patches = windows.permute(0, 2, 3, 1, 4, 5).flatten(0, 2).flatten(1)
    return sum(torch.outer(patch, patch) for patch in patches)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_byte_is_recognized_however_it_was_divided(dtype):
    ways = [
        EVERY_BYTE.to(dtype) / 255,
        EVERY_BYTE.to(dtype).div(255),
        torch.from_numpy(EVERY_BYTE.numpy() / 255).to(dtype),
        torch.from_numpy(EVERY_BYTE.numpy().astype(str(dtype).removeprefix("torch.")) / 255),
    ]
    for values in ways:
        assert torch.equal(bytes_of(values), EVERY_BYTE)


def test_images_of_torchvision_have_the_moments_of_the_bytes(images):
    loaded = torch.stack([to_tensor(image.permute(1, 2, 0).numpy()) for image in images])
    found, expected = (rs.patch_moments(batch, (3, 2)) for batch in (loaded, images))
    assert found.products == expected.products
    assert (found.count, found.unit, expected.unit) == (expected.count, 1.0, 1 / 255)
    whole = found.second * 255**2
    assert torch.equal(whole.round(), expected.second)
    torch.testing.assert_close(whole, expected.second, rtol=1e-15, atol=0)
    torch.testing.assert_close(found.mean, expected.mean, rtol=1e-14, atol=0)


@pytest.mark.parametrize(
    "other",
    [
        lambda v: v * 2 - 1,
        lambda v: (v - 0.4914) / 0.247,
        lambda v: v * 255,
        lambda v: -v,
        lambda v: torch.nextafter(v, torch.tensor(2.0)),
        lambda v: v.index_put((torch.tensor(29), *torch.tensor([[2], [8], [7]])), v[:1, 0, 0, 0]),
    ],
    ids=["-1 to 1", "normalized", "0 to 255", "negative", "next number", "moved pixel"],
)
def test_other_floats_keep_their_values(other, images):
    values = other(images.float() / 255)
    moments = rs.patch_moments(values, (2, 3))
    expected = reference(values, 2, 3)
    size = float(expected.abs().max())
    torch.testing.assert_close(moments.second / size, expected / size, rtol=0, atol=1e-6)


def test_one_other_pixel_anywhere_is_seen(images, rng):
    values = images.float() / 255
    for place in torch.randint(0, values.numel(), (50,), generator=rng):
        changed = values.clone()
        changed.view(-1)[place] = torch.nextafter(changed.view(-1)[place], torch.tensor(0.5))
        assert bytes_of(changed) is None
    assert torch.equal(bytes_of(values), images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_multiplied_as_it_is(dtype, images):
    values = (images.float() / 255).to(dtype)
    assert bytes_of(values) is None
    size = float(reference(values, 2, 2).max())
    off = rs.patch_moments(values, (2, 2)).second - reference(values, 2, 2)
    assert float(off.abs().max()) < 1e-6 * size


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_still_refused(wrong, images):
    values = images.float() / 255
    values[7, 1, 2, 3] = wrong
    with pytest.raises(DataError, match="NaN or infinite"):
        rs.patch_moments(values, (3, 3))


def test_layouts_and_parts_give_the_same(images, monkeypatch):
    values = images.double() / 255
    expected = rs.patch_moments(values, (3, 3))
    views = [
        values.to(memory_format=torch.channels_last),
        torch.cat([values, values], 3)[..., :8],
        values.flip(0).flip(0),
    ]
    for view in views:
        assert torch.equal(rs.patch_moments(view, (3, 3)).second, expected.second)
    monkeypatch.setattr(scaled_bytes, "PART_BYTES", 5 * values[0].numel() * 8)
    monkeypatch.setattr(scaled_bytes, "BLOCK", 2 * values[0].numel())
    parts = rs.patch_moments(values, (3, 3))
    torch.testing.assert_close(parts.second, expected.second, rtol=1e-14, atol=0)
    mixed = values.clone()
    mixed[12:20] += 0.001  # of six parts, two hold other numbers
    found = rs.patch_moments(mixed, (3, 3))
    assert found.products == expected.products | {"float64"}
    torch.testing.assert_close(found.second, reference(mixed, 3, 3), rtol=1e-12, atol=0)
