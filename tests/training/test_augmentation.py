"""Augmentation moves pixels, and nothing else; its random numbers belong to a seed and a step."""

import numpy as np
import pytest
import torch
from samples import noise_images

from repsim_energy.training.augmentation import draw_moves, images_of_step, moved
from repsim_energy.training.recipe import Recipe

PIXELS = noise_images(30, (3, 7, 9)).images
CHOSEN = torch.tensor([4, 4, 29, 0, 11])


def moves(*rows):
    return torch.tensor(rows)


def test_without_augmentation_images_are_those_of_the_data_set():
    found = images_of_step(PIXELS, CHOSEN, Recipe(steps=1), [3], 5)
    assert torch.equal(found, PIXELS[CHOSEN])


def test_a_move_by_nothing_is_the_identity():
    assert torch.equal(moved(PIXELS, CHOSEN, torch.zeros(5, 3, dtype=torch.int64)), PIXELS[CHOSEN])


def test_a_mirror_image_of_a_mirror_image_is_the_image():
    mirror = moves((0, 0, 1)).expand(5, 3)
    once = moved(PIXELS, CHOSEN, mirror)
    assert torch.equal(once, PIXELS[CHOSEN].flip(3))
    assert torch.equal(moved(once, torch.arange(5), mirror), PIXELS[CHOSEN])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("mirror", [0, 1])
@pytest.mark.parametrize(("down", "right"), [(0, 0), (3, -2), (-6, 8), (6, -8), (1, 0)])
def test_a_crop_is_a_window_of_the_reflected_image(down, right, mirror, dtype):
    """np.pad pads with the reflection, without the outermost pixel, as well."""
    pixels = PIXELS.to(dtype)
    found = moved(pixels, CHOSEN, moves((down, right, mirror)).expand(5, 3))
    padded = np.pad(pixels[CHOSEN].numpy(), ((0, 0), (0, 0), (6, 6), (8, 8)), mode="reflect")
    window = padded[:, :, 6 + down : 13 + down, 8 + right : 17 + right]
    window = window[..., ::-1] if mirror else window
    assert found.dtype == dtype
    assert torch.equal(found, torch.from_numpy(window.copy()))


def test_pixels_are_moved_and_never_mixed():
    """Each color that is there afterwards was there before, at every place all channels of it."""
    recipe = Recipe(steps=1, crop=4, flip=True)
    found = images_of_step(PIXELS, CHOSEN, recipe, [0], 0)
    assert not torch.equal(found, PIXELS[CHOSEN])
    for before, after in zip(PIXELS[CHOSEN], found, strict=True):
        colors = {tuple(color) for color in before.flatten(1).T.tolist()}
        assert {tuple(color) for color in after.flatten(1).T.tolist()} <= colors


def test_moves_are_uniform_and_independent():
    """Pearson's chi-squared of all (2 2 + 1)^2 2 moves, at a chance of 1 in 10,000."""
    drawn = torch.cat([draw_moves(7, step, 100, 2, flip=True) for step in range(200)])
    assert drawn.amin(0).tolist() == [-2, -2, 0]
    assert drawn.amax(0).tolist() == [2, 2, 1]
    counts = torch.zeros(5, 5, 2, dtype=torch.float64)
    for row, column, mirror in drawn.tolist():
        counts[row + 2, column + 2, mirror] += 1
    expected = len(drawn) / 50
    assert float(((counts - expected) ** 2 / expected).sum()) < 94.0  # of 49 degrees of freedom


def test_moves_are_those_of_seed_and_step():
    known = draw_moves(1, 2, 50, 4, flip=True)
    assert torch.equal(draw_moves(1, 2, 50, 4, flip=True), known)
    for seed, step in [(1, 3), (2, 2), (2, 1), (2**32 + 1, 2), (2**63 - 1, 2)]:
        assert not torch.equal(draw_moves(seed, step, 50, 4, flip=True), known)
    assert torch.equal(draw_moves(1, 2, 50, 4, flip=False)[:, :2], known[:, :2])
    assert not draw_moves(1, 2, 50, 4, flip=False)[:, 2].any()
    assert known[:4].tolist() == [[-4, 4, 0], [3, -4, 0], [-4, -3, 0], [4, 0, 1]]  # of any NumPy


def test_the_moves_of_seeds_together_are_those_of_each_alone():
    recipe = Recipe(steps=1, crop=2, flip=True)
    both = torch.cat([CHOSEN, CHOSEN + 0])
    found = images_of_step(PIXELS, both, recipe, [8, 9], 3)
    alone = [images_of_step(PIXELS, CHOSEN, recipe, [seed], 3) for seed in (8, 9)]
    assert torch.equal(found, torch.cat(alone))
    assert not torch.equal(*alone)
