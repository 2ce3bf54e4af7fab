"""Threads with warm boxes of their own that do what is submitted in turn; one slow program delays nobody else."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from evolcoder.sandbox.box import BoxSettings, Sandbox
from evolcoder.sandbox.probe import self_check

P = ParamSpec("P")
T = TypeVar("T")


_MOST_WARM = 2
"""Boxes that a thread keeps: of the settings that it needed last."""


class SandboxPool:
    """Use it as a context manager; leaving ends all boxes. Every box has passed its self-check.

    Raises:
        SandboxError: the level cannot be had on this machine.
    """

    def __init__(self, settings: BoxSettings, size: int) -> None:
        self._settings = settings
        self._own = threading.local()
        self._boxes: set[Sandbox] = set()
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=size, thread_name_prefix="sandbox")
        self._threads.submit(self._box, settings).result()

    def __enter__(self) -> SandboxPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, work: Callable[Concatenate[Sandbox, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``work(box, *args, **kwargs)`` in the next free thread, with its box of the pool's own settings."""
        return self._threads.submit(lambda: work(self._box(self._settings), *args, **kwargs))

    def submit_with(
        self, settings: BoxSettings, work: Callable[Concatenate[Sandbox, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """The same with a box of other settings, which takes the place of the one that was not needed for longest."""
        return self._threads.submit(lambda: work(self._box(settings), *args, **kwargs))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for box in self._boxes:
            box.close()

    def _box(self, settings: BoxSettings) -> Sandbox:
        warm: OrderedDict[BoxSettings, Sandbox] = self._own.__dict__.setdefault("warm", OrderedDict())
        if settings not in warm:
            if len(warm) >= _MOST_WARM:
                self._end(warm.popitem(last=False)[1])
            warm[settings] = self._checked(settings)
        warm.move_to_end(settings)
        return warm[settings]

    def _checked(self, settings: BoxSettings) -> Sandbox:
        box = Sandbox(settings)
        with self._lock:
            self._boxes.add(box)
        try:
            self_check(box)
        except BaseException:
            self._end(box)
            raise
        return box

    def _end(self, box: Sandbox) -> None:
        with self._lock:
            self._boxes.discard(box)
        box.close()
