"""torchvision's classification models as ``torchvision/NAME``, new or pretrained."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision import models
from torchvision.models import WeightsEnum

from repsim_energy.errors import (
    FileError,
    RepsimError,
    ShapeError,
    unknown_name,
    warn,
)
from repsim_energy.files.downloads import download
from repsim_energy.interfaces import Normalization, TrainedModel
from repsim_energy.interfaces.hashing import bytes_digest
from repsim_energy.models.files.known_hash import digits_in, expect_digits
from repsim_energy.models.files.reader import read_pytorch
from repsim_energy.models.filters.layers import init_first_layer

__all__ = ["zoo"]


class _Zoo:
    """The family ``torchvision/*``."""

    def names(self) -> Iterable[str]:
        """Return the names of torchvision's classification models."""
        return list(models.list_models(module=models))

    def __call__(
        self,
        name: str,
        num_classes: int,
        in_channels: int,
        *,
        weights: str | None = None,
        frozen: bool = False,
        sigma: float | None = None,
    ) -> nn.Module | TrainedModel:
        """Return a torchvision model.

        Parameters
        ----------
        weights : DEFAULT or a name such as IMAGENET1K_V1 for the pretrained network; by default a
            new one is built and trained
        frozen : whether the first layer is not trained
        sigma : standard deviation of the first layer's normal initial weights
        """
        if name not in self.names():
            raise unknown_name("torchvision model", name, self.names())
        if in_channels != 3:
            raise ShapeError(
                f"got images of {in_channels} channels, expected 3 for torchvision/{name}; use "
                "color images or another model"
            )
        if weights is not None:
            return _pretrained(name, weights)
        net: nn.Module = models.get_model(name, weights=None, num_classes=num_classes)
        init_first_layer(net, frozen=frozen, sigma=sigma)
        return net


def _pretrained(name: str, weights: str) -> TrainedModel:
    offered = {w.name: w for w in models.get_model_weights(name)}
    if weights == "DEFAULT":
        chosen = models.get_model_weights(name).DEFAULT
    elif weights in offered:
        chosen = offered[weights]
    else:
        raise unknown_name(f"weights of torchvision/{name}", weights, ["DEFAULT", *offered])
    net: nn.Module = models.get_model(name, weights=_holding(chosen, _published_state(chosen.url)))
    preset = chosen.transforms()
    return TrainedModel(net, normalization=Normalization(tuple(preset.mean), tuple(preset.std)))


def _holding(weights: WeightsEnum, state: dict[str, Any]) -> WeightsEnum:
    """Return weights that give this state dict to torchvision's builder, which would unpickle.

    The builder asks its weights for their state dict, and renames, drops or adds parts of the
    network for them. This is another member of the same enumeration, which nobody else sees.
    """
    held: WeightsEnum = object.__new__(type(weights))
    held._name_, held._value_ = weights._name_, weights._value_
    held.get_state_dict = lambda **_: state
    return held


def _published_state(url: str) -> dict[str, Any]:
    """Return the tensors of a file of weights, from torchvision's cache or downloaded into it.

    The file is read once. Its hash is that of the bytes that are then loaded, so that a file which
    changes meanwhile is not.

    Raises
    ------
    RepsimError
        If the file cannot be downloaded.
    FileError
        If it is not the published one, or holds more than tensors.

    Warns
    -----
    RepsimWarning
        If the name of the file has no hash to compare with.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    content = _content(url, path)
    stated = digits_in(path.name)
    if not stated:
        warn(
            f"'{path.name}' could not be compared with the published file, because its name has no "
            "hash; its tensors are used as they are"
        )
    else:
        found = bytes_digest(memoryview(content), path.name).hex()
        remedy = "delete it, to download the published file again"
        expect_digits(path, found, stated, remedy, " as in its name")
    state = read_pytorch(io.BytesIO(content), path).value
    if not isinstance(state, dict):
        raise FileError(f"'{path}' holds a {type(state).__name__}, expected named tensors")
    return state


def _content(url: str, path: Path) -> bytes:
    """Return the bytes of a file, after a download with progress if it is missing."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            download(url, path)
        return path.read_bytes()
    except (OSError, RepsimError) as error:
        raise RepsimError(
            f"weights {path.name} cannot be downloaded ({error}); put the file at {path}"
        ) from error


zoo = _Zoo()
