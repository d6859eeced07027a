"""Architectures and trained networks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from repsim_energy.versions import Origin

if TYPE_CHECKING:
    from torch import Tensor, nn

    from repsim_energy.interfaces.images import Normalization

__all__ = ["Architecture", "ModelFamily", "ModelSpec", "TrainedModel"]


class Architecture(Protocol):
    """Function that builds networks. Its keyword arguments are options of users.

    A third parameter that is called ``images`` receives the training images, for networks that are
    fitted to them, such as filters from their principal components.

    ``*_`` and ``**options`` stand for any further parameters, so that type checkers accept
    functions with options of their own.

    Examples
    --------
    >>> from torch import nn
    >>> def linear(num_classes: int, in_channels: int, *, size: int = 32) -> nn.Module:
    ...     return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * size**2, num_classes))
    >>> architecture: Architecture = linear
    """

    def __call__(
        self, num_classes: int, in_channels: int, /, *_: Any, **options: Any
    ) -> nn.Module | TrainedModel:
        """Return a new network for images of ``in_channels`` channels, or a trained one."""
        ...


class ModelFamily(Protocol):
    """Architectures that share a prefix, registered under ``prefix/*``.

    An attribute ``example`` may name the member that ``repsim plugins check`` builds.

    Examples
    --------
    >>> import torch
    >>> class Linear:
    ...     example = "small"
    ...     def names(self):
    ...         return ["small", "large"]
    ...     def __call__(self, name, num_classes, in_channels):
    ...         stem = torch.nn.Conv2d(in_channels, {"small": 8, "large": 64}[name], 3)
    ...         pool = [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()]
    ...         return torch.nn.Sequential(stem, *pool, torch.nn.LazyLinear(num_classes))
    >>> Linear()("small", 10, 3)(torch.zeros(2, 3, 8, 8)).shape
    torch.Size([2, 10])
    """

    def names(self) -> Iterable[str]:
        """Return the names of the members, without the prefix."""
        ...

    def __call__(
        self, name: str, num_classes: int, in_channels: int, /, *_: Any, **options: Any
    ) -> nn.Module | TrainedModel:
        """Return a new network of the member ``name``, or a trained one."""
        ...


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """Network that was trained elsewhere and is compared without training.

    Parameters
    ----------
    module : trained network
    layer : name of the layer whose filters are compared; ``None`` for the layer that receives the
        image
    initial : (k, c, kh, kw) weights of that layer before training, or the whole network before
        training, if they are known
    network : ``False`` if ``module`` contains filters alone and gives no activations
    normalization : of the images that it was trained on, if it is known. ``dataset`` and ``None``
        take that of the images at hand; with ``None``, a network that normalizes inside gets
        unnormalized images
    answer : entry of the network's output to compare, if it returns several
    file_sha256 : SHA-256 of the file that its weights were read from, if there is one
    fold : ``bn`` folds the batch norm that follows the layer into its filters; empty for none
    channels : order of the color channels that it expects: ``rgb``, or ``bgr`` (Caffe, OpenCV);
        ``luma`` if it expects gray images, 0.299 R + 0.587 G + 0.114 B of color ones

    Examples
    --------
    >>> from torch import nn
    >>> TrainedModel(nn.Sequential(nn.Conv2d(3, 8, 3)), layer="0").layer
    '0'
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


@dataclass(frozen=True, eq=False)
class ModelSpec:
    """Architecture with the values of its options.

    Parameters
    ----------
    label : name in results
    build : ``(num_classes, in_channels)`` -> new network, or a trained one. A third parameter
        ``images`` receives the training images
    identity : part of the key of a cached training; ``None`` if nothing identifies the code, such
        as for a Python function, whose trainings are not cached
    origins : of the plugin that offers it, then of those whose architectures its options name
    answer : entry of the network's output that is trained, if it returns several
    spec : name and options as typed; empty for Python objects
    options : values of all options, with defaults; empty for Python objects
    """

    label: str
    build: Callable[..., nn.Module | TrainedModel]
    identity: Mapping[str, Any] | None
    origins: tuple[Origin, ...] = ()
    answer: str = ""
    spec: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
