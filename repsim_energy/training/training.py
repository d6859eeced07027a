"""A training: its configuration and key, and how it is run through the run cache."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from repsim_energy.errors import RepsimError, TrainingError, UsageError, reason_of
from repsim_energy.files.storage import cache_path
from repsim_energy.interfaces import Dataset, ModelSpec, TrainedModel
from repsim_energy.training.begun import Begun, begin
from repsim_energy.training.build import NETWORK_ERRORS, build, called, remedy_of
from repsim_energy.training.inputs import layouts_of
from repsim_energy.training.isolation import training_settings
from repsim_energy.training.loop import OnStep, train
from repsim_energy.training.partial_run import PartialRun, partial_path
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.run_cache import Run, keep_run, read_run
from repsim_energy.training.run_files import held_files, is_kept, locked

__all__ = ["Training", "removed_at_the_end"]

FORMAT = 3
"""Version of runs, increased when the same key gives other numbers or more of them."""


@dataclass(frozen=True, eq=False)
class Training:
    """Everything that determines a trained network.

    Parameters
    ----------
    model : the architecture
    data : the images for training and for evaluation
    seed : of the initial weights and the order of the images
    recipe : optimizer, step size and length of the training
    label : name in progress reports and errors; no part of the key
    """

    model: ModelSpec
    data: Dataset
    seed: int
    recipe: Recipe
    label: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of the configuration, empty for an architecture that cannot be cached."""
        if self.model.identity is None:
            return ""
        configuration = {
            "format": FORMAT,
            "model": dict(self.model.identity),
            "train": self.data.train.fingerprint,
            "test": self.data.test.fingerprint,
            "seed": self.seed,
            "recipe": self.recipe.as_options(),
        }
        text = json.dumps(configuration, sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def is_cached(self) -> bool:
        """True if its run is in the cache."""
        return bool(self.key) and is_kept(self.key)

    @property
    def is_partial(self) -> bool:
        """True if it was interrupted, and its state is in the cache."""
        return bool(self.key) and partial_path(self.key).is_file()

    @cached_property
    def is_portable(self) -> bool:
        """True if another process can run it: it has a key, and its architecture can be pickled."""
        if not self.key:
            return False
        try:
            pickle.dumps(self.model)
        except (pickle.PicklingError, AttributeError, TypeError):  # known to this process alone
            return False
        return True

    def new_network(self) -> nn.Module:
        """Return the network before its training.

        Raises
        ------
        UsageError
            For a model that is trained already.
        """
        module = build(self.model, self.data, self.seed)
        if isinstance(module, TrainedModel):
            raise UsageError(
                f"model '{self.model.label}' is trained already, expected an architecture"
            )
        return module

    def stored(self) -> Run | None:
        """Return its run from the cache, ``None`` if there is none."""
        return read_run(self.key, self.new_network) if self.key else None

    @training_settings()
    def run(self, device: torch.device, on_step: OnStep | None = None) -> Run:
        """Return its run from the cache, or train the network and store the run."""
        partial_run = PartialRun(self.key, self.facts, device)
        if not self.key:
            return self._train(device, on_step, partial_run)
        if not os.access(cache_path("locks"), os.W_OK) and (run := self.stored()) is not None:
            return run  # from a cache that is shared for reading alone
        with locked([self.key]):
            run = self.stored()
            if run is None:
                with removed_at_the_end(partial_run, [self]):
                    run = self._train(device, on_step, partial_run)
                    self.keep(run, partial_run.seconds)
                run = self.stored() or run
            else:
                partial_run.remove()  # of a process that died when it had stored the run
        return run

    def keep(self, run: Run, seconds: float) -> None:
        """Store a run of this training in the cache."""
        facts = {
            **self.facts,
            "identity": self.model.identity,
            "train_fingerprint": self.data.train.fingerprint,
            "recipe": self.recipe.as_options(),
            "seconds": round(seconds, 1),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        keep_run(run, self.key, facts)

    @property
    def facts(self) -> dict[str, Any]:
        """Its label, model, data set and seed, for files in the cache."""
        return {
            "label": self.label or f"{self.model.label} seed {self.seed}",
            "model": self.model.label,
            "dataset": self.data.label,
            "seed": self.seed,
        }

    def _train(self, device: torch.device, on_step: OnStep | None, partial_run: PartialRun) -> Run:
        steps = 0

        def count(step: int, planned: int) -> None:
            nonlocal steps
            steps = step
            if on_step is not None:
                on_step(step, planned)

        new = begin(self)
        layout, *others = layouts_of(new.module)
        with _named(self, lambda: steps + 1):
            try:
                return self._train_with(new, layout, device, count, partial_run)
            except NETWORK_ERRORS:
                if steps or not others:
                    raise
        new = begin(self)  # it cannot take its first step, and may need the other layout
        with _named(self, lambda: steps + 1):
            return self._train_with(new, others[0], device, count, partial_run)

    def _train_with(
        self,
        new: Begun,
        layout: torch.memory_format,
        device: torch.device,
        on_step: OnStep,
        partial_run: PartialRun,
    ) -> Run:
        history = train(
            new.module,
            new.layer,
            self.data.train,
            self.data.test,
            new.normalization,
            self.recipe,
            self.seed,
            device,
            on_step,
            layout,
            new.norm,
            partial_run,
        )
        return new.ended(history, device, layout)


@contextlib.contextmanager
def removed_at_the_end(partial_run: PartialRun, trainings: Sequence[Training]) -> Iterator[None]:
    """Remove the file of a training that has ended, unless its run could not be stored.

    An interruption leaves it.
    """
    try:
        yield
    except RepsimError:
        partial_run.remove()
        raise
    if all(held_files(training.key) is None for training in trainings):
        partial_run.remove()


@contextlib.contextmanager
def _named(training: Training, step: Callable[[], int]) -> Iterator[None]:
    """Name the model in errors of a training, and the step in which it failed."""
    try:
        yield
    except UsageError as error:
        raise UsageError(f"{called(training.model)}: {error}") from error
    except RepsimError:
        raise
    except (Exception, SystemExit) as error:  # a network may raise anything, or end the program
        size = "x".join(str(s) for s in training.data.train.images.shape[2:])
        raise TrainingError(
            f"{called(training.model)} failed on {size} images in step {step()} "
            f"({reason_of(error)}); {remedy_of(error)}",
            step(),
        ) from error
