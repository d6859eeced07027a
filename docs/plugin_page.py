"""Write the rules and the example in ``how-to/write-a-plugin.md``: ``python docs/plugin_page.py``.

The rules are those that the public checks report, and the example is the plugin that
``repsim plugins new`` writes, so that page and code cannot differ.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import torch
from torch import nn

import repsim_energy as rs
from repsim_energy import testing
from repsim_energy.metrics.energy import EnergyProfileCorrelation
from repsim_energy.scaffold import write_plugin

PAGE = Path(__file__).parent / "how-to" / "write-a-plugin.md"
RULES = re.compile(r"(?<=<!-- rules -->\n).*(?=<!-- end of the rules -->)", re.DOTALL)
EXAMPLE = re.compile(r"(?<=## A distribution\n).*(?=## The four hooks\n)", re.DOTALL)
BLOCK = re.compile(r"(```\w+\n).*?(```\n)", re.DOTALL)


def network(classes: int, channels: int) -> nn.Module:
    """Return a small network with random weights."""
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)
    )


def trained(classes: int, channels: int) -> rs.TrainedModel:
    """Return a network whose weights are the same each time."""
    module = network(classes, channels)
    for parameter in module.parameters():
        nn.init.constant_(parameter, 0.1)
    return rs.TrainedModel(module)


def images(split: str) -> rs.ImageSet:
    """Return 20 images of noise in two classes."""
    generator = torch.Generator().manual_seed(["train", "test"].index(split))
    pixels = torch.randint(256, (20, 3, 8, 8), generator=generator, dtype=torch.uint8)
    return rs.ImageSet(pixels, torch.arange(20) % 2, ("a", "b"), "noise")


def darker(dataset: rs.ImageSet) -> rs.ImageSet:
    """Return the images with half of the light."""
    return rs.ImageSet(dataset.images / 2, dataset.labels, dataset.classes, dataset.name)


def tables() -> str:
    """Return a table of rules for each kind of plugin, as Markdown."""
    kinds = {
        "a metric": testing.check_metric(EnergyProfileCorrelation()),
        "an architecture": testing.check_model(network),
        "a trained model": testing.check_model(trained),
        "a data set": testing.check_dataset(images),
        "a variant": testing.check_variant(darker),
    }
    text = ""
    for kind, findings in kinds.items():
        rules = "".join(f"| {i} | {finding.rule} |\n" for i, finding in enumerate(findings, 1))
        text += f"\n| | {kind} |\n|---|---|\n{rules}"
    return text + "\n"


def with_files(example: str) -> str:
    """Return the section with today's files of a new plugin in its blocks of code."""
    with tempfile.TemporaryDirectory() as folder:
        paths = write_plugin("repsim-example", "model", Path(folder))
        files = iter([p.read_text(encoding="utf-8") for p in paths if p.suffix != ".md"])
    return BLOCK.sub(lambda block: f"{block[1]}{next(files)}{block[2]}", example)


def page() -> str:
    """Return the page with today's rules and example."""
    text = PAGE.read_text(encoding="utf-8")
    text = EXAMPLE.sub(lambda example: with_files(example[0]), text)
    return RULES.sub(lambda _: tables(), text)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
