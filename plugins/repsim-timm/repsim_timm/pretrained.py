"""Pretrained networks of timm, downloaded by timm or read from a file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import repsim_energy as rs
import timm
from safetensors import SafetensorError
from torch import nn

from repsim_timm.first_layer import expect_size, first_layer, fold_standardization

__all__ = ["load_pretrained"]


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
    try:
        return timm.create_model(name, pretrained=True, img_size=img_size)
    except OSError as error:
        config: Any = timm.get_pretrained_cfg(name)
        hub = config.hf_hub_id and f"https://huggingface.co/{config.hf_hub_id}"
        raise rs.RepsimError(
            f"weights of timm/{name} cannot be downloaded ({type(error).__name__}), expected them "
            f"at {hub or config.url}; fetch the file on another machine and give weights=PATH"
        ) from error


def _read(name: str, weights: Path, img_size: int | None) -> nn.Module:
    if not weights.is_file():
        raise rs.UsageError(f"no weights at '{weights}', expected a .safetensors file; check it")
    place = {"file": str(weights)}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of pickles that are then refused
            return timm.create_model(
                name, pretrained=True, img_size=img_size, pretrained_cfg_overlay=place
            )
    except (AttributeError, KeyError, OSError, RuntimeError, SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise rs.FileError(
            f"'{weights}' cannot be read as weights of timm/{name} ({reason}); expected the file "
            "that timm publishes, best .safetensors; a network that you trained is "
            f"checkpoint:path=FILE:arch=timm/{name.partition('.')[0]}"
        ) from error
