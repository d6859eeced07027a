"""Images, data sets, and the functions that load and change them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from repsim_energy.errors import ShapeError
from repsim_energy.interfaces.hashing import tensor_digest
from repsim_energy.interfaces.short_repr import short_repr
from repsim_energy.interfaces.validation import is_finite, problem_of
from repsim_energy.versions import Origin

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "Dataset",
    "DatasetLoader",
    "DatasetVariant",
    "ImageSet",
    "Normalization",
    "PatchTransform",
]


@dataclass(frozen=True, eq=False)
class PatchTransform:
    r"""Linear transform :math:`p \mapsto T p` of image patches, applied inside the first layer.

    Overlapping patches that are transformed independently of each other no longer form an image.
    Written side by side, they would form one that is kh * kw times as large, convolved with a
    stride of the kernel size. The layer gives the same responses to the unchanged image, with
    stride 1 and without padding, if its filters are applied to T p.

    Parameters
    ----------
    matrix : (d, d) float64, symmetric: T
    patch : (c, kh, kw) with d = c * kh * kw, flattened channel-first

    Examples
    --------
    >>> import torch
    >>> PatchTransform(2 * torch.eye(27, dtype=torch.float64), (3, 3, 3)).matrix.shape
    torch.Size([27, 27])
    """

    matrix: Tensor
    patch: tuple[int, int, int]

    __repr__ = short_repr


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labeled images in memory.

    Parameters
    ----------
    images : (n, c, h, w) uint8 in 0..255, or float
    labels : (n,) int64, indices into ``classes``
    classes : names of the labels; empty for images without labels, whose labels are all 0
    name : of the set in results
    transform : of the patches that networks receive; ``None`` for unchanged images

    Raises
    ------
    ShapeError
        If images or labels have another shape.

    Examples
    --------
    >>> import torch
    >>> images = torch.zeros(10, 3, 32, 32, dtype=torch.uint8)
    >>> len(ImageSet(images, torch.arange(10) % 2, ("cat", "dog"), "pets"))
    10
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    transform: PatchTransform | None = None

    __repr__ = short_repr

    def __post_init__(self) -> None:
        """Refuse images and labels whose shapes do not fit together."""
        if self.images.ndim != 4:
            raise ShapeError(
                f"images have shape {tuple(self.images.shape)}, expected (n, c, h, w); "
                "stack them along a first axis, channels before rows"
            )
        if self.labels.shape != self.images.shape[:1]:
            raise ShapeError(
                f"labels have shape {tuple(self.labels.shape)}, expected "
                f"({len(self.images)},); give one label per image"
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    @property
    def is_finite(self) -> bool:
        """True if no pixel is NaN or infinite."""
        return is_finite(self.images)

    def problem(self) -> str | None:
        """Return a description of the first problem of the pixels or labels, or None."""
        return problem_of(self.images, self.labels, len(self.classes))

    @cached_property
    def image_fingerprint(self) -> str:
        """SHA-256 of the pixels, their type, shape and transform, without the labels."""
        pixels = tensor_digest(self.images)
        if self.transform is None:
            return pixels
        matrix = tensor_digest(self.transform.matrix)
        return hashlib.sha256(f"{pixels}\n{matrix}".encode()).hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels and class names, on which a training depends."""
        text = "\n".join((self.image_fingerprint, tensor_digest(self.labels), *self.classes))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


@dataclass(frozen=True)
class Normalization:
    """Mean and standard deviation that turn pixels into network input: ``(x - mean) / std``.

    Pixels of type uint8 are divided by 255 first.

    Parameters
    ----------
    mean : one number per channel of the images, in the order red, green, blue
    std : one number per channel. Networks that the toolkit trains have a single number for all
        channels, so that the patch basis of the input is that of the images, up to the scale of
        the eigenvalues
    reverse : whether the network receives the channels in the order blue, green, red

    Examples
    --------
    >>> Normalization(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)).reverse
    False
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverse: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """Training and test images of a data set, after its variants.

    Parameters
    ----------
    label : name in results
    train : training images
    test : test images; may be empty
    origins : of the plugins that offer the data set and its variants, built-ins included

    Examples
    --------
    >>> import torch
    >>> images = torch.zeros(10, 3, 32, 32, dtype=torch.uint8)
    >>> split = ImageSet(images, torch.arange(10) % 2, ("cat", "dog"), "pets")
    >>> Dataset("pets", train=split, test=split).label
    'pets'
    """

    label: str
    train: ImageSet
    test: ImageSet
    origins: tuple[Origin, ...] = ()

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of the images."""
        _, c, h, w = self.train.images.shape
        return c, h, w


class DatasetLoader(Protocol):
    """Function that loads a split of a data set. Its keyword arguments are options of users.

    Examples
    --------
    >>> import torch
    >>> def noise(split: str, *, count: int = 10) -> ImageSet:
    ...     images = torch.rand(count, 3, 32, 32)
    ...     return ImageSet(images, torch.arange(count) % 2, ("a", "b"), "noise")
    >>> loader: DatasetLoader = noise
    """

    def __call__(self, split: str, /, *_: Any, **options: Any) -> ImageSet:
        """Return the images of a split, ``train`` or ``test``."""
        ...


class DatasetVariant(Protocol):
    """Function that changes images or labels. Its keyword arguments are options of users.

    A second parameter called ``train`` receives the training images, for variants that are fitted
    to them.

    Examples
    --------
    >>> from dataclasses import replace
    >>> def negative(images: ImageSet) -> ImageSet:
    ...     return replace(images, images=255 - images.images)
    >>> variant: DatasetVariant = negative
    """

    def __call__(self, images: ImageSet, /, *_: Any, **options: Any) -> ImageSet:
        """Return the changed images."""
        ...
