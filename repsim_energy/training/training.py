"""A network to be trained: what decides it, and how to get it trained."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pickle
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import filelock
import torch
from torch import Tensor, nn

from repsim_energy.errors import TrainingError, UsageError, reason_of
from repsim_energy.interfaces import Dataset, ModelSpec, Normalization, TrainedModel
from repsim_energy.models.filters.applied_filters import applied_filters
from repsim_energy.models.filters.first_layer import first_layer
from repsim_energy.models.filters.following_norm import following_norm
from repsim_energy.models.filters.norm_folding import Norm
from repsim_energy.progress import working
from repsim_energy.storage import cache_folder, cache_path
from repsim_energy.training.build import NETWORK_ERRORS, build, called, image_shape, remedy_of
from repsim_energy.training.ensemble import train_together
from repsim_energy.training.history import History
from repsim_energy.training.inputs import LAYOUTS, normalization_of
from repsim_energy.training.isolation import training_settings
from repsim_energy.training.loop import OnStep, evaluate, train
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.run_cache import Run, is_kept, keep_run, read_run

__all__ = ["Training", "run_together"]

FORMAT = 3
"""Raised when runs of the same key would come out differently, or hold more."""


@dataclass(frozen=True, eq=False)
class Training:
    """All that decides a trained network.

    Parameters
    ----------
    model : its architecture
    data : trained on the training images, evaluated on the test images
    seed : of the initial weights and of the order of the images
    recipe : how it trains
    label : what it is called in progress and errors; no part of its key
    """

    model: ModelSpec
    data: Dataset
    seed: int
    recipe: Recipe
    label: str = ""

    @cached_property
    def key(self) -> str:
        """SHA-256 of all that decides it; empty for an architecture that cannot be cached."""
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
        """Whether it has been run, and the run is kept."""
        return bool(self.key) and is_kept(self.key)

    @cached_property
    def is_portable(self) -> bool:
        """Whether another process can run it: its code has a name, and the cache hands it over."""
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
        """Return its run from the cache; ``None`` where it is not there."""
        return read_run(self.key, self.new_network) if self.key else None

    @training_settings()
    def run(self, device: torch.device, on_step: OnStep | None = None) -> Run:
        """Return its run: from the cache, or trained now and kept."""
        if not self.key:
            return self._train(device, on_step)
        if not os.access(cache_path("locks"), os.W_OK) and (run := self.stored()) is not None:
            return run  # from a cache that is shared for reading alone
        with _locked([self.key]):
            run = self.stored()
            if run is None:
                started = time.monotonic()
                run = self._train(device, on_step)
                self.keep(run, time.monotonic() - started)
                run = self.stored() or run
        return run

    def keep(self, run: Run, seconds: float) -> None:
        """Write a run of this training to the cache."""
        facts = {
            "model": self.model.label,
            "identity": self.model.identity,
            "dataset": self.data.label,
            "train_fingerprint": self.data.train.fingerprint,
            "seed": self.seed,
            "recipe": self.recipe.as_options(),
            "seconds": round(seconds, 1),
            "torch": torch.__version__,
            "threads": torch.get_num_threads(),
        }
        keep_run(run, self.key, facts)

    def _train(self, device: torch.device, on_step: OnStep | None) -> Run:
        steps = 0

        def count(step: int, planned: int) -> None:
            nonlocal steps
            steps = step
            if on_step is not None:
                on_step(step, planned)

        for layout in LAYOUTS:
            new = _begun(self)
            try:
                history = train(
                    new.module,
                    new.layer,
                    self.data.train,
                    self.data.test,
                    new.normalization,
                    self.recipe,
                    self.seed,
                    device,
                    count,
                    layout,
                    new.norm,
                )
                return new.ended(history, device, layout)
            except UsageError as error:
                raise UsageError(f"{called(self.model)}: {error}") from error
            except NETWORK_ERRORS as error:
                # A network that cannot take its first step may need the other layout.
                if steps or layout == LAYOUTS[-1]:
                    raise _failure(self, error) from error
        raise AssertionError("no layout")


@training_settings()
def run_together(trainings: Sequence[Training], device: torch.device) -> list[Run | TrainingError]:
    """Run trainings that differ in their seed alone as one batched network; keep each as its own.

    Raises
    ------
    RuntimeError and other :data:`~repsim_energy.training.build.NETWORK_ERRORS`
        For architectures that cannot be batched, or do not fit into memory together.
    """
    with _locked([training.key for training in trainings]):
        found: dict[int, Run | TrainingError | None] = {
            training.seed: training.stored() for training in trainings
        }
        missing = [training for training in trainings if found[training.seed] is None]
        if missing:
            found |= _train_together(missing, device)
    return [outcome for outcome in found.values() if outcome is not None]


def _train_together(
    trainings: Sequence[Training], device: torch.device
) -> dict[int, Run | TrainingError]:
    """Return seed -> what came of it, for trainings that are not in the cache."""
    started = time.monotonic()
    new = [_begun(training) for training in trainings]
    first = trainings[0]
    seeds = [training.seed for training in trainings]
    label = f"{first.model.label} seeds {', '.join(map(str, seeds))}"
    with working(label, first.recipe.total_steps(len(first.data.train)), "steps") as advance:
        histories = train_together(
            [one.module for one in new],
            new[0].layer,
            first.data.train,
            first.data.test,
            new[0].normalization,
            first.recipe,
            seeds,
            device,
            [one.norm for one in new],
            partial(advance, 1),
        )
    seconds = (time.monotonic() - started) / len(trainings)
    outcomes: dict[int, Run | TrainingError] = {}
    for training, one, history in zip(trainings, new, histories, strict=True):
        if isinstance(history, TrainingError):
            outcomes[training.seed] = history
            continue
        run = one.ended(history, device, LAYOUTS[0])
        training.keep(run, seconds)
        outcomes[training.seed] = training.stored() or run
    return outcomes


@contextlib.contextmanager
def _locked(keys: Iterable[str]) -> Iterator[None]:
    """Hold the locks of runs, always in one order, so that two processes do not train the same.

    Should the locks not hold (network file systems), both train and the first to finish keeps the
    place.
    """
    cache_folder("runs")  # refused now, not once the run is made
    with contextlib.ExitStack() as locks:
        for key in sorted(keys):
            place = cache_folder("locks") / key
            try:
                locks.enter_context(filelock.FileLock(place))
            except OSError as error:
                raise UsageError(
                    f"the lock '{place}' cannot be made ({error.strerror or error}); free some "
                    "space, or move REPSIM_CACHE"
                ) from error
        yield


@dataclass(frozen=True, eq=False)
class _Begun:
    """A training whose network is built."""

    training: Training
    module: nn.Module
    layer: str
    initial: Tensor
    normalization: Normalization
    norm: Norm | None

    def ended(self, history: History, device: torch.device, layout: torch.memory_format) -> Run:
        """Return its run, now that the network is trained."""
        data, module = self.training.data, self.module
        _, test = evaluate(
            module, data.test, self.normalization, device, self.training.recipe, layout
        )
        trained = applied_filters(module, self.layer, image_shape(data))
        frozen = not any(p.requires_grad for p in module.get_submodule(self.layer).parameters())
        if frozen and not torch.equal(self.initial, trained):
            raise TrainingError(
                f"the frozen first layer of '{self.training.model.label}' changed; report this"
            )
        scale = None if self.norm is None else self.norm.scale_or_nan()
        module.cpu()
        return Run(
            key="",
            layer=self.layer,
            initial=self.initial,
            trained=trained,
            scale=scale,
            history=history,
            normalization=self.normalization,
            test_accuracy=test,
            network=lambda: module,
        )


def _begun(training: Training) -> _Begun:
    module, image = training.new_network(), image_shape(training.data)
    layer = first_layer(module, image).name
    initial = applied_filters(module, layer, image)
    norm = None
    with contextlib.suppress(UsageError):  # something else follows, which is said where it matters
        norm = following_norm(module, layer, image)
    return _Begun(training, module, layer, initial, normalization_of(training.data.train), norm)


def _failure(training: Training, error: Exception) -> TrainingError:
    size = "x".join(str(s) for s in training.data.train.images.shape[2:])
    return TrainingError(
        f"{called(training.model)} failed on {size} images ({reason_of(error)}); {remedy_of(error)}"
    )
