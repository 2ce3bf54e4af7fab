"""N warm boxes, each with a thread of its own, that do what is submitted in turn; one slow program delays nobody else."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Concatenate, ParamSpec, TypeVar

from evolcoder.sandbox.box import BoxSettings, Sandbox

P = ParamSpec("P")
T = TypeVar("T")


class SandboxPool:
    """Use it as a context manager; leaving ends all boxes.

    Raises:
        SandboxError: the level cannot be had on this machine.
    """

    def __init__(self, settings: BoxSettings, size: int) -> None:
        self._settings = settings
        self._own = threading.local()
        self._boxes: list[Sandbox] = []
        self._lock = threading.Lock()
        self._threads = ThreadPoolExecutor(max_workers=size, thread_name_prefix="sandbox")
        self._threads.submit(self._box).result()

    def __enter__(self) -> SandboxPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, work: Callable[Concatenate[Sandbox, P], T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``work(box, *args, **kwargs)`` in the thread of the next free box."""
        return self._threads.submit(lambda: work(self._box(), *args, **kwargs))

    def close(self) -> None:
        self._threads.shutdown(wait=True, cancel_futures=True)
        for box in self._boxes:
            box.close()

    def _box(self) -> Sandbox:
        box: Sandbox | None = getattr(self._own, "box", None)
        if box is None:
            box = self._own.box = Sandbox(self._settings)
            with self._lock:
                self._boxes.append(box)
        return box
