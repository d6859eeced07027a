"""The command ``repsim``: called in this process, or run as a process of its own."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import warnings

import click
import pytest
from click.testing import CliRunner

from repsim_energy.cli import main

needs_signals = pytest.mark.skipif(
    not hasattr(signal, "SIGKILL"), reason="the system has no POSIX signals"
)


class _Script(click.Command):
    """What the script ``repsim`` calls, as click's runner wants it."""

    def main(self, args=None, *_, **__):
        main(args)


def repsim_here(*args, **env):
    """Call the command in this process; it ends as a process does, with an exit code."""
    with warnings.catch_warnings():  # the command decides which warnings are shown
        done = CliRunner().invoke(_Script("repsim"), args, env=env, catch_exceptions=False)
    return subprocess.CompletedProcess(args, done.exit_code, done.stdout, done.stderr)


def repsim_process(*args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **env):
    """Run the command in a process of its own."""
    return subprocess.run(
        _command(args),
        stdout=stdout,
        stderr=stderr,
        text=True,
        timeout=300,
        env=_environment(env),
    )


@contextlib.contextmanager
def started(*args, **env):
    """A command under way, which takes SIGINT even where this process was told to ignore it."""
    process = subprocess.Popen(
        _command(args),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=_environment(env),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def interrupt(process):
    """Send SIGINT to a command and return the last line that it says."""
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    return errors.strip().splitlines()[-1]


def wait_until(holds, what, seconds=60):
    """Return when something holds; fail where it does not within some seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


def _command(args):
    return [sys.executable, "-m", "repsim_energy", *args]


def _environment(changes):
    """The environment of this process, and what it can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **changes}
