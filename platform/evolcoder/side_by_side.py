"""Work on several models of a run: so many at once in threads of the driver, and one that fails leaves the others going.

What each piece of work is, and whether what it makes depends on what runs beside it, is the matter of those who give it.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from queue import Queue

from evolcoder.console import Reporter, Together
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
    failed: dict[str, EvolcoderError] = {}
    if at_once > 1:
        _Threads(at_once, reporter, failed).work(work)
        return failed
    for name, one in work.items():
        try:
            one(reporter)
        except OF_ONE_MODEL as error:
            _leave_out(name, error, failed, reporter)
    return failed


def _leave_out(name: str, error: EvolcoderError, failed: dict[str, EvolcoderError], reporter: Reporter) -> None:
    reporter.warn(f"{name} is left out: {error.message}")
    failed[name] = error


class _Threads:
    def __init__(self, at_once: int, reporter: Reporter, failed: dict[str, EvolcoderError]) -> None:
        self._at_once, self._reporter, self._failed = at_once, reporter, failed
        self._ended: Queue[tuple[str, BaseException | None]] = Queue()
        self._threads: list[threading.Thread] = []

    def work(self, work: Mapping[str, Work]) -> None:
        try:
            with self._reporter.together() as together:
                self._work(work, together)
        finally:  # a thread that asks Ray for something while it shuts down takes the process down without a word
            for thread in self._threads:
                thread.join(_LEAVE_SECONDS)

    def _work(self, work: Mapping[str, Work], together: Together) -> None:
        waiting, running = deque(work), set[str]()
        while waiting or running:
            while waiting and len(running) < self._at_once:
                name = waiting.popleft()
                running.add(name)
                thread = threading.Thread(target=self._run_one, args=(name, work[name], together), daemon=True)
                self._threads.append(thread)
                thread.start()
            name, error = self._ended.get()
            running.remove(name)
            if isinstance(error, OF_ONE_MODEL):
                _leave_out(name, error, self._failed, self._reporter)
            elif isinstance(error, ClusterError) and running:
                # An autoscaling cluster may not get all the machines that it may have.
                self._at_once = len(running)
                self._reporter.warn(f"{name} waits, and {self._at_once} run at once from now on: {error.message}")
                waiting.appendleft(name)
            elif error is not None:
                raise error

    def _run_one(self, name: str, work: Work, together: Together) -> None:
        error: BaseException | None = None
        try:
            work(together.of(name))
        except BaseException as caught:  # noqa: BLE001 - what it means is decided by the thread that waits for it
            error = caught
        self._ended.put((name, error))
