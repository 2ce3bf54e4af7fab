"""Work on several models of a run: so many at once in threads of the driver, and one that fails leaves the others going.

What each piece of work is, and whether what it makes depends on what runs beside it, is the matter of those who give it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from queue import Queue

from evolcoder.console import Reporter
from evolcoder.errors import ClusterError, DataError, EvolcoderError, IncompleteError, ModelError, TrainingError

OF_ONE_MODEL = (TrainingError, ModelError, DataError, IncompleteError)
"""Failures that work on another model need not meet."""
_LEAVE_SECONDS = 5.0

Work = Callable[[Reporter], None]


def work_on_models(work: Mapping[str, Work], at_once: int, reporter: Reporter) -> dict[str, EvolcoderError]:
    """Do the work of each model, by name, in the order given; returns what failed of single models, when all else is done.

    Args:
        at_once: how many run side by side, each in a thread and with a reporter of its own; 1 uses neither.

    Raises:
        EvolcoderError: what would stop any of them, such as a cluster that is gone, stops all.
    """
    if at_once > 1:
        return _work_in_threads(work, at_once, reporter)
    failed: dict[str, EvolcoderError] = {}
    for name, one in work.items():
        try:
            one(reporter)
        except OF_ONE_MODEL as error:
            reporter.warn(f"{name} is left out: {error.message}")
            failed[name] = error
    return failed


def _work_in_threads(work: Mapping[str, Work], at_once: int, reporter: Reporter) -> dict[str, EvolcoderError]:
    ended: Queue[tuple[str, BaseException | None]] = Queue()

    def work_on(name: str, own_reporter: Reporter) -> None:
        error: BaseException | None = None
        try:
            work[name](own_reporter)
        except BaseException as caught:  # noqa: BLE001 - what it means is decided by the thread that waits for it
            error = caught
        ended.put((name, error))

    failed: dict[str, EvolcoderError] = {}
    waiting, running = deque(work), set[str]()
    threads: list[threading.Thread] = []
    try:
        with reporter.together() as together:
            while waiting or running:
                while waiting and len(running) < at_once:
                    name = waiting.popleft()
                    running.add(name)
                    threads.append(threading.Thread(target=work_on, args=(name, together.of(name)), daemon=True))
                    threads[-1].start()
                name, error = ended.get()
                running.remove(name)
                if isinstance(error, OF_ONE_MODEL):
                    reporter.warn(f"{name} is left out: {error.message}")
                    failed[name] = error
                elif isinstance(error, ClusterError) and running:
                    # An autoscaling cluster may not get all the machines that it may have.
                    at_once = len(running)
                    reporter.warn(f"{name} waits, and {at_once} run at once from now on: {error.message}")
                    waiting.appendleft(name)
                elif error is not None:
                    raise error
    finally:  # a thread that asks Ray for something while it shuts down takes the process down without a word
        for thread in threads:
            thread.join(_LEAVE_SECONDS)
    return failed
