"""Make runs: trainings that are kept in the cache under a hash of everything they depend on."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import filelock
import torch
from torch import Tensor, nn

from repsim_energy.errors import TrainingError, UsageError, reason_of
from repsim_energy.interfaces import Dataset, ModelSpec, Normalisation, TrainedModel
from repsim_energy.models.first_layer import first_layer
from repsim_energy.models.norm_behind import norm_behind
from repsim_energy.models.norms import Norm
from repsim_energy.models.through import applied_filters
from repsim_energy.storage import cache_folder, cache_place
from repsim_energy.training.build import NETWORK_ERRORS, build, called, image_shape, remedy_of
from repsim_energy.training.history import History
from repsim_energy.training.isolation import training_settings
from repsim_energy.training.kept import Run, cached_run, is_kept, keep_run
from repsim_energy.training.loop import LAYOUTS, Progress, evaluate, normalisation_of, train
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.together import train_together

__all__ = ["is_cached", "make_run", "make_runs_together", "run_key"]

FORMAT = 3
"""Raised when runs of the same key would come out differently, or hold more."""


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
    return key is not None and is_kept(key)


@training_settings()
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
    if not os.access(cache_place("locks"), os.W_OK) and (run := cached_run(key)) is not None:
        return run  # from a cache that is shared for reading alone
    with _locked([key]):
        run = cached_run(key)
        if run is None:
            started = time.monotonic()
            run = _trained(spec, data, seed, recipe, device, progress)
            keep_run(run, key, spec, seed, recipe, data, time.monotonic() - started)
            run = cached_run(key) or run
    return run


@training_settings()
def make_runs_together(
    spec: ModelSpec,
    data: Dataset,
    seeds: Sequence[int],
    recipe: Recipe,
    device: torch.device,
) -> dict[int, TrainingError | None]:
    """Make the missing runs of several seeds as one batched network; keep each as its own.

    Returns
    -------
    seed -> ``None`` for a run that is kept, or why there is none

    Raises
    ------
    RuntimeError and other :data:`~repsim_energy.training.build.NETWORK_ERRORS`
        For architectures that cannot be batched, or do not fit into memory together.
    """
    keys = {seed: str(run_key(spec, data, seed, recipe)) for seed in seeds}
    with _locked(keys.values()):
        missing = [seed for seed in seeds if cached_run(keys[seed]) is None]
        outcomes: dict[int, TrainingError | None] = dict.fromkeys(seeds)
        if not missing:
            return outcomes
        started = time.monotonic()
        new = [_start(spec, data, seed) for seed in missing]
        histories = train_together(
            [one.module for one in new], new[0].name, data.train, data.test, new[0].normalisation,
            recipe, missing, device, [one.norm for one in new],
        )  # fmt: skip
        seconds = (time.monotonic() - started) / len(missing)
        for seed, one, history in zip(missing, new, histories, strict=True):
            if isinstance(history, TrainingError):
                outcomes[seed] = history
                continue
            run = one.run(spec, history, data, recipe, device)
            keep_run(run, keys[seed], spec, seed, recipe, data, seconds)
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
class _New:
    """A network before its training."""

    module: nn.Module
    name: str
    initial: Tensor
    normalisation: Normalisation
    norm: Norm | None

    def run(
        self,
        spec: ModelSpec,
        history: History,
        data: Dataset,
        recipe: Recipe,
        device: torch.device,
        layout: torch.memory_format = LAYOUTS[0],
    ) -> Run:
        """Return the run, now that the network is trained."""
        _, test = evaluate(self.module, data.test, self.normalisation, device, recipe, layout)
        layer = self.module.get_submodule(self.name)
        trained = applied_filters(self.module, self.name, image_shape(data))
        if not any(p.requires_grad for p in layer.parameters()) and not torch.equal(
            self.initial, trained
        ):
            raise TrainingError(f"the frozen first layer of '{spec.label}' changed; report this")
        filters = {
            "init": self.initial,
            "trained": trained,
            "snapshots": history.snapshots,
            "snapshot_steps": history.snapshot_steps,
            "loss": history.loss,
            "accuracy": history.accuracy,
            "evaluations": history.evaluations,
            "evaluation_steps": history.evaluation_steps,
        }
        if self.norm is not None:
            filters["init_scale"] = history.snapshot_scales[0]
            filters["trained_scale"] = self.norm.scale_now()
            filters["snapshots_scale"] = history.snapshot_scales
        return Run(
            "", self.name, filters, self.normalisation, history.train_accuracy, test,
            history.steps, module=self.module.cpu(),
        )  # fmt: skip


def _start(spec: ModelSpec, data: Dataset, seed: int) -> _New:
    module = build(spec, data, seed)
    if isinstance(module, TrainedModel):
        raise UsageError(f"model '{spec.label}' is trained already, expected an architecture")
    image = image_shape(data)
    name = first_layer(module, image).name
    initial = applied_filters(module, name, image)
    norm = None
    with contextlib.suppress(UsageError):  # something else follows, which is said where it matters
        norm = norm_behind(module, name, image)
    return _New(module, name, initial, normalisation_of(data.train), norm)


def _trained(
    spec: ModelSpec,
    data: Dataset,
    seed: int,
    recipe: Recipe,
    device: torch.device,
    progress: Progress | None,
) -> Run:
    steps = 0

    def report(step: int, planned: int) -> None:
        nonlocal steps
        steps = step
        if progress is not None:
            progress(step, planned)

    for layout in LAYOUTS:
        new = _start(spec, data, seed)
        try:
            history = train(
                new.module, new.name, data.train, data.test, new.normalisation, recipe, seed,
                device, report, layout, new.norm,
            )  # fmt: skip
            return new.run(spec, history, data, recipe, device, layout)
        except UsageError as error:
            raise UsageError(f"{called(spec)}: {error}") from error
        except NETWORK_ERRORS as error:
            # A network that cannot take its first step may need its images in the other layout.
            if steps or layout == LAYOUTS[-1]:
                raise _failure(spec, data, error) from error
    raise AssertionError("no layout")


def _failure(spec: ModelSpec, data: Dataset, error: Exception) -> TrainingError:
    size = "x".join(str(s) for s in data.train.images.shape[2:])
    return TrainingError(
        f"{called(spec)} failed on {size} images ({reason_of(error)}); {remedy_of(error)}"
    )
