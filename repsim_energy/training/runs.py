"""A run: one training, kept in the cache under a hash of everything that it depends on."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save_file
from torch import Tensor, nn

from repsim_energy.errors import (
    FileError,
    RepsimError,
    RepsimWarning,
    TrainingError,
    UsageError,
)
from repsim_energy.interfaces import Dataset, ModelSpec, Normalisation, TrainedModel
from repsim_energy.models.layers import find_layer, read_filters, see_transformed_patches
from repsim_energy.storage import atomic_path, cache_folder, sha256_of
from repsim_energy.training.loop import Progress, evaluate, normalisation_of, train
from repsim_energy.training.recipe import Recipe

__all__ = ["Run", "build", "cached_run", "is_cached", "make_run", "run_key"]

FORMAT = 1
"""Raised when runs of the same key would come out differently."""

FILES = ("filters.safetensors", "model.safetensors")


@dataclass(frozen=True, eq=False)
class Run:
    """One training.

    Parameters
    ----------
    run_id : the first 16 digits of its key; empty where it is not cached
    layer : the name of the first layer
    filters : ``init`` and ``trained`` (k, c, kh, kw), ``snapshots`` (s, k, c, kh, kw),
        ``snapshot_steps`` (s,), ``loss`` and ``accuracy`` (steps,), ``evaluations`` (e, 2) loss
        and accuracy on the test images, ``evaluation_steps`` (e,)
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


def build(spec: ModelSpec, data: Dataset, seed: int) -> nn.Module | TrainedModel:
    """Return a new network for a data set, its initial weights drawn from the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        try:
            built = spec.build(len(data.train.classes), int(data.train.images.shape[1]))
        except RepsimError:
            raise
        except Exception as error:
            raise UsageError(
                f"model '{spec.label}' cannot be built ({type(error).__name__}: {error}); "
                "check its options"
            ) from error
    if not isinstance(built, nn.Module | TrainedModel):
        raise UsageError(
            f"model '{spec.label}' built {type(built).__name__}, expected a torch.nn.Module"
        )
    if data.train.transform is not None:
        if isinstance(built, TrainedModel):
            raise UsageError(
                f"model '{spec.label}' is trained already and cannot see the transformed patches "
                f"of '{data.label}', expected an architecture"
            )
        see_transformed_patches(built, data.train.transform)
    return built


def run_key(spec: ModelSpec, data: Dataset, seed: int, recipe: Recipe) -> str | None:
    """Return the SHA-256 of all that decides a run; ``None`` where it cannot be cached."""
    if spec.identity is None:
        return None
    configuration = {
        "format": FORMAT,
        "model": dict(spec.identity),
        "train": data.train.fingerprint,
        "test": data.test.fingerprint,
        "seed": seed,
        "recipe": recipe.as_options(),
    }
    text = json.dumps(configuration, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def is_cached(spec: ModelSpec, data: Dataset, seed: int, recipe: Recipe) -> bool:
    """Return whether a run of this configuration has been finished and kept."""
    key = run_key(spec, data, seed, recipe)
    return key is not None and (cache_folder("runs") / key).exists()


def cached_run(key: str) -> Run | None:
    """Return a finished run from the cache; one that is damaged is put away with a warning."""
    folder = cache_folder("runs") / key
    if not folder.exists():
        return None
    try:
        manifest = json.loads((folder / "run.json").read_text())
        filters = _checked(folder, FILES[0])
        if not (folder / FILES[1]).is_file():
            raise FileError(f"'{folder / FILES[1]}' is missing")
        return Run(
            run_id=key[:16],
            layer=manifest["layer"],
            filters=filters,
            normalisation=Normalisation(*(tuple(v) for v in manifest["normalisation"])),
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


def make_run(
    spec: ModelSpec,
    data: Dataset,
    seed: int,
    recipe: Recipe,
    device: torch.device,
    progress: Progress | None = None,
) -> Run:
    """Return the run of this configuration: from the cache, or trained now and kept."""
    key = run_key(spec, data, seed, recipe)
    if key is None:
        return _trained(spec, data, seed, recipe, device, progress)
    runs = cache_folder("runs")
    # Two processes do not train the same run. Should the lock not hold (network file systems),
    # both train it and the first to finish keeps the place.
    with filelock.FileLock(cache_folder("locks") / key):
        run = cached_run(key)
        if run is None:
            started = time.monotonic()
            run = _trained(spec, data, seed, recipe, device, progress)
            _keep(run, runs / key, spec, seed, recipe, data, time.monotonic() - started)
            run = cached_run(key) or run
    return run


def _trained(
    spec: ModelSpec,
    data: Dataset,
    seed: int,
    recipe: Recipe,
    device: torch.device,
    progress: Progress | None,
) -> Run:
    module = build(spec, data, seed)
    if isinstance(module, TrainedModel):
        raise UsageError(f"model '{spec.label}' is trained already, expected an architecture")
    name, layer = find_layer(module)
    initial = read_filters(layer)
    normalisation = normalisation_of(data.train)
    try:
        history = train(
            module, layer, data.train, data.test, normalisation, recipe, seed, device, progress
        )
        _, test = evaluate(module, data.test, normalisation, device, recipe)
    except (RuntimeError, ValueError, TypeError, IndexError, AttributeError) as error:
        size = "x".join(str(s) for s in data.train.images.shape[2:])
        raise TrainingError(
            f"model '{spec.label}' failed on {size} images "
            f"({' '.join(str(error).split())[:200]}); try another size= or model"
        ) from error
    trained = read_filters(layer)
    if not layer.weight.requires_grad and not torch.equal(initial, trained):
        raise TrainingError(f"the frozen first layer of '{spec.label}' changed; report this")
    filters = {
        "init": initial,
        "trained": trained,
        "snapshots": history.snapshots,
        "snapshot_steps": history.snapshot_steps,
        "loss": history.loss,
        "accuracy": history.accuracy,
        "evaluations": history.evaluations,
        "evaluation_steps": history.evaluation_steps,
    }
    return Run(
        "", name, filters, normalisation, history.train_accuracy, test, history.steps,
        module=module.cpu(),
    )  # fmt: skip


def _keep(
    run: Run,
    folder: Path,
    spec: ModelSpec,
    seed: int,
    recipe: Recipe,
    data: Dataset,
    seconds: float,
) -> None:
    """Write a run; the folder appears under its name only when it is whole."""
    assert run.module is not None
    state = {k: v.detach().cpu().contiguous() for k, v in run.module.state_dict().items()}
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for name, tensors in zip(FILES, (run.filters, state), strict=True):
            save_file({k: v.clone() for k, v in tensors.items()}, temporary / name)
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
        (temporary / "run.json").write_text(json.dumps(manifest, indent=1, default=str))


def _checked(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of a cached file after comparing its hash with the manifest."""
    path = folder / name
    expected = json.loads((folder / "run.json").read_text())["sha256"][name]
    content = path.read_bytes()  # hashed and parsed from memory: the file may change meanwhile
    if hashlib.sha256(content).hexdigest() != expected:
        raise FileError(f"'{path}' is not what was written; delete its folder to train it anew")
    try:
        tensors: dict[str, Tensor] = load(content)
    except SafetensorError as error:
        raise FileError(f"'{path}' cannot be read ({error})") from error
    return tensors


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _nullable(value: float) -> float | None:
    return None if value != value else value
