"""Free memory is what the machine has, less what the control groups of the process leave."""

import os
from types import SimpleNamespace

import pytest

from repsim_energy.numerics import memory

V2 = "0::/batch/job\n"
V1 = "9:cpu:/\n4:memory:/batch/job\n0::/\n"
FREE = 7000


def v2(folder, limit, used, cached=0):
    return {
        f"{folder}/memory.max": limit,
        f"{folder}/memory.current": used,
        f"{folder}/memory.stat": f"anon 5\ninactive_file {cached}\n",
    }


def v1(folder, limit, used, cached=0):
    return {
        f"memory/{folder}/memory.limit_in_bytes": limit,
        f"memory/{folder}/memory.usage_in_bytes": used,
        f"memory/{folder}/memory.stat": f"cache 5\ntotal_inactive_file {cached}\n",
    }


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        ("", {}, FREE),
        (V2, {}, FREE),
        (V2, v2("batch/job", 5000, 1200), 3800),
        (V2, v2("batch/job", 5000, 1200, cached=1000), 4800),
        (V2, v2("batch/job", 99999, 1200), FREE),
        (V2, v2("batch/job", "max", 1200), FREE),
        (V2, v2("batch", 5000, 4200) | v2("batch/job", 4000, 1200), 800),
        (V2, v2(".", 5000, 1200), 3800),
        (V2, {"batch/job/memory.max": 5000}, FREE),
        (V2, {"batch/job/memory.max": 5000, "batch/job/memory.current": 1200}, 3800),
        (V1, v1("batch/job", 5000, 1200, cached=200), 4000),
        (V1, v1(".", 5000, 1200), 3800),
        (V1, v1("batch/job", 9223372036854771712, 1200), FREE),
    ],
    ids=[
        "no control groups",
        "not limited",
        "limited",
        "files in the cache can go",
        "more than there is",
        "max",
        "the group around it has less",
        "a container sees the root alone",
        "use not known",
        "cache not known",
        "version 1",
        "version 1 in a container",
        "version 1 not limited",
    ],
)
def test_the_least_of_machine_and_groups_is_free(groups, files, free, tmp_path, monkeypatch):
    (tmp_path / "own").write_text(groups)
    for name, content in files.items():
        path = tmp_path / "mounted" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    monkeypatch.setattr(memory, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "mounted")
    machine = SimpleNamespace(available=FREE)
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: machine)
    assert memory.available_memory() == free


@pytest.mark.skipif(not hasattr(os, "sysconf"), reason="the system does not say what it has")
def test_no_more_is_free_than_there_is():
    there_is = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory.available_memory() <= there_is
