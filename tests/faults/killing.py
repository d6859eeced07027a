"""SIGKILL for real processes at random moments of their work."""

import random
import signal
import time

from children import CONTEXT, start


def kills(work, arguments, *, seconds, inside=None, seed=0, **env):
    """Start ``work(*args, begun)`` for each of ``arguments``, and kill it while it works.

    ``work`` sets the event ``begun`` when its writing begins. ``seconds`` is about the time that
    it takes from there; the moments of death are spread over a little more than that. Every second
    death comes within 2 ms of ``inside()`` being true, such as that a temporary file is written.

    Yields
    ------
    After each death, whether the process was killed; False if it had ended by itself.
    """
    rng = random.Random(seed)
    for number, args in enumerate(arguments):
        begun = CONTEXT.Event()
        child = start(work, *args, begun, **env)
        assert begun.wait(60), "it never began"
        if inside is not None and number % 2:
            while child.is_alive() and not inside():
                pass
            time.sleep(rng.uniform(0, 0.002))
        else:
            time.sleep(rng.uniform(0, 1.1 * seconds))
        child.kill()
        child.join()
        assert child.exitcode in (0, -signal.SIGKILL), child.exitcode
        yield child.exitcode != 0
