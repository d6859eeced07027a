"""A run, and its files in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from repsim_energy.errors import FileError, RepsimError, RepsimWarning
from repsim_energy.interfaces import Dataset, ModelSpec, Normalisation
from repsim_energy.storage import atomic_path, cache_folder, cache_place
from repsim_energy.training.build import build
from repsim_energy.training.recipe import Recipe

__all__ = [
    "FILES",
    "MANIFEST",
    "UNKEPT",
    "Run",
    "cached_run",
    "held_files",
    "is_kept",
    "keep_files",
    "keep_run",
    "run_folder",
]

MANIFEST = "run.json"
"""What the run is made of, and the SHA-256 of the other files."""

FILES = ("filters.safetensors", "model.safetensors")

UNKEPT = "runs cannot be kept"
"""How the warning begins where they cannot be written."""

_held: dict[Path, Mapping[str, bytes]] = {}
"""Folder -> the files of a run that could not be written there, until this process ends."""


@dataclass(frozen=True, eq=False)
class Run:
    """One training.

    Parameters
    ----------
    run_id : the first 16 digits of its key; empty where it is not cached
    layer : the name of the first layer
    filters : ``init`` and ``trained`` (k, c, kh, kw), ``snapshots`` (s, k, c, kh, kw),
        ``snapshot_steps`` (s,); where a batch norm follows the layer, its factors ``init_scale``
        and ``trained_scale`` (k,), ``snapshots_scale`` (s, k); ``loss`` and ``accuracy`` (steps,),
        ``evaluations`` (e, 2) loss and accuracy on the test images, ``evaluation_steps`` (e,)
    normalisation : of the images that the network saw
    train_accuracy, test_accuracy : shares; of the last epoch while training, and after it
    steps : gradient steps taken
    folder : where it is cached
    module : the trained network, where it is in memory
    files : its files, where they could not be written
    """

    run_id: str
    layer: str
    filters: dict[str, Tensor]
    normalisation: Normalisation
    train_accuracy: float
    test_accuracy: float
    steps: int
    folder: Path | None = None
    module: nn.Module | None = None
    files: Mapping[str, bytes] | None = None

    def network(self, spec: ModelSpec, data: Dataset, seed: int) -> nn.Module:
        """Return the trained network, its weights read from the cache where need be."""
        if self.module is not None:
            return self.module
        module = build(spec, data, seed)
        assert isinstance(module, nn.Module)
        if self.files is not None:
            state = load(self.files[FILES[1]])
        else:
            assert self.folder is not None
            state = _checked(self.folder, FILES[1])
        module.load_state_dict(state)
        return module


def run_folder(key: str) -> Path:
    """Return where the run of a key is kept, or would be."""
    return cache_place("runs", key)


def is_kept(key: str) -> bool:
    """Return whether a run is in the cache, or could not be written and is held in memory."""
    return run_folder(key).exists() or run_folder(key) in _held


def held_files(key: str) -> Mapping[str, bytes] | None:
    """Return the files of a run that could not be written, by their names."""
    return _held.get(run_folder(key))


def cached_run(key: str) -> Run | None:
    """Return a finished run from the cache; one that is damaged is put away with a warning."""
    folder = run_folder(key)
    if not folder.exists():
        files = _held.get(folder)
        if files is None:
            return None
        filters: dict[str, Tensor] = load(files[FILES[0]])
        return replace(_run(key, json.loads(files[MANIFEST]), filters), files=files)
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        filters = _checked(folder, FILES[0])
        if not (folder / FILES[1]).is_file():
            raise FileError(f"'{folder / FILES[1]}' is missing")
        return replace(_run(key, manifest, filters), folder=folder)
    except (OSError, ValueError, KeyError, TypeError, FileError) as error:
        warnings.warn(
            f"cached run {key[:16]} is damaged ({error}); it is made anew",
            RepsimWarning,
            stacklevel=2,
        )
        shutil.rmtree(folder, ignore_errors=True)
        return None


def _run(key: str, manifest: Mapping[str, Any], filters: dict[str, Tensor]) -> Run:
    return Run(
        run_id=key[:16],
        layer=manifest["layer"],
        filters=filters,
        normalisation=_normalisation(*manifest["normalisation"]),
        train_accuracy=_number(manifest["train_accuracy"]),
        test_accuracy=_number(manifest["test_accuracy"]),
        steps=manifest["steps"],
    )


def keep_run(
    run: Run,
    key: str,
    spec: ModelSpec,
    seed: int,
    recipe: Recipe,
    data: Dataset,
    seconds: float,
) -> None:
    """Write a run that was trained here, as :func:`keep_files` does."""
    assert run.module is not None
    state = {k: v.detach().cpu().contiguous() for k, v in run.module.state_dict().items()}
    files = {
        name: save({k: v.clone() for k, v in tensors.items()})
        for name, tensors in zip(FILES, (run.filters, state), strict=True)
    }
    manifest = {
        "model": spec.label,
        "identity": spec.identity,
        "dataset": data.label,
        "train_fingerprint": data.train.fingerprint,
        "seed": seed,
        "recipe": recipe.as_options(),
        "layer": run.layer,
        "normalisation": [run.normalisation.mean, run.normalisation.std],
        "train_accuracy": _nullable(run.train_accuracy),
        "test_accuracy": _nullable(run.test_accuracy),
        "steps": run.steps,
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    keep_files(key, {**files, MANIFEST: json.dumps(manifest, indent=1, default=str).encode()})


def keep_files(key: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a run; its folder appears under its name only when it is whole.

    Where they cannot be written, they are held in memory until this process ends.

    Warns
    -----
    RepsimWarning
        Where they cannot be written.
    """
    try:
        with atomic_path(cache_folder("runs") / key) as temporary:
            temporary.mkdir()
            for name, content in files.items():
                (temporary / name).write_bytes(content)
    except RepsimError as error:
        _held[run_folder(key)] = files
        reason = getattr(error.__cause__, "strerror", None) or error
        warnings.warn(
            f"{UNKEPT} in '{cache_place('runs')}' ({reason}) and are held in memory until this "
            "process ends; free some space, or move REPSIM_CACHE",
            RepsimWarning,
            stacklevel=2,
        )


def _checked(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of a cached file after comparing its hash with the manifest."""
    path = folder / name
    expected = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["sha256"][name]
    content = path.read_bytes()  # hashed and parsed from memory: the file may change meanwhile
    if hashlib.sha256(content).hexdigest() != expected:
        raise FileError(f"'{path}' is not what was written; delete its folder to train it anew")
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise FileError(f"'{path}' cannot be read ({error})") from error
    return tensors


def _normalisation(mean: list[float], std: list[float]) -> Normalisation:
    return Normalisation(tuple(mean), tuple(std))


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _nullable(value: float) -> float | None:
    return None if value != value else value
