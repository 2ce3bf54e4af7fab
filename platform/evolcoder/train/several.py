"""Several trainings of one run: side by side where the cluster has room for their gangs, else one after the other.

Each has a thread of the driver that watches it, and a folder, an identity and workers of its own, so what it makes does not
depend on what runs beside it. Ray reserves a gang as one placement group: it starts whole or waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from queue import Queue

from evolcoder.cluster import ray_session
from evolcoder.console import Reporter, Together
from evolcoder.errors import ClusterError, DataError, EvolcoderError, ModelError, TrainingError
from evolcoder.run.folder import RunFolder
from evolcoder.run.variants import Variant
from evolcoder.settings.run import RunSettings
from evolcoder.storage.stage import Stage
from evolcoder.train.identity import STAGE
from evolcoder.train.launch import train_one
from evolcoder.train.resources import Room, room_now

OF_ONE_MODEL = (TrainingError, ModelError, DataError)
"""Failures that the training of another model need not meet."""
_LEAVE_SECONDS = 5.0


def train_several(
    settings: RunSettings,
    run: RunFolder,
    trainings: Sequence[tuple[Stage, Variant]],
    base_model: Path,
    reporter: Reporter,
) -> dict[str, EvolcoderError]:
    """Train what is not trained yet; returns the failures of single models by name, when all others are made.

    Raises:
        RunFolderError, RunBusyError, ClusterError: what would stop any of them stops all; the same call goes on.
    """
    with run.lock(STAGE):
        left = [(stage, variant) for stage, variant in trainings if not _is_done(stage, variant, reporter)]
        if not left:
            return {}
        with ray_session():
            room = room_now(settings.train) if len(left) > 1 else Room(1)
            if room.trainings > 1:
                at_once = min(room.trainings, len(left))
                reporter.stage(f"Train {len(left)} models of {settings.name}, {at_once} side by side")
                return _Gangs(settings, run, base_model, room, reporter).train(left)
            return _one_by_one(settings, run, left, base_model, reporter)


def _is_done(stage: Stage, variant: Variant, reporter: Reporter) -> bool:
    done = stage.manifest() is not None and stage.state().done
    if done:
        reporter.say(f"{variant.name}: training on {variant.label} is done: nothing is trained again")
    return done


def _one_by_one(
    settings: RunSettings, run: RunFolder, left: Sequence[tuple[Stage, Variant]], base_model: Path, reporter: Reporter
) -> dict[str, EvolcoderError]:
    failed: dict[str, EvolcoderError] = {}
    for stage, variant in left:
        reporter.stage(f"Train {variant.name}: on {variant.label}, seed {variant.seed}")
        try:
            train_one(settings, run, stage, variant, base_model, reporter)
        except OF_ONE_MODEL as error:
            reporter.warn(f"{variant.name} is left out: {error.message}")
            failed[variant.name] = error
    return failed


class _Gangs:
    """Trainings in threads, no more at once than there is room for."""

    def __init__(self, settings: RunSettings, run: RunFolder, base_model: Path, room: Room, reporter: Reporter) -> None:
        self._settings, self._run, self._base_model, self._room = settings, run, base_model, room
        self._reporter = reporter
        self._ended: Queue[tuple[str, BaseException | None]] = Queue()
        self._threads: list[threading.Thread] = []

    def train(self, left: Sequence[tuple[Stage, Variant]]) -> dict[str, EvolcoderError]:
        try:
            return self._train(left)
        finally:  # a thread that asks Ray for something while it shuts down takes the process down without a word
            for thread in self._threads:
                thread.join(_LEAVE_SECONDS)

    def _train(self, left: Sequence[tuple[Stage, Variant]]) -> dict[str, EvolcoderError]:
        waiting, running = deque(left), dict[str, tuple[Stage, Variant]]()
        failed: dict[str, EvolcoderError] = {}
        at_once = self._room.trainings
        with self._reporter.together() as together:
            while waiting or running:
                while waiting and len(running) < at_once:
                    stage, variant = waiting.popleft()
                    running[variant.name] = stage, variant
                    thread = threading.Thread(target=self._run_one, args=(stage, variant, together), daemon=True)
                    self._threads.append(thread)
                    thread.start()
                name, error = self._ended.get()
                ended = running.pop(name)
                if isinstance(error, OF_ONE_MODEL):
                    self._reporter.warn(f"{name} is left out: {error.message}")
                    failed[name] = error
                elif isinstance(error, ClusterError) and running:
                    # An autoscaling cluster may not get all the machines that it may have.
                    at_once = len(running)
                    self._reporter.warn(f"{name} waits, and {at_once} run at once from now on: {error.message}")
                    waiting.appendleft(ended)
                elif error is not None:
                    raise error
        return failed

    def _run_one(self, stage: Stage, variant: Variant, together: Together) -> None:
        error: BaseException | None = None
        try:
            reporter = together.of(variant.name)
            train_one(self._settings, self._run, stage, variant, self._base_model, reporter, self._room.cpus_each)
        except BaseException as caught:  # noqa: BLE001 - what it means is decided by the thread that waits for it
            error = caught
        self._ended.put((variant.name, error))
