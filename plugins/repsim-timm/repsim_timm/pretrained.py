"""Pretrained networks of timm, downloaded by timm or read from a file."""

from __future__ import annotations

import contextlib
import hashlib
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import repsim_energy as rs
import timm
import torch
from torch import nn

from repsim_timm.first_layer import expect_size, first_layer, fold_standardization

__all__ = ["load_pretrained"]

HUB_FILES = ("model.safetensors", "pytorch_model.safetensors", "pytorch_model.bin")
"""Names of files of weights on the Hub, in timm's order."""

WHOLE_HASH = re.compile("[0-9a-f]{64}")
"""Name under which the Hub's cache stores a file of weights: its SHA-256."""

HASH = re.compile(r"-([0-9a-f]{8,64})\.[a-z]+\Z")
"""Where the name of a published file has the first digits of its SHA-256."""


def load_pretrained(name: str, weights: Path | None, img_size: int | None) -> rs.TrainedModel:
    """Load a pretrained network with the normalization of its training.

    Parameters
    ----------
    name : an architecture, with a tag or with timm's default tag
    weights : a file in the layout that timm publishes; ``None`` lets timm download it
    img_size : rows and columns of the images; ``None`` for those of the training

    Raises
    ------
    UsageError
        If timm has no weights, or the file does not exist.
    RepsimError
        If the weights cannot be downloaded.
    FileError
        If the file is damaged, contains code, or is of another network.
    """
    net = _download(name, img_size) if weights is None else _read(name, weights, img_size)
    config: Any = net.pretrained_cfg
    found = first_layer(net, name, config["input_size"][0])
    expect_size(net, name)
    normalization = rs.Normalization(tuple(config["mean"]), tuple(config["std"]))
    if found is None:
        return rs.TrainedModel(net, normalization=normalization)
    fold_standardization(net, found[0])
    return rs.TrainedModel(net, layer=found[0], normalization=normalization)


def _download(name: str, img_size: int | None) -> nn.Module:
    if not timm.is_model_pretrained(name):
        raise rs.UsageError(
            f"timm publishes no weights of '{name}', expected a model that it has weights of; "
            "give a file with weights=, or leave out pretrained="
        )
    config: Any = timm.get_pretrained_cfg(name)
    hub = config.hf_hub_id and f"https://huggingface.co/{config.hf_hub_id}"
    try:
        if not hub:
            return _read(name, _fetched(config.url), img_size)
        _check_cached(config)
        with _refusing(hub, name, OSError):
            # without the url, which timm would unpickle from an old cache
            net = timm.create_model(
                name, pretrained=True, img_size=img_size, pretrained_cfg_overlay={"url": ""}
            )
        _check_cached(config)  # what was downloaded just now
        return net
    except OSError as error:
        raise rs.RepsimError(
            f"weights of timm/{name} cannot be downloaded ({type(error).__name__}), expected them "
            f"at {hub or config.url}; fetch the file on another machine and give weights=PATH"
        ) from error


def _check_cached(config: Any) -> None:
    """Compare the files of weights in the Hub's cache with the SHA-256 that they are stored under.

    Raises
    ------
    FileError
        If one has another SHA-256.
    """
    from huggingface_hub import try_to_load_from_cache

    repository, _, revision = config.hf_hub_id.partition("@")
    for name in dict.fromkeys([*filter(None, [config.hf_hub_filename]), *HUB_FILES]):
        found = try_to_load_from_cache(repository, name, revision=revision or None)
        if isinstance(found, str) and WHOLE_HASH.fullmatch(stored := Path(found).resolve().name):
            _compare(Path(found), stored)


def _compare(path: Path, expected: str) -> None:
    """Refuse a file whose SHA-256 does not begin with the expected digits."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if not digest.startswith(expected):
        raise rs.FileError(
            f"'{path}' is not the published file, expected a SHA-256 that begins with "
            f"{expected}; delete it, to download it again"
        )


def _fetched(url: str) -> Path:
    """Return the file of an address, from timm's cache or downloaded into it.

    Raises
    ------
    FileError
        If it does not have the hash in its name.

    Warns
    -----
    RepsimWarning
        If its name has no hash. Its tensors are then used as they are.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    expected = HASH.search(path.name)
    if expected is None:
        rs.warn(
            f"'{path.name}' could not be compared with the published file, because its name has no "
            "hash; its tensors are used as they are"
        )
        return path
    _compare(path, expected[1])
    return path


def _read(name: str, weights: Path, img_size: int | None) -> nn.Module:
    if not weights.is_file():
        raise rs.UsageError(f"no weights at '{weights}', expected a .safetensors file; check it")
    place = {"file": str(weights)}
    with _refusing(str(weights), name), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of pickles that are then refused
        return timm.create_model(
            name, pretrained=True, img_size=img_size, pretrained_cfg_overlay=place
        )


@contextlib.contextmanager
def _refusing(place: str, name: str, passed: type[Exception] = rs.RepsimError) -> Iterator[None]:
    """Turn every error about weights into a ``FileError``, except one type.

    What is in a file decides what its reader does, so that it can end with an error of any type.
    timm reads files with safetensors, ``weights_only=True`` or NumPy without pickles.
    """
    try:
        yield
    except (rs.RepsimError, Warning, passed):
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise rs.FileError(
            f"'{place}' cannot be read as weights of timm/{name} ({reason}); expected the file "
            "that timm publishes, best .safetensors; a network that you trained is "
            f"checkpoint:path=FILE:arch=timm/{name.partition('.')[0]}"
        ) from error
