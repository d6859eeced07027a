"""torchvision's classification models as ``torchvision/NAME``, new or pretrained."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlparse

import torch
from torch import nn
from torchvision import models

from repsim_energy.errors import FileError, RepsimError, ShapeError, unknown_name
from repsim_energy.interfaces import Normalization, TrainedModel
from repsim_energy.interfaces.hashing import file_digest
from repsim_energy.models.filters.layers import init_first_layer
from repsim_energy.storage import download

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
    _fetch(chosen.url)
    net: nn.Module = models.get_model(name, weights=chosen)
    preset = chosen.transforms()
    return TrainedModel(net, normalization=Normalization(tuple(preset.mean), tuple(preset.std)))


def _fetch(url: str) -> None:
    """Download a file of weights to torchvision's cache if it is missing, and check its hash.

    torchvision checks the hash only when it downloads, but unpickles any file in the cache.
    It shows no progress that a command could show.
    """
    filename = Path(urlparse(url).path).name
    expected = Path(filename).stem.rpartition("-")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / filename
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            download(url, path)
        except (OSError, RepsimError) as error:
            raise RepsimError(
                f"weights {filename} cannot be downloaded ({error}); put the file at {path}"
            ) from error
    with path.open("rb") as file:
        digest = file_digest(file, filename)
    if not digest.startswith(expected):
        raise FileError(
            f"'{path}' is not the published file, expected a SHA-256 that begins with {expected}; "
            "delete it, to download it again"
        )


zoo = _Zoo()
