"""Run cache: finished trainings, each in a folder that is named by its key."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import filelock
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from repsim_energy.errors import FileError, RepsimError, RepsimWarning, UsageError, reason_of
from repsim_energy.interfaces import Normalization
from repsim_energy.storage import atomic_path, cache_folder, cache_path
from repsim_energy.training.history import History

__all__ = [
    "FILES",
    "MANIFEST",
    "UNKEPT",
    "Run",
    "files_of",
    "find_keys",
    "held_files",
    "history_of",
    "is_kept",
    "keep_received",
    "keep_run",
    "locked",
    "read_run",
    "read_stored",
    "run_folder",
]

Build = Callable[[], nn.Module]
"""Returns a new network."""

MANIFEST = "run.json"
"""File with the configuration of the run, and the SHA-256 of the other files."""

FILES = ("filters.safetensors", "model.safetensors")

UNKEPT = "runs cannot be kept"
"""Beginning of the warning if runs cannot be written."""

_held: dict[Path, Mapping[str, bytes]] = {}
"""Folder -> the files of a run that could not be written there, in memory."""


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


def run_folder(key: str) -> Path:
    """Return the folder of the run of a key, which may not exist."""
    return cache_path("runs", key)


def is_kept(key: str) -> bool:
    """Return whether a run is in the cache, or in memory because it could not be written."""
    return run_folder(key).exists() or run_folder(key) in _held


@contextlib.contextmanager
def locked(keys: Iterable[str]) -> Iterator[None]:
    """Lock runs, always in one order, so that two processes do not train the same.

    Where locks have no effect (some network file systems), both train, and the run that is finished
    first is stored.
    """
    cache_folder("runs")  # refused now, not once the run is made
    with contextlib.ExitStack() as locks:
        for key in sorted(keys):
            place = cache_folder("locks") / key
            try:
                locks.enter_context(filelock.FileLock(place))
            except OSError as error:
                raise UsageError(
                    f"the lock '{place}' cannot be created ({error.strerror or error}); free some "
                    "space, or move REPSIM_CACHE"
                ) from error
        yield


def held_files(key: str) -> Mapping[str, bytes] | None:
    """Return the files of a run that could not be written, by their names."""
    return _held.get(run_folder(key))


def read_run(key: str, build: Build) -> Run | None:
    """Return a finished run, ``None`` if there is none. Remove a damaged one with a warning.

    Parameters
    ----------
    build : returns the network that gets the trained weights, once they are needed
    """
    folder = run_folder(key)
    held = _held.get(folder)
    if not folder.exists():
        return None if held is None else _run(key, held[MANIFEST], load(held[FILES[0]]), build)
    try:
        filters = _checked(folder, FILES[0])
        if not (folder / FILES[1]).is_file():
            raise FileError(f"'{folder / FILES[1]}' is missing")
        return _run(key, (folder / MANIFEST).read_bytes(), filters, build)
    except (OSError, ValueError, KeyError, TypeError, FileError) as error:
        warnings.warn(
            f"cached run {key[:16]} is damaged ({error}); it is trained again",
            RepsimWarning,
            stacklevel=2,
        )
        shutil.rmtree(folder, ignore_errors=True)
        return None


def find_keys(prefix: str) -> list[str]:
    """Return the keys of all runs in the cache, and of those held in memory, with a prefix."""
    folders = {*cache_path("runs").glob("*"), *_held}
    return sorted(folder.name for folder in folders if folder.name.startswith(prefix))


def read_stored(key: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the manifest of a run and the tensors of its file. Nothing is removed.

    Raises
    ------
    FileError
        If a file is missing or damaged.
    """
    folder, held = run_folder(key), held_files(key)
    try:
        if held is not None:
            return json.loads(held[MANIFEST]), load(held[FILES[0]])
        return json.loads((folder / MANIFEST).read_bytes()), _checked(folder, FILES[0])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"run {key[:16]} in '{folder}' cannot be read ({reason_of(error)}); delete its folder "
            "to train it anew"
        ) from error


def _run(key: str, manifest: bytes, tensors: Mapping[str, Tensor], build: Build) -> Run:
    facts = json.loads(manifest)
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
    )


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
    held, module = held_files(key), build()
    state = _checked(run_folder(key), FILES[1]) if held is None else load(held[FILES[1]])
    module.load_state_dict(state)
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
        "normalisation": [run.normalization.mean, run.normalization.std],
        "train_accuracy": _nullable(run.history.train_accuracy),
        "test_accuracy": _nullable(run.test_accuracy),
        "steps": run.history.steps,
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    _write(key, {**files, MANIFEST: json.dumps(manifest, indent=1, default=str).encode()})


def files_of(key: str) -> Mapping[str, bytes]:
    """Return the files of a finished run, for another process to store."""
    folder = run_folder(key)
    return held_files(key) or {name: (folder / name).read_bytes() for name in (MANIFEST, *FILES)}


def keep_received(key: str, files: Mapping[str, bytes]) -> None:
    """Store the files of a run of another process, all or none.

    Raises
    ------
    FileError
        If a file does not have the SHA-256 of the manifest.
    """
    expected = json.loads(files[MANIFEST])["sha256"]
    for name in FILES:
        if hashlib.sha256(files[name]).hexdigest() != expected[name]:
            raise FileError(f"'{name}' of run {key[:16]} came back damaged, expected its SHA-256")
    _write(key, {name: files[name] for name in (MANIFEST, *FILES)})


def _write(key: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a run. Its folder gets its name once all files are written.

    Warns
    -----
    RepsimWarning
        If they cannot be written. They then stay in memory until this process ends.
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
            f"{UNKEPT} in '{cache_path('runs')}' ({reason}) and are held in memory until this "
            "process ends; free some space, or move REPSIM_CACHE",
            RepsimWarning,
            stacklevel=2,
        )


def _checked(folder: Path, name: str) -> dict[str, Tensor]:
    """Return the tensors of a cached file whose hash is that of the manifest."""
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


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _nullable(value: float) -> float | None:
    return None if value != value else value
