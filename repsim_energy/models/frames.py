"""The family ``frame/*``: fixed filters as models, alone or below a linear classifier."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from repsim_energy.errors import UsageError
from repsim_energy.interfaces import ImageSet, PatchBasis, TrainedModel
from repsim_energy.models.patch_size import patch_size
from repsim_energy.numerics.frames.bank import FRAMES, OF_IMAGES, frame_bank
from repsim_energy.numerics.patches.moments import patch_moments

__all__ = ["frames"]

POOLED = 4
"""Rows and columns that the responses are averaged to before the classifier."""

_bases: WeakKeyDictionary[ImageSet, dict[tuple[int, int], PatchBasis]] = WeakKeyDictionary()
"""Patch bases of images that still exist, so that each seed does not compute them again."""


class _Frames:
    """The family ``frame/*``."""

    example = "dct"

    def names(self) -> Iterable[str]:
        """Return the names of the frames."""
        return FRAMES

    def __call__(
        self,
        name: str,
        num_classes: int,
        in_channels: int,
        images: ImageSet,
        *,
        patch: str = "3x3",
        train: Literal["nothing", "classifier", "all"] = "nothing",
        color: str | None = None,
        orientations: int | None = None,
        filters: int | None = None,
        seed: int | None = None,
        eps: float | None = None,
    ) -> nn.Module | TrainedModel:
        """Return the filters of a frame, or a network of them and a linear classifier.

        Parameters
        ----------
        patch : height and width of the filters, such as 5x3, or 5 for 5x5
        train : nothing for the filters alone; classifier for a network of the fixed filters, a
            ReLU, averages over 4x4 regions and a linear classifier; all to train its filters too
        color : opponent (gray, red-blue, magenta-green), the default, or channels for each
            channel alone; of frames other than random, pca and whitening
        orientations : number of orientations of gabor, 6 by default
        filters : number of filters, the first in the order of the frame; by default all, and of
            random as many as a patch has numbers
        seed : of random, 0 by default
        eps : of whitening, relative to the mean variance of a pixel, 5e-4 by default
        """
        size = patch_size(patch)
        given = {
            "color": color,
            "orientations": orientations,
            "filters": filters,
            "seed": seed,
            "eps": eps,
        }
        options = {key: value for key, value in given.items() if value is not None}
        basis = _basis(images, size, name) if name in OF_IMAGES else None
        bank = frame_bank(name, in_channels, size, basis=basis, **options)
        conv = _convolution(bank, bias=train != "nothing")
        if train == "nothing":
            return TrainedModel(nn.Sequential(conv), network=False)
        conv.requires_grad_(train == "all")
        return nn.Sequential(
            conv,
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(POOLED),
            nn.Flatten(),
            nn.Linear(len(bank) * POOLED**2, num_classes),
        )


def _basis(images: ImageSet, patch: tuple[int, int], name: str) -> PatchBasis:
    """Return the principal components of the patches of images."""
    if images.transform is not None:
        raise UsageError(
            f"patches of '{images.name}' are transformed, expected unchanged images for frame "
            f"'{name}'; leave the variant out"
        )
    bases = _bases.setdefault(images, {})
    if patch not in bases:
        bases[patch] = patch_moments(images.images, patch).basis()
    return bases[patch]


def _convolution(bank: Tensor, *, bias: bool) -> nn.Conv2d:
    """Return a convolution with these filters, and a bias of 0."""
    n, c, h, w = bank.shape
    conv = nn.Conv2d(c, n, (h, w), bias=bias, dtype=torch.float32, device="cpu")
    with torch.no_grad():
        conv.weight.copy_(bank)
        if conv.bias is not None:
            conv.bias.zero_()
    return conv


frames = _Frames()
