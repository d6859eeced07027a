"""Real processes for real faults: forked from one that has imported the toolkit, and killed.

A fresh interpreter takes two seconds to import torch. The server of ``multiprocessing`` that all
children are forked from imports it once, in a process that has computed nothing yet.
"""

import multiprocessing
import os
import signal
import sys
from dataclasses import dataclass

from repsim_energy.errors import RepsimError

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    [
        *("pytest", "torch", "xarray", "netCDF4"),
        *("repsim_energy.models", "repsim_energy.results", "repsim_energy.training.training"),
        *("repsim_energy.models.architectures.resnet", "repsim_energy.models.architectures.vgg"),
    ]
)


@dataclass(frozen=True)
class Outcome:
    """How a call in a child ended.

    ``kind`` is ``returned``, ``refused`` (a typed error of this package), ``raised`` (any other
    exception), ``crashed`` (a signal) or ``hung``.
    """

    kind: str
    value: object = None
    text: str = ""


def start(function, *args, **env):
    """Start ``function(*args)`` in a child with variables of its environment, and return it."""
    child = CONTEXT.Process(target=_begin, args=(function, args, env), daemon=True)
    child.start()
    return child


def _begin(function, args, env):
    os.environ.update(env)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (for the whole process)
    function(*args)


def call(function, *args, seconds=60.0, **env):
    """Return the :class:`Outcome` of ``function(*args)`` in a child."""
    (outcome,) = call_each(function, [args], seconds, **env)
    return outcome


def call_each(function, items, seconds=5.0, **env):
    """Return the :class:`Outcome` of ``function(*item)`` for each item.

    One child does them one after the other. The system kills it where an item takes longer than
    ``seconds``, in whatever code it then is; another child goes on behind that item.
    """
    items, outcomes = list(items), []
    while len(outcomes) < len(items):
        ours, theirs = CONTEXT.Pipe()
        child = start(_do_each, theirs, function, items[len(outcomes) :], seconds, **env)
        theirs.close()
        try:
            while len(outcomes) < len(items):
                outcomes.append(ours.recv())
        except EOFError:  # it ended in the middle of an item
            child.join()
            code = child.exitcode
            hung = code == -signal.SIGALRM
            outcomes.append(Outcome("hung" if hung else "crashed", code, f"exit code {code}"))
        child.join()
    return outcomes


def _do_each(connection, function, items, seconds):
    signal.signal(signal.SIGALRM, signal.SIG_DFL)  # ends the process even inside of a library
    for item in items:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        outcome = _outcome(function, item)
        signal.setitimer(signal.ITIMER_REAL, 0)
        connection.send(outcome)


def _outcome(function, item):
    try:
        return Outcome("returned", function(*item))
    except RepsimError as error:
        return Outcome("refused", type(error).__name__, str(error))
    except BaseException as error:
        return Outcome("raised", type(error).__name__, repr(error))
