"""Count the first layers of all timm architectures, and those that accept 32x32 images.

Every architecture is built and shown an image on torch's meta device, which needs no memory for
weights and does no arithmetic. Run by hand: ``python measurements/first_layers.py OUT.json``;
about half an hour on one core. The README quotes its output.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from itertools import takewhile
from pathlib import Path
from typing import Any

import repsim_energy as rs
import timm
import torch
from timm.models import get_model_input_config
from torch import nn

from repsim_timm.family import family
from repsim_timm.first_layer import standardizes

META = torch.device("meta")


def measure(name: str) -> dict[str, Any]:
    """Measure one architecture."""
    net = build(name)
    if isinstance(net, str):
        return {"refused": net}
    try:
        place, layer = rs.find_first_conv(net)
    except rs.UsageError:
        return {"linear": True}
    named = timm.get_pretrained_cfg(name).first_conv
    named = [named] if isinstance(named, str) else list(named or [])
    size = get_model_input_config(net)["input_size"][1:]
    return {
        "first": place,
        "timm": named,
        "patch": "x".join(str(n) for n in layer.kernel_size),
        "standardizes": standardizes(layer),
        "sees": sees_the_image(net, place, size),
        "answer": answer(net, size),
        "answer_to_32": answer(net, (32, 32)),
        "answer_to_32_with_img_size": answer(build(name, img_size=32), (32, 32)),
    }


def build(name: str, **options: Any) -> nn.Module | str:
    """Build a network on the meta device; return the error as text if that fails."""
    try:
        with META:
            return family(name, 10, 3, **options).eval()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def answer(net: nn.Module | str, size: tuple[int, int]) -> str:
    """Return the shape of a network's output for images of a size, or the error as text."""
    if isinstance(net, str):
        return net
    try:
        with torch.no_grad(), META:
            return str(tuple(net(torch.rand(2, 3, *size)).shape))
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"


def sees_the_image(net: nn.Module, place: str, size: tuple[int, int]) -> bool:
    """Return whether a layer receives three channels before any other layer receives features."""
    shown: list[tuple[str, int]] = []

    def note(name: str) -> Any:
        return lambda _, inputs: shown.append((name, inputs[0].shape[1]))

    hooks = [
        module.register_forward_pre_hook(note(name))
        for name, module in net.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]
    answer(net, size)
    for hook in hooks:
        hook.remove()
    return place in [name for name, _ in takewhile(lambda one: one[1] == 3, shown)]


def kind(text: str) -> str:
    """Return the first part of an output or an error."""
    return text.partition(":")[0]


def summary(found: dict[str, dict[str, Any]]) -> list[str]:
    """Return the counts as lines of text."""
    kept = [one for one in found.values() if not {"refused", "linear"} & one.keys()]
    as_timm = sum(one["first"] in one["timm"][:1] for one in kept)
    several = sum(len(one["timm"]) > 1 for one in kept)
    lines = [
        f"timm {timm.__version__}: {len(found)} architectures, {len(kept)} with a first layer",
        f"that is timm's first_conv: {as_timm}, where timm names several: {several}",
        f"it sees the image: {sum(one['sees'] for one in kept)}",
        f"it standardizes its weights: {sum(one['standardizes'] for one in kept)}",
    ]
    keys = ("answer", "answer_to_32", "answer_to_32_with_img_size")
    for key in keys:
        lines.append(f"{key}: {Counter(kind(one[key]) for one in kept).most_common()}")
    either = sum("(2, 10)" in (one[keys[1]], one[keys[2]]) for one in kept)
    lines.append(f"patches: {Counter(one['patch'] for one in kept).most_common()}")
    return [*lines, f"answer to 32, one way or the other: {either}"]


def main(path: Path) -> None:
    """Measure all architectures, write the measurements, and print the counts."""
    warnings.simplefilter("ignore")
    found = {name: measure(name) for name in timm.list_models()}
    path.write_text(json.dumps(found, indent=1))
    sys.stdout.write("\n".join(summary(found)) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
