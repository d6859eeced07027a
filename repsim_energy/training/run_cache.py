"""Run cache: finished trainings, each in a folder that is named by its key."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor, nn

from repsim_energy.errors import FileError, RepsimError, reason_of, warn
from repsim_energy.files.storage import mark_used
from repsim_energy.interfaces import Normalization
from repsim_energy.models.filters.applied_filters import Patch
from repsim_energy.training.history import History
from repsim_energy.training.run_files import (
    FILES,
    MANIFEST,
    checked_tensors,
    held_files,
    manifest_bytes,
    manifest_of,
    read_manifest,
    read_tensors,
    run_folder,
    write_files,
)

__all__ = ["Run", "first_layer_of", "history_of", "keep_run", "read_run", "read_stored"]

Build = Callable[[], nn.Module]
"""Returns a new network."""


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training.

    Parameters
    ----------
    key : its key in the run cache; empty if it is not cached
    layer : the name of the first layer
    initial, trained : (k, c, kh, kw), the filters of the first layer before and after training
    scale : (k,) factors of the batch norm that follows it, after training; ``None`` without one
    history : measurements during training
    normalization : of the images that the network saw
    test_accuracy : of the trained network
    network : returns the trained network, which may be read from the run cache
    patch : channels, rows and columns of the pixels that a filter sees, and the step from one to
        the next; ``None`` in runs of earlier versions
    several : all layers that receive the image, if the first layer is one of several; else empty
    """

    key: str
    layer: str
    initial: Tensor
    trained: Tensor
    scale: Tensor | None
    history: History
    normalization: Normalization
    test_accuracy: float
    network: Callable[[], nn.Module]
    patch: Patch | None = None
    several: str = ""

    @property
    def run_id(self) -> str:
        """The first 16 digits of its key."""
        return self.key[:16]

    @property
    def folder(self) -> Path | None:
        """Its folder in the run cache, ``None`` if it has none."""
        folder = run_folder(self.key) if self.key else None
        return folder if folder is not None and folder.exists() else None

    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors that are stored, by their names in the file."""
        history = self.history
        tensors = {
            "init": self.initial,
            "trained": self.trained,
            "snapshots": history.snapshots,
            "snapshot_steps": history.snapshot_steps,
            "loss": history.loss,
            "accuracy": history.accuracy,
            "evaluations": history.evaluations,
            "evaluation_steps": history.evaluation_steps,
        }
        scales = {"snapshots_scale": history.snapshot_scales, "trained_scale": self.scale}
        return tensors | {name: scale for name, scale in scales.items() if scale is not None}


def read_run(key: str, build: Build) -> Run | None:
    """Return a finished run, ``None`` if there is none. Remove a damaged one with a warning.

    Parameters
    ----------
    build : returns the network that gets the trained weights, once they are needed
    """
    folder = run_folder(key)
    held = held_files(key)
    if not folder.exists():
        return None if held is None else _run(key, held[MANIFEST], load(held[FILES[0]]), build)
    try:
        filters = checked_tensors(folder, FILES[0])
        if not (folder / FILES[1]).is_file():
            raise FileError(f"'{folder / FILES[1]}' is missing")
        run = _run(key, (folder / MANIFEST).read_bytes(), filters, build)
        mark_used(folder / FILES[0])
        return run
    except (OSError, ValueError, KeyError, TypeError, FileError) as error:
        warn(f"cached run {key[:16]} is damaged ({error}); it is trained again")
        shutil.rmtree(folder, ignore_errors=True)
        return None


def read_stored(key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the manifest of a run and the tensors of its file. Nothing is removed.

    Raises
    ------
    FileError
        If a file is missing or damaged.
    """
    folder, held = run_folder(key), held_files(key)
    try:
        manifest = (folder / MANIFEST).read_bytes() if held is None else held[MANIFEST]
        return manifest_of(manifest, key), read_tensors(key, FILES[0])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"run {key[:16]} in '{folder}' cannot be read ({reason_of(error)}); delete its folder "
            "to train it anew"
        ) from error


def _run(key: str, manifest: bytes, tensors: Mapping[str, Tensor], build: Build) -> Run:
    facts = manifest_of(manifest, key)
    history = history_of(facts, tensors)
    mean, std = facts["normalisation"]  # as version 0.1 spells it, so that its runs stay readable
    return Run(
        key=key,
        layer=facts["layer"],
        initial=tensors["init"],
        trained=tensors["trained"],
        scale=tensors.get("trained_scale"),
        history=history,
        normalization=Normalization(tuple(mean), tuple(std)),
        test_accuracy=_number(facts["test_accuracy"]),
        network=partial(_network, key, build),
        patch=_patch(facts),
        several=str(facts.get("several", "")),
    )


def first_layer_of(key: str) -> tuple[str, Patch, str] | None:
    """Return the first layer, its patch and all layers that receive the image, as a run has them.

    ``None`` if there is no such run, or it does not say so, as those of earlier versions.
    """
    try:
        facts = read_manifest(run_folder(key))
        patch = _patch(facts)
        return None if patch is None else (facts["layer"], patch, str(facts["several"]))
    except (OSError, ValueError, KeyError, TypeError, FileError):
        return None  # whoever reads the run says so


def _patch(facts: Mapping[str, Any]) -> Patch | None:
    if "patch" not in facts:
        return None
    c, kh, kw, rows, columns = map(int, facts["patch"])
    return c, kh, kw, rows, columns


def history_of(facts: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> History:
    """Return the history of a run from its manifest and the tensors of its file."""
    return History(
        steps=facts["steps"],
        loss=tensors["loss"],
        accuracy=tensors["accuracy"],
        train_accuracy=_number(facts["train_accuracy"]),
        snapshots=tensors["snapshots"],
        snapshot_steps=tensors["snapshot_steps"],
        snapshot_scales=tensors.get("snapshots_scale"),
        evaluations=tensors["evaluations"],
        evaluation_steps=tensors["evaluation_steps"],
    )


def _network(key: str, build: Build) -> nn.Module:
    """Return a trained network, its weights read from the cache."""
    module = build()
    try:
        weights = read_tensors(key, FILES[1])
    except FileNotFoundError as error:
        raise RepsimError(
            f"run {key[:16]} was removed from the cache while it was used; the same call trains it "
            "again"
        ) from error
    module.load_state_dict(weights)
    return module


def keep_run(run: Run, key: str, facts: Mapping[str, Any]) -> None:
    """Store a run that was trained in this process.

    Parameters
    ----------
    facts : its configuration, for the manifest
    """
    state = {k: v.detach().cpu().contiguous() for k, v in run.network().state_dict().items()}
    files = {
        name: save({k: v.clone() for k, v in tensors.items()})
        for name, tensors in zip(FILES, (run.tensors(), state), strict=True)
    }
    manifest = {
        **facts,
        "layer": run.layer,
        **({} if run.patch is None else {"patch": run.patch, "several": run.several}),
        "normalisation": [run.normalization.mean, run.normalization.std],
        "train_accuracy": _nullable(run.history.train_accuracy),
        "test_accuracy": _nullable(run.test_accuracy),
        "steps": run.history.steps,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    write_files(key, {**files, MANIFEST: manifest_bytes(key, manifest)})


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _nullable(value: float) -> float | None:
    return None if value != value else value
