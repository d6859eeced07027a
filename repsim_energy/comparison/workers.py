"""Make missing runs in several processes, one thread each, through the cache."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process

import torch

from repsim_energy.comparison.plan import Key, Plan
from repsim_energy.errors import TrainingError
from repsim_energy.interfaces import Dataset, ModelSpec
from repsim_energy.training.recipe import Recipe
from repsim_energy.training.runs import is_cached, make_run

__all__ = ["make_runs_in_processes", "usable_cores"]

Task = tuple[ModelSpec, Dataset, int, Recipe]


def usable_cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def make_runs_in_processes(plan: Plan, jobs: int) -> Iterator[tuple[Key, TrainingError | None]]:
    """Make the runs of a plan that are missing; yield each when it is kept, or why it is not.

    One thread a process, because on small networks several processes of one thread do more than
    one process of several. Runs that no process can be told to make (code without a name, a GPU)
    are left out, for the caller to make.
    """
    tasks = _missing(plan)
    if min(jobs, len(tasks)) < 2 or plan.device.type != "cpu":
        return
    content = pickle.dumps(tasks)
    others = set(active_children())
    with ProcessPoolExecutor(
        min(jobs, len(tasks)), get_context("spawn"), _begin, (content,)
    ) as pool:
        futures = {pool.submit(_make, key): key for key in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], _outcome(future.exception())
        except BaseException:  # an interruption does not wait for the trainings under way
            pool.shutdown(wait=False, cancel_futures=True)
            for worker in set(active_children()) - others:
                worker.terminate()
            raise


def _missing(plan: Plan) -> dict[Key, Task]:
    tasks = {
        (d, m, s): (plan.models[m], plan.datasets[d], plan.seeds[s], plan.recipe)
        for d, m, s in plan.keys
        if (d, m) not in plan.trained and plan.models[m].identity is not None
    }
    told = {spec: _can_be_told(spec) for spec, *_ in tasks.values()}
    return {key: task for key, task in tasks.items() if told[task[0]] and not is_cached(*task)}


def _can_be_told(spec: ModelSpec) -> bool:
    """Return whether another process can be told what to build."""
    try:
        pickle.dumps(spec)
    except (pickle.PicklingError, AttributeError, TypeError):  # code that only this process knows
        return False
    return True


def _outcome(error: BaseException | None) -> TrainingError | None:
    if isinstance(error, BrokenProcessPool):
        return TrainingError(
            "a training process was ended from outside, perhaps for want of memory; "
            "use fewer --jobs, finished runs are kept"
        )
    if error is None or isinstance(error, TrainingError):
        return error
    raise error


_tasks: dict[Key, Task] = {}
"""What a worker process can be asked to do; filled once when it starts."""


def _begin(content: bytes) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # an interruption ends workers without a word
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    _tasks.update(pickle.loads(content))  # noqa: S301 (our own bytes, from our own parent)


def _end_with_parent() -> None:
    """End this worker when the command has gone, killed perhaps: nobody waits for the run."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(key: Key) -> None:
    spec, data, seed, recipe = _tasks[key]
    make_run(spec, data, seed, recipe, torch.device("cpu"))
