"""A run, and its files in the cache."""

from __future__ import annotations

import hashlib
import json
import shutil
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from repsim_energy.errors import FileError, RepsimWarning
from repsim_energy.interfaces import Dataset, ModelSpec, Normalisation
from repsim_energy.storage import atomic_path, cache_folder, cache_place, sha256_of, write_tensors
from repsim_energy.training.build import build
from repsim_energy.training.recipe import Recipe

__all__ = ["FILES", "MANIFEST", "Run", "cached_run", "keep_run", "run_folder"]

MANIFEST = "run.json"
"""What the run is made of, and the SHA-256 of the other files."""

FILES = ("filters.safetensors", "model.safetensors")


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

    def network(self, spec: ModelSpec, data: Dataset, seed: int) -> nn.Module:
        """Return the trained network, its weights read from the cache where need be."""
        if self.module is not None:
            return self.module
        assert self.folder is not None
        module = build(spec, data, seed)
        assert isinstance(module, nn.Module)
        module.load_state_dict(_checked(self.folder, FILES[1]))
        return module


def run_folder(key: str) -> Path:
    """Return where the run of a key is kept, or would be."""
    return cache_place("runs", key)


def cached_run(key: str) -> Run | None:
    """Return a finished run from the cache; one that is damaged is put away with a warning."""
    folder = run_folder(key)
    if not folder.exists():
        return None
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        filters = _checked(folder, FILES[0])
        if not (folder / FILES[1]).is_file():
            raise FileError(f"'{folder / FILES[1]}' is missing")
        return Run(
            run_id=key[:16],
            layer=manifest["layer"],
            filters=filters,
            normalisation=_normalisation(*manifest["normalisation"]),
            train_accuracy=_number(manifest["train_accuracy"]),
            test_accuracy=_number(manifest["test_accuracy"]),
            steps=manifest["steps"],
            folder=folder,
        )
    except (OSError, ValueError, KeyError, TypeError, FileError) as error:
        warnings.warn(
            f"cached run {key[:16]} is damaged ({error}); it is made anew",
            RepsimWarning,
            stacklevel=2,
        )
        shutil.rmtree(folder, ignore_errors=True)
        return None


def keep_run(
    run: Run,
    key: str,
    spec: ModelSpec,
    seed: int,
    recipe: Recipe,
    data: Dataset,
    seconds: float,
) -> None:
    """Write a run; the folder appears under its name only when it is whole."""
    assert run.module is not None
    state = {k: v.detach().cpu().contiguous() for k, v in run.module.state_dict().items()}
    with atomic_path(cache_folder("runs") / key) as temporary:
        temporary.mkdir()
        for name, tensors in zip(FILES, (run.filters, state), strict=True):
            write_tensors(temporary / name, {k: v.clone() for k, v in tensors.items()})
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
            "sha256": {name: sha256_of(temporary / name) for name in FILES},
        }
        (temporary / MANIFEST).write_text(
            json.dumps(manifest, indent=1, default=str), encoding="utf-8"
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
