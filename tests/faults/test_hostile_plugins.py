"""Installed plugins that do what no plugin should: named, contained, and without any effect."""

import json
import locale
import os
import random
import signal
import sys
import textwrap
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from commands import interrupt, needs_signals, repsim_process, started

import repsim_energy as rs
from repsim_energy.errors import PluginError, PluginWarning, RepsimWarning, UsageError
from repsim_energy.registry import load_registry

HOOK = "from repsim_energy import hookimpl\n@hookimpl\ndef repsim_models():\n    "
GOOD = HOOK + "return {'mine': print}\n"


LAZY = HOOK + "return {'mine': 'lazy_part:build'}\n"
"""A plugin whose component is in a module that is imported when it is asked for."""

CHANGES = """
import locale, os, random, signal, sys, threading, warnings
import numpy, torch
torch.manual_seed(1)
numpy.random.seed(1)
random.seed(1)
torch.set_default_dtype(torch.float64)
torch.set_num_threads(3)
torch.set_grad_enabled(False)
torch.set_deterministic_debug_mode("warn")
torch.set_flush_denormal(True)
torch.set_default_device("meta")
numpy.seterr(all="raise")
os.chdir("/")
os.environ["OMP_NUM_THREADS"] = "9"
os.environ["REPSIM_CACHE"] = "/nowhere"
os.environ.pop("PATH", None)
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, "/nowhere")
sys.path.append("/somewhere")
sys.excepthook = sys.unraisablehook = threading.excepthook = print
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
warnings.simplefilter("ignore")
warnings.showwarning = print
locale.setlocale(locale.LC_ALL, "C")
sys.setrecursionlimit(20_000)
sys.stdout = sys.stderr = None
"""

CHANGED = [
    *("Python's random numbers", "NumPy's random numbers", "torch's random numbers"),
    *("default dtype", "default device", "number of threads", "grad mode", "deterministic"),
    *("denormal", "numpy.seterr", "current folder", "environment variables", "sys.path"),
    *("sys.excepthook", "sys.unraisablehook", "threading.excepthook", "signal handlers"),
    *("filters of warnings", "warnings.showwarning", "recursion", "sys.stdout", "sys.stderr"),
]

THREADS = """
import threading, time

def go_on():
    while True:
        time.sleep(0.05)

threading.Thread(target=go_on, name="goes on").start()
threading.Thread(target=go_on, name="daemon\\x1b[1m", daemon=True).start()
"""

ODD = "class Odd({base}):\n    def __{what}__(self, *_):\n        raise RuntimeError('odd')\n"

HOSTILE = {
    "hangs": ("while True: pass", "took longer than 0.3 s"),
    "sleeps": ("import time\ntime.sleep(100)", "took longer than 0.3 s"),
    "hangs-in-hook": (HOOK + "while True: pass", "took longer than 0.3 s"),
    "reads": ("input('who are you?')", "EOFError"),
    "floods-stdout": ("print('x' * 10_000_000)\n" + GOOD, "wrote 10000001 bytes to stdout"),
    "floods-stderr": (
        "import sys\nfor _ in range(10): sys.stderr.buffer.write(b'e' * 1_000_000)\n" + GOOD,
        "wrote 10000000 bytes to stderr, beginning with 'eeee",
    ),
    "closes": ("import sys\nsys.stdout.close()\nsys.stderr.detach()\n" + GOOD, ""),
    "escapes": ("raise ValueError('\\x1b[31mred\\nline')", r"ValueError: \x1b[31mred line"),
    "unsayable": (ODD.format(base="Exception", what="str") + "raise Odd()", "Odd"),
    "recursion": ("def f(): f()\nf()", "RecursionError"),
    "memory": ("raise MemoryError", "MemoryError"),
    "alarm": ("import signal\nsignal.alarm(1)\n" + GOOD, ""),
    "mapping-raises": (
        "from collections.abc import Mapping\nclass Odd(Mapping):\n"
        "    def __getitem__(self, key): raise KeyError(key)\n"
        "    def __len__(self): return 1\n"
        "    def __iter__(self): yield 'one'; raise OSError('half')\n" + HOOK + "return Odd()",
        "hook repsim_models failed: KeyError: 'one'",
    ),
    "endless": (
        "import itertools\nclass Odd(dict):\n"
        "    def items(self): return ((str(i), print) for i in itertools.count())\n"
        + HOOK
        + "return Odd()",
        "",
    ),
    "huge": (HOOK + "return {str(i): print for i in range(10_001)}", "10001 components"),
    "newline": (HOOK + "return {'two\\nlines': print}", r"'two\nlines' cannot be typed"),
    "escape-name": (HOOK + "return {'\\x1b[2J': print}", r"'\x1b[2J' cannot be typed"),
    "long-name": (HOOK + "return {'n' * 10_000_000: print}", "cannot be typed"),
    "unhashable": (
        ODD.format(base="str", what="eq")
        + "    __hash__ = str.__hash__\n"
        + HOOK
        + "return {Odd('vgg11'): print}",
        "odd",
    ),
    "unspeakable": (ODD.format(base="object", what="repr") + HOOK + "return {Odd(): 1}", "odd"),
    "wrapper": (
        "from repsim_energy import hookimpl\n@hookimpl(wrapper=True)\n"
        "def repsim_models():\n    yield\n    return 7\n",
        "returned int, expected a mapping",
    ),
    "changes": (CHANGES + GOOD, "the current folder"),
    "changes-in-hook": (HOOK + "import torch; torch.manual_seed(3); return {}", "torch's random"),
    "changes-and-fails": (CHANGES + "raise OSError", "the current folder"),
}
"""Name of a plugin -> its module, and words that name what it does when it is loaded."""


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setenv("REPSIM_PLUGIN_SECONDS", "0.3")


@pytest.fixture
def alarm_off():
    yield
    signal.alarm(0)


def one(registry, name):
    return next(plugin for plugin in registry.plugins if plugin.name == name)


def state():
    """What of this process a plugin can change, as this test sees it."""
    return {
        "numbers": (
            random.getstate(),
            np.random.get_state(legacy=False)["state"]["key"].tobytes(),  # noqa: NPY002
            torch.get_rng_state().numpy().tobytes(),
        ),
        "torch": (
            torch.get_default_dtype(),
            torch.get_default_device(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            float(torch.tensor(1e-310, dtype=torch.float64) * 1),
        ),
        "numpy": np.geterr(),
        "system": (os.getcwd(), os.environ.get("PATH"), os.environ.get("OMP_NUM_THREADS")),
        "cache": os.environ.get("REPSIM_CACHE"),
        "hooks": (sys.excepthook, sys.unraisablehook, threading.excepthook, warnings.showwarning),
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)],
        "streams": (sys.stdin, sys.stdout, sys.stderr),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion": sys.getrecursionlimit(),
    }


@needs_signals
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_plugin_is_named_and_changes_nothing(name, install, soon, alarm_off):
    source, words = HOSTILE[name]
    install(name, source)
    install("zz-good", GOOD.replace("mine", "good"))
    path, before = [*sys.path], state()
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        registry = load_registry()
        filters = [*warnings.filters]
        warnings.warn("still seen", RepsimWarning, stacklevel=1)
    assert state() == before
    assert sys.path[: len(path)] == path
    assert ("always", None, Warning, None, 0) in filters
    said = [str(one.message) for one in seen]
    assert said.pop() == "still seen"
    plugin = one(registry, name)
    told = plugin.problems + plugin.notes
    assert words in " ".join(told)
    for text in told:
        assert any(text in line and f"plugin '{name}' of {name} 1.0" in line for line in said)
        assert text.isprintable()
        assert len(text) < 1000
    assert one(registry, "zz-good").status == "ok"
    assert {"good", "vgg11"} <= set(registry.names("model"))


def test_every_change_is_named(install):
    install("changes", CHANGES + GOOD)
    with pytest.warns(PluginWarning):
        registry = load_registry()
    told = " ".join(one(registry, "changes").notes)
    assert [words for words in CHANGED if words not in told] == []
    assert one(registry, "changes").provides == {"model": ["mine"]}
    assert os.environ.pop("TOKENIZERS_PARALLELISM") == "false"  # a matter of other libraries
    assert sys.path.pop() == "/somewhere"
    assert sys.path.pop() == "/nowhere"


@pytest.mark.process
@pytest.mark.faults
def test_imports_of_libraries_are_no_changes(install):
    """Their own filters of warnings stay, and so do their variables."""
    install("imports", f"import {', '.join(LIBRARIES)}\n{GOOD}")
    done = repsim_process("plugins", "--json")  # where nothing is imported yet
    notes = {plugin["name"]: plugin["notes"] for plugin in json.loads(done.stdout)}
    assert notes["imports"] == []


LIBRARIES = ("torch", "torchvision", "numpy", "scipy.stats", "pandas", "xarray", "netCDF4")


@needs_signals
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("while True: pass", "took longer than 0.3 s"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("raise BaseException('no')", "BaseException: no"),
        ("build = None\ndef __getattr__(name): raise SystemExit(name)\ndel build", "SystemExit"),
    ],
)
def test_what_is_loaded_on_demand_is_contained_too(install, soon, source, words):
    install("lazily", LAZY)
    install.args[0].joinpath("lazy_part.py").write_text(source)
    registry = load_registry()
    before = state()
    with pytest.raises(PluginError, match=f"'mine' of lazily cannot be loaded.*{words}"):
        registry.entry("model", "mine").load()
    assert state() == before


def test_changes_of_what_is_loaded_on_demand_are_named_once(install):
    install("lazily", LAZY)
    source = "import random\nrandom.seed(3)\nprint('hello')\nbuild = print\n"
    install.args[0].joinpath("lazy_part.py").write_text(source)
    entry = load_registry().entry("model", "mine")
    before = state()
    with pytest.warns(PluginWarning) as seen:
        assert entry.load() is print
    assert len(seen) == 2
    assert state() == before
    assert entry.load() is print


def test_a_family_that_cannot_list_its_members_is_named(install):
    install(
        "family",
        "def family(*_): ...\nfamily.names = lambda: 1 / 0\n" + HOOK + "return {'f/*': family}\n",
    )
    registry = load_registry()
    with pytest.raises(PluginError, match=r"'f/\*' of family does not list .*ZeroDivisionError"):
        registry.names("model", "f/*")
    assert "vgg11" in registry.names("model")


@pytest.mark.parametrize("entry", ["no equals sign", "\ufffd\udcff = x\n[", "[repsim_energy\nx"])
def test_damaged_metadata_of_one_distribution_is_named(install, tmp_path, entry):
    install("good", GOOD)
    install("aaa-damaged", GOOD)
    file = tmp_path / "site" / "aaa_damaged-1.0.dist-info" / "entry_points.txt"
    file.write_bytes(f"[repsim_energy]\n{entry}\n".encode("utf-8", "surrogateescape"))
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        registry = load_registry()
    assert one(registry, "good").status == "ok"
    assert any("aaa-damaged" in str(warning.message) for warning in seen)


@pytest.mark.parametrize("metadata", [None, "", "Name: bad\x1b[31m\nVersion: 1\n", "\udcff"])
def test_a_distribution_without_a_name_stops_nothing(install, tmp_path, metadata):
    install("nameless", GOOD)
    install("good", GOOD.replace("mine", "good"))
    file = tmp_path / "site" / "nameless-1.0.dist-info" / "METADATA"
    if metadata is None:
        file.unlink()
    else:
        file.write_bytes(metadata.encode("utf-8", "surrogateescape"))
    registry = load_registry()
    assert {"mine", "good"} <= set(registry.names("model"))
    assert one(registry, "nameless").distribution.isprintable()


def test_a_limit_that_is_no_number_is_refused(install, monkeypatch):
    for text in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("REPSIM_PLUGIN_SECONDS", text)
        with pytest.raises(UsageError, match=f"REPSIM_PLUGIN_SECONDS='{text}'.*positive number"):
            load_registry()


@needs_signals
def test_an_alarm_of_the_program_rings_at_its_time(install, soon):
    install("slow", "import time\ntime.sleep(0.1)\n" + GOOD)
    rung = []
    before = signal.signal(signal.SIGALRM, lambda *_: rung.append(time.monotonic()))
    started_at = time.monotonic()
    for delay in (0.05, 1.0):  # during the import, where it takes the place of the limit; behind it
        signal.setitimer(signal.ITIMER_REAL, delay)
        load_registry()
        remaining, _ = signal.setitimer(signal.ITIMER_REAL, 0)
        assert (len(rung), bool(remaining)) == (1, delay > 0.5)
        assert remaining < delay
        sys.modules.pop("plugin_slow")
    signal.signal(signal.SIGALRM, before)
    assert 0.05 <= rung[0] - started_at < 0.5


def test_threads_that_load_at_once_restore_the_streams(install):
    install("prints", "print('hello')\n" + GOOD)
    streams = sys.stdin, sys.stdout, sys.stderr
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        threads = [threading.Thread(target=load_registry) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (sys.stdin, sys.stdout, sys.stderr) == streams


@pytest.mark.parametrize("value", ["1", "true", "YES"])
def test_no_plugins_means_that_no_entry_point_is_read(install, monkeypatch, value, tmp_path):
    install("hangs", HOSTILE["hangs"][0])
    (tmp_path / "site" / "hangs-1.0.dist-info" / "entry_points.txt").write_text("damaged\n[")
    monkeypatch.setenv("REPSIM_NO_PLUGINS", value)
    assert {plugin.distribution for plugin in load_registry().plugins} == {"repsim-energy"}


@pytest.mark.process
def test_output_of_commands_is_theirs_alone(install, repsim, soon):
    """Also where a plugin prints, and its threads would keep the process from ending."""
    for name in ("floods-stdout", "hangs"):
        install(name, HOSTILE[name][0])
    install("threads", THREADS + GOOD.replace("mine", "threaded"))
    started_at = time.monotonic()
    done = repsim_process("plugins", "--json")
    assert time.monotonic() - started_at < 30
    assert done.returncode == 0, done.stderr
    notes = {plugin["name"]: plugin["notes"] for plugin in json.loads(done.stdout)}
    assert notes["threads"] == [
        "left the thread 'goes on' running; nobody waits for it",
        r"left the daemon thread 'daemon\x1b[1m' running; nobody waits for it",
    ]
    assert repsim("--help").returncode == 0
    for args, env in ((["--no-plugins", "models"], {}), (["models"], {"REPSIM_NO_PLUGINS": "1"})):
        done = repsim(*args, **env)
        assert (done.returncode, done.stderr) == (0, "")
    assert repsim_process("models", "no_such_model").returncode == 2  # threads change no exit code


def compared(run, images, folder, *before):
    """The numbers of a small comparison, of networks trained for it."""
    folder.mkdir()
    output = folder / "result.nc"
    done = run(
        *before,
        *("compare", "--models", "linear_cnn:filters=4", "--dataset", f"npz:path={images}"),
        *("--recipe", "quick:steps=2", "--seeds", "2", "--jobs", "1", "-o", str(output), "--quiet"),
        REPSIM_CACHE=str(folder / "cache"),
        REPSIM_PLUGIN_SECONDS="0.3",
    )
    assert done.returncode == 0, done.stderr
    result = rs.open_result(output)
    output.unlink()
    return done, {name: result[name].values.tobytes() for name in ("energy", "similarity")}


@needs_signals
@pytest.mark.process
def test_numbers_are_those_without_plugins(install, repsim, pictures_npz, tmp_path, alarm_off):
    for name, (source, _) in HOSTILE.items():
        if name != "alarm":
            install(name, source)
    _, alone = compared(repsim, pictures_npz, tmp_path / "alone", "--no-plugins")
    done, beside = compared(repsim, pictures_npz, tmp_path / "beside")
    assert beside == alone
    for name in HOSTILE.keys() - {"alarm", "endless", "closes"}:
        assert f"warning: plugin '{name}' of {name} 1.0: " in done.stderr


@needs_signals
@pytest.mark.process
@pytest.mark.faults
@pytest.mark.parametrize("name", [*HOSTILE, "threads"])
def test_in_a_process_of_its_own_numbers_are_those_without_plugins(
    name, install, repsim, pictures_npz, tmp_path
):
    _, alone = compared(repsim, pictures_npz, tmp_path / "alone", "--no-plugins")
    install(name, THREADS + GOOD if name == "threads" else HOSTILE[name][0])
    _, beside = compared(repsim_process, pictures_npz, tmp_path / "beside")
    assert beside == alone


@needs_signals
@pytest.mark.process
def test_ctrl_c_ends_a_plugin_that_hangs(install, tmp_path):
    """Also one that wants to ignore it, after the time limit."""
    mark = tmp_path / "mark"
    install("hangs", f"open({str(mark)!r}, 'w').close()\nimport time\ntime.sleep(100)")
    with started("models") as process:
        while not mark.exists():
            time.sleep(0.01)
        assert interrupt(process).startswith("interrupted")


@pytest.mark.process
@pytest.mark.faults
def test_other_processes_load_a_plugin_contained(install, pictures_npz, tmp_path, monkeypatch):
    """Networks have the numbers there that they have here, and the processes end."""
    here = textwrap.indent(CHANGES.replace("REPSIM_CACHE", "REPSIM_OTHER") + THREADS, "    ")
    install(
        "mine", f"import multiprocessing\nif multiprocessing.parent_process():{here}\n{NETWORK}"
    )
    registry = load_registry()
    found = []
    for jobs in (1, 2):
        monkeypatch.setenv("REPSIM_CACHE", str(tmp_path / f"cache-{jobs}"))
        found.append(
            rs.compare(
                "mine,linear_cnn:filters=4",
                f"npz:path={pictures_npz}",
                seeds=1,
                jobs=jobs,
                recipe="quick:steps=2",
                registry=registry,
            )
        )
    assert found[0].energy.identical(found[1].energy)


NETWORK = """
from torch import nn
from repsim_energy import hookimpl

def mine(num_classes, in_channels):
    return nn.Sequential(nn.Conv2d(in_channels, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(4, num_classes))

@hookimpl
def repsim_models():
    return {"mine": mine}
"""
