"""The shapes of the things that plugins give and take, and their own consistency."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

from repsim_energy.errors import ShapeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor, nn

__all__ = [
    "Activations",
    "Architecture",
    "Dataset",
    "DatasetLoader",
    "DatasetVariant",
    "Direction",
    "FilterBank",
    "ImageSet",
    "Metric",
    "ModelFamily",
    "ModelSpec",
    "Normalization",
    "OperatesOn",
    "PatchBasis",
    "PatchTransform",
    "Stage",
    "TrainedModel",
    "missing_of",
]

Stage = Literal["init", "trained", "change"]
OperatesOn = Literal["filters", "activations"]
Direction = Literal["similarity", "distance"]


@dataclass(frozen=True, eq=False)
class PatchTransform:
    r"""A linear map of every overlapping patch, :math:`p \mapsto T p`, left to the first layer.

    Images whose overlapping patches are changed independently of each other are no images any
    more. They would have to be written side by side, kh * kw times as large, and convolved with
    stride k. The same responses come from the images as they are, convolved with stride 1 and
    without padding, when the layer applies its filters to T p.

    Parameters
    ----------
    matrix : (d, d) float64, symmetric: T
    patch : (c, kh, kw) with d = c * kh * kw, flattened channel-first
    """

    matrix: Tensor
    patch: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labeled images held in memory.

    Parameters
    ----------
    images : (n, c, h, w) uint8 in 0..255, or float
    labels : (n,) int64, indices into ``classes``
    classes : the names of the labels; none for images without labels, whose labels are all 0
    name : what to call the set in results
    transform : of the patches that networks see; ``None`` for the images as they are
    """

    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    name: str
    transform: PatchTransform | None = None

    def __post_init__(self) -> None:
        """Refuse images and labels that do not belong together."""
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
        """Whether no pixel is NaN or infinite; looked through in parts of about 16 million."""
        if not self.images.is_floating_point():
            return True
        size = max(1, self.images.shape[1:].numel())
        return all(part.isfinite().all() for part in self.images.split(max(1, 2**24 // size)))

    def problem(self) -> str | None:
        """Return what is wrong with the content, which is looked through whole; or ``None``."""
        pixels, labels, count = self.images, self.labels, len(self.classes)
        if channels_last(pixels.shape):
            return (
                f"images have shape {tuple(pixels.shape)}, which is (n, h, w, c), expected "
                "(n, c, h, w)"
            )
        if str(pixels.dtype) != "torch.uint8" and not pixels.is_floating_point():
            return f"images are {pixels.dtype}, expected uint8 (0 to 255) or float"
        if not self.is_finite:
            return "images hold NaN or infinite numbers, expected finite ones"
        if str(labels.dtype) != "torch.int64":
            return f"labels are {labels.dtype}, expected int64 indices into the classes"
        if len(self) and not 0 <= labels.min() <= labels.max() < max(1, count):
            low, high = int(labels.min()), int(labels.max())
            return f"labels go from {low} to {high}, expected 0 to {count - 1} for {count} classes"
        return None

    @cached_property
    def image_fingerprint(self) -> str:
        """SHA-256 of the pixels, their type, shape and transform; the labels do not enter."""
        pixels = _digest(self.images)
        if self.transform is None:
            return pixels
        return hashlib.sha256(f"{pixels}\n{_digest(self.transform.matrix)}".encode()).hexdigest()

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of pixels, labels and class names: what a training depends on."""
        text = "\n".join((self.image_fingerprint, _digest(self.labels), *self.classes))
        return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def channels_last(shape: Sequence[int]) -> bool:
    """Return whether a shape of four axes is that of (n, h, w, c) images of light."""
    return len(shape) == 4 and shape[3] <= 4 < min(shape[1], shape[2])


def _digest(tensor: Tensor) -> str:
    """Return the SHA-256 of type, shape and values; nothing of a contiguous tensor is copied."""
    tensor, kind = tensor.detach().cpu(), ""
    if str(tensor.dtype) == "torch.bfloat16":  # which NumPy does not have
        from torch import int16  # here, so that listing names stays fast

        tensor, kind = tensor.view(int16), "bfloat16"
    array = tensor.numpy()
    digest = hashlib.sha256(f"{kind or array.dtype.str}{array.shape}".encode())
    whole = array.ndim < 2 or array.flags.c_contiguous
    for part in [array] if whole else array:
        digest.update(part.reshape(-1).view("uint8").data)
    return digest.hexdigest()


@dataclass(frozen=True, eq=False)
class PatchBasis:
    """The principal components of image patches.

    Parameters
    ----------
    components : (r, d) float64, one unit eigenvector a row, descending eigenvalue; r = d, except
        where patches have no variance along some directions, which are left out
    eigenvalues : (r,) float64, the variance of the patches along each component
    mean : (d,) float64, the mean patch
    patch : (c, kh, kw) with d = c * kh * kw, flattened channel-first
    centered : whether the mean was removed before the eigenvectors were taken
    count : the number of patches behind it
    products : how the matrix products behind it were taken, where that is known: ``int8``,
        ``float32`` or ``float64``; does not enter ``basis_id``
    """

    components: Tensor
    eigenvalues: Tensor
    mean: Tensor
    patch: tuple[int, int, int]
    centered: bool
    count: int
    products: frozenset[str] = frozenset()

    @property
    def without_variance(self) -> int:
        """How many components are left out, because the patches do not vary along them."""
        return self.components.shape[1] - len(self.components)

    @cached_property
    def basis_id(self) -> str:
        """Sixteen hexadecimal digits of the SHA-256 over all that defines the basis.

        Profiles are comparable only when they were measured on one basis: equal ids.
        """
        text = [str(self.patch), str(self.centered), str(self.count)]
        text += [_digest(t) for t in (self.components, self.eigenvalues, self.mean)]
        return hashlib.sha256("\n".join(text).encode()).hexdigest()[:16]


@dataclass(frozen=True, eq=False)
class FilterBank:
    """What a metric on filters is given of a network.

    Parameters
    ----------
    filters : (k, c, kh, kw) of its first layer
    basis : the principal components of the patches that they see
    profile : (r,) energy profile of the filters on the basis where it was measured already, else
        ``None``
    """

    filters: Tensor
    basis: PatchBasis
    profile: NDArray[np.float64] | None = None


@dataclass(frozen=True, eq=False)
class Activations:
    """What a metric on activations is given of a layer.

    Parameters
    ----------
    values : (n, ...) what the layer answers to n images
    """

    values: Tensor


@runtime_checkable
class Metric(Protocol):
    """A measure of similarity or distance between two networks.

    ``represent`` is called once per network with a :class:`FilterBank`, or once per layer of each
    with :class:`Activations`, as ``operates_on`` says; ``compare`` and ``null_interval`` are called
    once per pair.

    A metric whose representations are of one shape may also have ``compare_all(stack)``, which
    takes m of them as one array and returns the (m, m) values of ``compare`` and of both ends of
    ``null_interval``; it is then called instead.

    A metric may have ``variables(representation)``, which returns numbers that describe one network
    (or layer), as a mapping from name to :class:`~repsim_energy.Variable`. They become variables of
    the result, with the dimensions of networks before their own.

    A metric on activations may have two attributes more. ``batch``, where it is not None, is how
    many images it wants to see at once at most: ``represent`` is then called for equally large
    batches while the network is at them, on the network's device, and what it returns is stacked
    along a new first axis. ``representation_bytes(images)`` says how large the representation of a
    layer is, so that the memory of a comparison is known before it starts.
    """

    name: str
    operates_on: OperatesOn
    direction: Direction
    bounds: tuple[float, float]
    invariances: frozenset[str]

    def represent(self, subject: Any) -> NDArray[np.float64]:
        """Return what ``compare`` needs to know of a :class:`FilterBank` or of activations."""
        ...

    def compare(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
        """Return the similarity (or distance) of two representations; NaN where undefined."""
        ...

    def null_interval(self, a: NDArray[np.float64], b: NDArray[np.float64]) -> tuple[float, float]:
        """Return the central 95% of ``compare`` for unrelated networks of these sizes."""
        ...


def missing_of(metric: object) -> list[str]:
    """Return what something lacks to be a :class:`Metric`."""
    wanted = [*Metric.__annotations__, "represent", "compare", "null_interval"]
    return [name for name in wanted if not hasattr(metric, name)]


class Architecture(Protocol):
    """A function that builds networks; its keyword arguments are the options a user can set.

    ``*_`` and ``**options`` stand for any further parameters, so that type checkers accept
    functions with options of their own.
    """

    def __call__(
        self, num_classes: int, in_channels: int, /, *_: Any, **options: Any
    ) -> nn.Module | TrainedModel:
        """Return a new network for images of ``in_channels`` channels, or a trained one."""
        ...


class ModelFamily(Protocol):
    """Many architectures behind one prefix, registered under ``prefix/*``.

    An attribute ``example`` may name the member that a check of the plugin tries.
    """

    def names(self) -> Iterable[str]:
        """Return the member names, without the prefix."""
        ...

    def __call__(
        self, name: str, num_classes: int, in_channels: int, /, *_: Any, **options: Any
    ) -> nn.Module | TrainedModel:
        """Return a new network of the member ``name``, or a trained one."""
        ...


class DatasetLoader(Protocol):
    """A function that loads a split of a data set; its keyword arguments are options."""

    def __call__(self, split: str, /, *_: Any, **options: Any) -> ImageSet:
        """Return the images of a split, ``train`` or ``test``."""
        ...


class DatasetVariant(Protocol):
    """A function that changes images or labels; its keyword arguments are options.

    A second parameter ``train`` asks for the training images, to fit something on.
    """

    def __call__(self, images: ImageSet, /, *_: Any, **options: Any) -> ImageSet:
        """Return the changed images."""
        ...


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network that was trained elsewhere and is taken as it is.

    Parameters
    ----------
    module : the trained network
    layer : the layer whose filters to read; ``None`` finds the one that gets the image
    initial : (k, c, kh, kw) weights of that layer before training, or the whole network as it was
        then, where they are known
    network : False where ``module`` holds filters alone and gives no activations
    normalization : of the images it was trained on, where it is known; ``dataset`` takes that of
        the images it is shown, ``None`` too unless the network normalizes inside
    answer : which entry of what it answers is the network's answer, where it answers several
    file_sha256 : SHA-256 of the file that its weights were read from, where there is one
    fold : ``bn`` to fold the batch norm that follows the layer into its filters; empty for none
    channels : the order in which it takes the channels of a color image: ``rgb``, or ``bgr`` of
        Caffe and OpenCV
    """

    module: nn.Module
    layer: str | None = None
    initial: Tensor | nn.Module | None = None
    network: bool = True
    normalization: Normalization | Literal["dataset"] | None = None
    answer: str = ""
    file_sha256: str = ""
    fold: str = ""
    channels: str = "rgb"


@dataclass(frozen=True)
class Normalization:
    """How pixel values (uint8 read as 0..1) become network input: ``(x - mean) / std``.

    Parameters
    ----------
    mean : one number per channel of the images, which are red, green and blue
    std : one number per channel. The toolkit's own trainings use a single number for all, so
        that the patch basis of the input is that of the images, up to the scale of eigenvalues.
    reverse : whether the channels are then handed over in reverse order: blue, green, red
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    reverse: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """The two splits of a data set after its variants; ``test`` may hold no image.

    Parameters
    ----------
    label : the name in results
    origin : distribution -> version of the plugins that made it, built-ins included
    """

    label: str
    train: ImageSet
    test: ImageSet
    origin: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """An architecture with its options bound.

    Parameters
    ----------
    label : the name in results
    build : ``(num_classes, in_channels)`` -> a new network, or a trained one
    identity : what a cached training is keyed by; ``None`` where nothing identifies the code,
        such as a function handed over in Python, whose trainings are not cached
    origin : distribution -> version of the plugins that offer it, built-ins included
    answer : which entry of what the network answers is trained, where it answers several
    spec : the name and options that the user typed; empty for objects
    """

    label: str
    build: Callable[[int, int], nn.Module | TrainedModel]
    identity: Mapping[str, Any] | None
    origin: Mapping[str, str] = field(default_factory=dict)
    answer: str = ""
    spec: str = ""
