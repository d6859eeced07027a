"""Trainings under way, stored from time to time, so that they go on after an interruption.

The file ``partial/KEY`` of the cache is a line of JSON with what the training is, then its state as
torch stores it, then the seal of both (:mod:`repsim_energy.files.seals`).
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import time
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from repsim_energy.errors import RepsimError, reason_of, warn
from repsim_energy.files.seals import seal, unsealed
from repsim_energy.files.storage import atomic_path, cache_folder, cache_path
from repsim_energy.numerics.processor import processor_name
from repsim_energy.training.history import Record
from repsim_energy.training.network_state import State
from repsim_energy.training.run_files import is_kept

__all__ = [
    "PartialRun",
    "facts_of",
    "interrupted_batch",
    "partial_path",
    "remove_finished_batches",
]

SECONDS = 60.0
"""Time between two stored states, which is lost at most when a training is interrupted."""

MAX_SHARE = 0.02
"""Largest share of the time that storing may take. If it takes longer, it is done less often."""

MAX_FACTS = 2**20
"""Maximum length of the line of JSON that is read alone."""


def partial_path(key: str) -> Path:
    """Return the file of a training under way, which may not exist."""
    return cache_path("partial", key)


def interrupted_batch(key: str) -> list[int]:
    """Return the seeds of the interrupted batch that a training belongs to, none without one."""
    for _, facts in _batches():
        if key in facts["keys"]:
            return list(facts["seed"])
    return []


def remove_finished_batches() -> None:
    """Remove files of batches whose runs are all stored, as a death at that moment leaves them."""
    for path, facts in _batches():
        if all(map(is_kept, facts["keys"])):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _batches() -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the files of batches of seeds, and what they say of themselves."""
    for path in sorted(cache_path("partial").glob("[0-9a-f]*")):
        if "keys" in (facts := facts_of(path)):
            yield path, facts


def facts_of(path: Path) -> dict[str, Any]:
    """Return what the file of a training says of it, nothing if that cannot be read.

    The seal is not compared, for which the whole file would have to be read.
    """
    try:
        with path.open("rb") as file:
            facts = json.loads(file.readline(MAX_FACTS))
    except (OSError, ValueError):  # removed meanwhile, or damaged, which PartialRun.read reports
        return {}
    return facts if isinstance(facts, dict) else {}


class PartialRun:
    """A training under way and its file.

    Parameters
    ----------
    key : of the training; empty for one that cannot be cached, of which nothing is stored
    facts : what the training is: model, data set and seed
    device : that it is trained on. The file is used only on the same processor, device, version of
        torch and number of threads, because others round differently
    """

    def __init__(self, key: str, facts: Mapping[str, Any], device: torch.device) -> None:
        self._key, self._facts, self._device = key, facts, device
        self._begun = time.monotonic()
        self._next = self._begun + SECONDS if key else float("inf")
        self.seconds_before = 0.0

    @cached_property
    def _machine(self) -> dict[str, str]:
        return _machine(self._device)

    @property
    def seconds(self) -> float:
        """Seconds that the training has taken, with those before an interruption."""
        return self.seconds_before + time.monotonic() - self._begun

    def read(
        self, module: Mapping[str, Any], layout: torch.memory_format | None = None
    ) -> State | None:
        """Return the stored state of the training, ``None`` without one.

        Parameters
        ----------
        module : weights and buffers of the network; a state with others is not returned
        layout : memory layout of the images; a state of another one is not returned

        Warns
        -----
        RepsimWarning
            If the file is damaged, or of another machine or setting. The training begins anew.
        """
        path = partial_path(self._key)
        if not (self._key and path.is_file()):
            return None
        try:
            facts, content = _parts(path)
            differing = sorted(
                f"{name} {facts['machine'].get(name)}, now {value}"
                for name, value in self._machine.items()
                if facts["machine"].get(name) != value
            )
            if differing:
                self._begins_anew("was interrupted with " + "; ".join(differing))
                return None
            if facts["layout"] != str(layout):
                return None
            state: State = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
            if _shapes(state["module"]) != _shapes(module):
                self._begins_anew("had other weights")
                return None
            self.seconds_before = float(facts["seconds"])
        except Exception as error:  # also of a file that another version wrote
            self._begins_anew(f"cannot go on ({reason_of(error)})")
            return None
        return state

    def _begins_anew(self, why: str) -> None:
        warn(f"the interrupted training of {self._facts['label']} {why}; it begins anew")

    def is_due(self) -> bool:
        """Return whether it is time to store the state."""
        return time.monotonic() >= self._next

    def write(
        self, state: State, record: Record, layout: torch.memory_format | None = None
    ) -> None:
        """Store the state after a step, in place of the earlier one.

        Parameters
        ----------
        record : of the training so far, which has its step

        Warns
        -----
        RepsimWarning
            If it cannot be written. The training goes on, and nothing more of it is stored.
        """
        started = time.monotonic()
        facts = {
            **self._facts,
            "step": record.steps,
            "total": record.total,
            "seconds": round(self.seconds, 1),
            "layout": str(layout),
            "machine": self._machine,
        }
        buffer = io.BytesIO(json.dumps(facts, default=str).encode() + b"\n")
        buffer.seek(0, io.SEEK_END)
        torch.save(state, buffer)
        try:
            path = cache_folder("partial") / self._key
            with atomic_path(path) as temporary, temporary.open("wb") as file:
                file.write(buffer.getbuffer())
                file.write(seal(buffer.getbuffer()))
        except RepsimError as error:
            self._next = float("inf")
            warn(
                f"the training of {self._facts['label']} goes on, but would begin anew after an "
                f"interruption: {error}"
            )
        else:
            now = time.monotonic()
            self._next = now + max(SECONDS, (now - started) * (1 / MAX_SHARE - 1))

    def remove(self) -> None:
        """Remove the file, once the run is stored or has failed."""
        if self._key:
            with contextlib.suppress(OSError):  # in a cache that is shared for reading alone
                partial_path(self._key).unlink(missing_ok=True)


def _parts(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the facts and the state in a file."""
    whole = unsealed(path.read_bytes(), path, "it is not used")
    line, _, content = whole.partition(b"\n")
    return json.loads(line), content


def _shapes(module: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in module.items()}


def _machine(device: torch.device) -> dict[str, str]:
    """Return what the bits of a training depend on beside its configuration."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else ""
    return {
        "torch": torch.__version__,
        "threads": str(torch.get_num_threads()),
        "device": gpu or device.type,
        "processor": processor_name(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "ONEDNN_MAX_CPU_ISA": os.environ.get("ONEDNN_MAX_CPU_ISA", "default"),
    }
