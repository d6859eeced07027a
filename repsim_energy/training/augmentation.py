"""Random crops and mirror images, computed on the device for the images of one step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from repsim_energy.training.recipe import Recipe

__all__ = ["draw_moves", "images_of_step", "moved"]


def images_of_step(
    pixels: Tensor, chosen: Tensor, recipe: Recipe, seeds: Sequence[int], step: int
) -> Tensor:
    """Return the images of a step, each moved as the recipe says.

    Parameters
    ----------
    pixels : (n, c, h, w), all training images
    chosen : (seeds b,) indices of the images of the step, those of one seed after another
    seeds : of the trainings; the moves of a training depend on its seed and the step alone
    step : the number of steps before it

    Returns
    -------
    (seeds b, c, h, w) images of the dtype of ``pixels``
    """
    if not recipe.augments:
        return pixels[chosen]
    recipe.check_images(*pixels.shape[2:])
    count = len(chosen) // len(seeds)
    drawn = [draw_moves(seed, step, count, recipe.crop, recipe.flip) for seed in seeds]
    moves = torch.cat(drawn)
    if pixels.is_cuda:  # from pinned memory the copy does not wait for the step before
        moves = moves.pin_memory().to(pixels.device, non_blocking=True)
    return moved(pixels, chosen, moves)


def draw_moves(seed: int, step: int, count: int, crop: int, flip: bool) -> Tensor:
    """Return (count, 3) moves: rows, columns, and 1 for a mirror image.

    Rows and columns are uniform from ``-crop`` to ``crop``, mirror images half of all with ``flip``
    and none without it. The numbers come from a generator of their own, Philox keyed by seed and
    step, whose stream NumPy promises not to change.
    """
    generator = np.random.Philox(np.random.SeedSequence((seed, step)))
    drawn = generator.random_raw(3 * count).reshape(3, count)
    choices = np.array([2 * crop + 1, 2 * crop + 1, 1 + flip], dtype=np.uint64)
    moves = (drawn % choices[:, None]).astype(np.int64) - np.array([[crop], [crop], [0]])
    return torch.from_numpy(moves.T.copy())


def moved(pixels: Tensor, chosen: Tensor, moves: Tensor) -> Tensor:
    """Return images as seen through a window that is moved, and then mirrored.

    What lies outside of an image is its reflection about the outermost pixel.

    Parameters
    ----------
    pixels : (n, c, h, w)
    chosen : (b,) indices of images
    moves : (b, 3) of :func:`draw_moves`, smaller than the image
    """
    channels, height, width = (
        torch.arange(size, device=pixels.device) for size in pixels.shape[1:]
    )
    down, right, mirror = moves.unsqueeze(2).unbind(1)  # (b, 1) each
    rows = _reflected(height + down, len(height))
    columns = torch.where(mirror > 0, len(width) - 1 - width, width)
    columns = _reflected(columns + right, len(width))
    return pixels[
        chosen[:, None, None, None],
        channels[:, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]


def _reflected(places: Tensor, size: int) -> Tensor:
    """Return places within an axis for those up to ``size - 1`` outside of it."""
    return size - 1 - (size - 1 - places.abs()).abs()
