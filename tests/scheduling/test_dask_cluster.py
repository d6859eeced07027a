"""A real Dask cluster on loopback: the local result in every bit, whatever becomes of a worker."""

import contextlib
import json
import os
import pickle
import re
import runpy
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import pytest
import samples
import torch
from commands import interrupt, needs_signals, started, wait_until
from PIL import Image
from samples import MARKING, MARKS, RECIPE, TINY, WATCHED, Heard, marks_in, write_distribution

import repsim_energy as rs
from repsim_energy.comparison import make_plan
from repsim_energy.errors import RepsimError, UsageError
from repsim_energy.interfaces import ModelSpec
from repsim_energy.registry import load_registry
from repsim_energy.scheduling import chunks, dask_client
from repsim_energy.scheduling.dask_cluster import Cluster
from repsim_energy.scheduling.dask_worker import call
from repsim_energy.scheduling.sums_file import read_sums
from repsim_energy.training.run_files import files_of, keep_received
from repsim_energy.training.training import Training
from repsim_energy.versions import Origin

pytest.importorskip("distributed", reason="needs Dask: pip install 'repsim-energy[dist]'")

pytestmark = [pytest.mark.process, pytest.mark.cluster, needs_signals]

MARKED = ModelSpec("marked", samples.marked, {"name": "marked"})
DEADLY = ModelSpec("deadly", samples.deadly, {"name": "deadly"})
ROOT = Path(__file__).parents[2]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def process(*arguments, **environment):
    """A Dask command, ended with all its children."""
    running = subprocess.Popen(
        [sys.executable, "-m", *arguments, "--no-dashboard"],
        env={**os.environ, **environment},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield running
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.wait()


@contextlib.contextmanager
def scheduler():
    address = f"tcp://127.0.0.1:{free_port()}"
    arguments = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2]]
    once = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "1"}
    with process("distributed.cli.dask_scheduler", *arguments, **once) as running:
        yield address, running


@pytest.fixture(scope="module")
def marks(tmp_path_factory):
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder with the distribution ``marking``, which the workers have."""
    folder = tmp_path_factory.mktemp("site")
    write_distribution(folder, "marking", MARKING)
    return folder


def importable(*folders):
    """The environment of a process that can import what lies there, and the tests' own modules."""
    known = [*map(str, folders), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")]
    return {"PYTHONPATH": os.pathsep.join(known)}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory, marks, site):
    """A scheduler and two workers of one thread, each with a cache of its own."""
    with contextlib.ExitStack() as stack:
        address, _ = stack.enter_context(scheduler())
        for number in range(2):
            stack.enter_context(
                process(
                    "distributed.cli.dask_worker",
                    address,
                    "--nthreads",
                    "1",
                    "--host",
                    "127.0.0.1",
                    "--local-directory",
                    str(tmp_path_factory.mktemp("w")),
                    REPSIM_CACHE=str(tmp_path_factory.mktemp(f"worker-{number}")),
                    **importable(site),
                    **{MARKS: str(marks)},
                )
            )
        with dask_client.connected(address) as connected:
            connected._client.wait_for_workers(2, timeout=60)
        yield address


@pytest.fixture
def local(data, tmp_path, monkeypatch):
    """A function: the comparison made in this process, in a cache of its own."""

    def compared(models, **options):
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("REPSIM_CACHE", str(tmp_path / "local"))
            return rs.compare(models, data, recipe=RECIPE, **options)

    return compared


@contextlib.contextmanager
def killing(marks, nth):
    """Meanwhile, kill -9 the worker that leaves the n-th new mark, which waits until it is seen."""
    before, seen, killed, ended = set(marks_in(marks)), [], [], threading.Event()

    def watch():
        while not ended.wait(0.01):
            new = [mark for mark in marks_in(marks) if mark not in before and mark not in seen]
            for mark in new:  # each once: what is written there changes the order of marks
                seen.append(mark)
                if len(seen) == nth:
                    killed.append(int(mark.name.partition("-")[0]))
                    os.kill(killed[0], signal.SIGKILL)
                mark.write_text("seen")

    (marks / WATCHED).touch()
    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield killed
    finally:
        (marks / WATCHED).unlink()
        ended.set()
        watcher.join()


def test_a_cluster_gives_the_result_of_this_process_and_the_driver_keeps_it(
    cluster, data, local, fresh_cache
):
    models = [TINY, MARKED, lambda c, i: samples.marked(c, i)]
    heard = Heard()
    found = rs.compare(models, data, recipe=RECIPE, scheduler=cluster, reporter=heard)
    assert found.drop_attrs().identical(local(models).drop_attrs())
    assert len(heard.ended) == len(set(heard.ended)) == 6
    assert heard.watched == {"<lambda> seed 0", "<lambda> seed 1"}
    assert len(list(fresh_cache.glob("runs/[!.]*/run.json"))) == 4
    stamps = {path: path.stat().st_mtime_ns for path in fresh_cache.glob("runs/*/*")}
    again = rs.compare(models[:2], data, recipe=RECIPE, scheduler=cluster)
    assert again.similarity.identical(found.similarity[:, :2, :, :, :2])
    assert {path: path.stat().st_mtime_ns for path in fresh_cache.glob("runs/*/*")} == stamps


OWN_FILE = """
from repsim_energy import hookimpl

def own(num_classes, in_channels, *, width: int = 6):
    from samples import small_cnn
    return small_cnn(num_classes, in_channels, widths=(width,))

@hookimpl
def repsim_models():
    return {"own": own}
"""


def test_workers_need_no_copy_of_a_plugin_file(cluster, data, local, fresh_cache, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(OWN_FILE)
    options = {"registry": rs.load_registry(path)}
    path.unlink()
    heard = Heard()
    found = rs.compare(["own"], data, recipe=RECIPE, scheduler=cluster, reporter=heard, **options)
    assert heard.watched == set()
    assert len(heard.ended) == 2
    assert found.drop_attrs().identical(local(["own"], **options).drop_attrs())


def test_the_runs_of_a_killed_worker_are_made_by_others(cluster, data, local, fresh_cache, marks):
    heard = Heard()
    before = len(marks_in(marks))
    with killing(marks, 3) as killed:
        found = rs.compare(
            [MARKED],
            data,
            recipe=RECIPE,
            seeds=range(10, 17),
            scheduler=cluster,
            reporter=heard,
        )
    assert len(killed) == 1
    assert len(marks_in(marks)) - before > 7  # what it had begun was begun again
    assert found.attrs["failures"] == ""
    assert sorted(heard.ended) == [f"marked seed {seed}" for seed in range(10, 17)]
    assert len(list(fresh_cache.glob("runs/[!.]*/run.json"))) == 7
    expected = local([MARKED], seeds=range(10, 17))
    assert found.drop_attrs().identical(expected.drop_attrs())


def test_a_result_that_went_with_its_worker_is_made_again(cluster, marks):
    """Made again by one who waits for being seen, so that it is lost until then."""
    before = set(marks_in(marks))
    (marks / WATCHED).touch()
    with dask_client.connected(cluster) as connected:
        future = connected.submit("piece", call, pickle.dumps((samples.marked_batch, 7)))
        wait_until(lambda: set(marks_in(marks)) - before, "the piece is begun")
        (first,) = set(marks_in(marks)) - before
        first.write_text("seen")
        assert list(connected.as_done({"piece": future})) == ["piece"]
        os.kill(int(first.name.partition("-")[0]), signal.SIGKILL)
        wait_until(lambda: future.status == "lost", "the result is lost")
        (marks / WATCHED).unlink()
        assert connected.result(future) == 7


def test_a_run_that_ends_every_worker_fails_alone(cluster, data, fresh_cache):
    found = rs.compare([DEADLY, MARKED], data, recipe=RECIPE, seeds=[20], scheduler=cluster)
    (failure,) = found.attrs["failures"].splitlines()
    assert failure.startswith("deadly seed 20: ")
    assert "memory" in failure
    assert found.similarity.sel(model="marked", model_ref="marked").notnull().all()


def forgets_all(address):
    """Wait until a scheduler has no tasks any more."""
    with dask_client.connected(address) as connected:

        def tasks():
            count = connected._client.run_on_scheduler
            return count(lambda dask_scheduler: len(dask_scheduler.tasks))

        wait_until(lambda: tasks() == 0, "no tasks left")


def test_a_driver_that_is_interrupted_comes_back(
    cluster, site, marks, pictures_npz, fresh_cache, monkeypatch
):
    """Interrupted when one of five runs is kept, and the next ones wait for being seen."""
    monkeypatch.syspath_prepend(str(site))
    data, recipe = f"npz:path={pictures_npz}", "quick:steps=6:batch=20"

    def kept():
        return {path: path.stat().st_mtime_ns for path in fresh_cache.glob("runs/[!.]*/run.json")}

    before = set(marks_in(marks))
    (marks / WATCHED).touch()
    with started(
        "train",
        "--models",
        "marked",
        "--dataset",
        data,
        "--seeds",
        "5",
        "--recipe",
        recipe,
        "--scheduler",
        cluster,
    ) as first:
        wait_until(lambda: set(marks_in(marks)) - before, "the first run is begun")
        next(mark for mark in marks_in(marks) if mark not in before).write_text("seen")
        wait_until(kept, "the first run is kept")
        assert interrupt(first).startswith("interrupted: ")
    finished = kept()
    assert len(finished) == 1
    (marks / WATCHED).unlink()
    forgets_all(cluster)
    rs.compare(["marked"], data, recipe=recipe, seeds=5, scheduler=cluster)
    runs = kept()
    assert len(runs) == 5
    assert finished.items() <= runs.items()
    assert {json.loads(path.read_text())["threads"] for path in runs} == {1}


def test_workers_that_cannot_do_the_work_are_refused(cluster, data, tmp_path, monkeypatch):
    (tmp_path / "only_here.py").write_text("from samples import marked as build\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(samples.marked, "__module__", "only_here")
    monkeypatch.setattr(samples.marked, "__qualname__", "build")
    import only_here

    unknown = ModelSpec("unknown", only_here.build, {"name": "unknown"})
    with pytest.raises(UsageError, match=r"worker tcp://.* cannot load a model .*only_here"):
        rs.compare([unknown], data, recipe=RECIPE, scheduler=cluster)
    monkeypatch.undo()
    other = ModelSpec("other", MARKED.build, {"name": "x"}, (Origin("repsim-tiny", "9.9"),))
    with pytest.raises(UsageError, match=r"has repsim-tiny 0\+not\.installed, expected 9\.9"):
        rs.compare([other], data, recipe=RECIPE, scheduler=cluster)


def test_patch_bases_of_large_images_come_from_the_cluster_in_every_bit(cluster, rng, monkeypatch):
    monkeypatch.setattr(chunks, "PART_BYTES", 100_000)
    images = torch.randint(0, 256, (500, 3, 16, 16), dtype=torch.uint8, generator=rng)
    here = rs.patch_moments(images, (3, 3))
    there = chunks.moments_of_images(Cluster(cluster), images, (3, 3), large=0)
    assert there.count == here.count
    assert torch.equal(there.second, here.second)
    assert torch.equal(there.total, here.total)


def test_a_chunk_of_a_killed_worker_counts_once(cluster, rng, marks):
    images = torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8, generator=rng)
    pieces = [partial(samples.marked_batch, piece.clone()) for piece in images.split(5)]
    with killing(marks, 3) as killed:
        there = rs.patch_moments_of_chunks(pieces, (3, 3), scheduler=cluster)
    assert len(killed) == 1
    here = rs.patch_moments(images, (3, 3))
    assert there.count == here.count
    assert torch.equal(there.second, here.second)


def test_the_script_of_the_how_to_sums_on_a_cluster(cluster, rng, tmp_path, monkeypatch, capsys):
    """Its function stands in no module, and is sent as it is written."""
    page = (ROOT / "docs" / "how-to" / "cluster.md").read_text()
    script = re.search(r"`patch_statistics.py`:\n\n```python\n(.*?)```", page, re.DOTALL)[1]
    (tmp_path / "patch_statistics.py").write_text(
        script.replace("CHUNK_IMAGES = 500", "CHUNK_IMAGES = 2")
    )
    pixels = torch.randint(0, 256, (3, 3, 256, 256), dtype=torch.uint8, generator=rng)
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(tmp_path / f"photos/{number}.png")

    monkeypatch.chdir(tmp_path)

    def run(folder):
        monkeypatch.setattr(sys, "argv", ["patch_statistics.py", folder, cluster, "photos.sums"])
        runpy.run_path("patch_statistics.py", run_name="__main__")
        return capsys.readouterr().out

    done = run("photos")
    here = rs.patch_moments(pixels[:, :, 16:240, 16:240], (7, 7))
    assert f"{here.count} patches" in done
    _, sums = read_sums(tmp_path / "photos.sums", (7, 7))
    assert torch.equal(sums.second, here.second)
    (tmp_path / "photos").rename(tmp_path / "moved")  # read again, and known by its pixels
    assert run("moved") == done
    Image.new("RGB", (256, 256)).save(tmp_path / "moved/0.png")
    with pytest.raises(UsageError, match="sums of other images: those of chunk 0 differ"):
        run("moved")


def test_without_workers_it_waits_and_without_scheduler_it_ends(data, monkeypatch, fresh_cache):
    monkeypatch.setattr(dask_client, "TIMEOUT_SECONDS", 1)
    with scheduler() as (address, running):
        wait_until(lambda: answers(address), "the scheduler answers")
        said = []
        monkeypatch.setattr(dask_client, "warn", lambda line: (said.append(line), running.kill()))
        with pytest.raises(RepsimError, match="is no longer there; finished runs are kept"):
            rs.compare([TINY], data, recipe=RECIPE, scheduler=address)
    assert said == [f"no workers at '{address}' yet; waiting for them"]
    with pytest.raises(UsageError, match=r"no Dask scheduler answers at 'tcp://127.*within 1 s"):
        rs.compare([TINY], data, recipe=RECIPE, scheduler=address)


def answers(address):
    with (
        contextlib.suppress(OSError),
        socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2])), 1),
    ):
        return True
    return False


def test_a_run_travels_whole_or_not_at_all(data, tmp_path, monkeypatch):
    plan = make_plan(load_registry(plugins=False), [TINY], [data], 1, RECIPE, "cpu")
    training = Training(plan.models[0], data, 0, RECIPE)
    key = training.key
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "worker"))
    made = training.run(plan.device)
    files = files_of(key)
    monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / "driver"))
    damaged = {**files, "model.safetensors": files["model.safetensors"][:-1] + b"?"}
    with pytest.raises(RepsimError, match="came back damaged"):
        keep_received(key, damaged)
    assert list((tmp_path / "driver" / "runs").glob("*")) == []
    keep_received(key, files)
    kept = training.stored().tensors()
    assert all(torch.equal(kept[name], tensor) for name, tensor in made.tensors().items())
