"""Options of every data set select images, without copying others."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from samples import noise_images

from repsim_energy.data.selection import BLOCK_IMAGES, select
from repsim_energy.errors import UsageError


def many(count, dtype=torch.uint8):
    images = noise_images(count, (3, 6, 6), classes=3)
    return replace(images, images=images.images.to(dtype))


def test_a_choice_of_everything_is_the_images_themselves():
    images = many(9)
    for options in ({}, {"limit": 9}, {"limit": 100}, {"classes": ("c", "a", "b")}):
        assert select(images, **options).images is images.images
    assert select(images, classes=("c", "a", "b")).labels.tolist() == [1, 2, 0] * 3


def test_classes_are_kept_in_their_order_and_the_limit_is_of_those():
    found = select(many(12), classes=("c", "a"), limit=4)
    assert found.classes == ("c", "a")
    assert found.labels.tolist() == [1, 0, 1, 0]
    assert torch.equal(found.images, many(12).images[[0, 2, 3, 5]])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_resizing_part_by_part_is_resizing_at_once(dtype):
    images = many(2 * BLOCK_IMAGES + 5, dtype=dtype)
    whole = F.interpolate(images.images.float(), (4, 4), mode="bilinear", antialias=True)
    if dtype == torch.uint8:
        whole = whole.round().clamp(0, 255)
    assert torch.equal(select(images, size=4).images, whole.to(dtype))
    assert select(many(0), size=4).images.shape == (0, 3, 4, 4)


def test_sizes_and_limits_that_mean_nothing_are_refused():
    for options in ({"size": 0}, {"limit": 0}):
        with pytest.raises(UsageError, match="at least 1"):
            select(many(3), **options)
