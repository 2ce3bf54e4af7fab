"""Judging programs on Ray: a few actors over the cluster, each with warm boxes; a free one takes the next program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import ray

from evolcoder.errors import SandboxError
from evolcoder.evaluate.benchmarks.base import Benchmark, Problem
from evolcoder.evaluate.judge import Job, Submission, judge
from evolcoder.records import Verdict
from evolcoder.sandbox.box import BoxSettings
from evolcoder.sandbox.checked import WarmBoxes

Judge = Callable[[Job], Awaitable[Verdict]]

_MOST_WORKERS = 64
_ATTEMPTS = 3


class _JudgeActor:
    """One worker: a process with a warm sandbox of its own."""

    def __init__(self, settings: BoxSettings) -> None:
        self._settings = settings
        self._boxes = WarmBoxes(settings)

    def ready(self) -> None:
        """Returns once the box is warm: a method waits for the constructor."""

    def judge(self, problem: Problem, benchmark: Benchmark, sample: int, submission: Submission) -> Verdict:
        # Bubblewrap dies with the thread that started it. Ray runs all methods of a synchronous actor in its main thread.
        box = self._boxes.get(benchmark.box(problem, self._settings))
        return judge(box, Job(benchmark, problem, sample, submission))


@asynccontextmanager
async def judges(settings: BoxSettings, workers: int | None) -> AsyncIterator[Judge]:
    """A function that judges a job as soon as a box is free. Every box has passed its self-check.

    Raises:
        SandboxError: no box can be had.
    """
    pool = _ActorPool(settings)
    try:
        await pool.fill(workers)
        yield pool.judge
    finally:
        await pool.close()


class _ActorPool:
    """The actors, and which of them are free. One that dies, with its process or its node, is replaced; its job goes on."""

    def __init__(self, settings: BoxSettings) -> None:
        self._processors = int(ray.cluster_resources().get("CPU", 0))
        # On one machine the model's own server may hold every CPU, and waiting for one would wait for ever.
        shared = len(ray.nodes()) == 1 and self._processors > 0
        # SPREAD: by default Ray packs actors onto one node before it takes the next, while others stand idle.
        self._actor_class = ray.remote(num_cpus=0 if shared else 1, scheduling_strategy="SPREAD")(_JudgeActor)
        self._settings = settings
        self._actors: set[Any] = set()
        self._free: asyncio.Queue[Any] = asyncio.Queue()
        self._starting: set[asyncio.Task[None]] = set()
        self._problems: dict[str, Any] = {}  # each problem travels to a node once, not with each of its samples

    async def fill(self, workers: int | None) -> None:
        """Start so many, and wait for the first: a cluster may have to grow before it has room for all."""
        count = workers or min(max(self._processors, 1), _MOST_WORKERS)
        self._starting |= {asyncio.create_task(self._start()) for _ in range(count)}
        self._free.put_nowait(await self._next_free())

    async def judge(self, job: Job) -> Verdict:
        """The verdict; ``infra_error`` when several actors died over it, which says nothing about the program."""
        task_id = job.problem.task_id
        if task_id not in self._problems:
            self._problems[task_id] = ray.put(job.problem)
        reason = ""
        for _ in range(_ATTEMPTS):
            actor = await self._next_free()
            try:
                verdict: Verdict = await actor.judge.remote(self._problems[task_id], job.benchmark, job.sample, job.submission)
            except ray.exceptions.RayError as error:
                reason = f"the process that judges programs failed: {type(error).__name__}"
                self._actors.discard(actor)
                ray.kill(actor)
                # Nobody waits for the one in its place: on a smaller cluster there may be no room for it.
                self._starting.add(asyncio.create_task(self._start()))
                continue
            self._free.put_nowait(actor)
            return verdict
        return Verdict(task_id, job.sample, "infra_error", "infra_error", None, reason, "", 0.0, 0.0)

    async def close(self) -> None:
        for task in self._starting:
            task.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        for actor in self._actors:
            ray.kill(actor)

    async def _start(self) -> None:
        actor = self._actor_class.remote(self._settings)
        self._actors.add(actor)
        try:
            await actor.ready.remote()
        except ray.exceptions.RayActorError as error:
            lines = str(error).strip().splitlines()  # the traceback of an actor that could not start
            said = [line.partition("SandboxError: ")[2] for line in lines if "SandboxError: " in line]
            sentence = said[-1] if said else f"The processes that run model-written programs could not start; {lines[-1]}"
            raise SandboxError(sentence) from None
        self._free.put_nowait(actor)

    async def _next_free(self) -> Any:
        """The next actor that is free.

        Raises:
            SandboxError: none is left, and none can be started.
        """
        # Waits for actors that start too, since only their tasks tell that none can be started: the queue would stay empty.
        waiting = asyncio.ensure_future(self._free.get())
        try:
            while not waiting.done():
                await asyncio.wait([waiting, *self._starting], return_when=asyncio.FIRST_COMPLETED)
                ended = {task for task in self._starting if task.done()}
                self._starting -= ended
                for task in ended:
                    task.result()
            return waiting.result()
        finally:
            waiting.cancel()  # when a start failed; does nothing to one that is done
