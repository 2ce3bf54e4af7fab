"""Judging programs on Ray: a few actors over the cluster, each with one warm box; a free one takes the next program."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import ray

from evolcoder.errors import SandboxError
from evolcoder.evaluate.benchmarks.base import Problem
from evolcoder.evaluate.judge import Job, Source, judge
from evolcoder.records import Verdict
from evolcoder.sandbox.box import BoxSettings
from evolcoder.sandbox.pool import SandboxPool
from evolcoder.sandbox.probe import self_check

Judge = Callable[[Job], Awaitable[Verdict]]

_MOST_WORKERS = 64
_ACTOR_ATTEMPTS = 2


class _JudgeActor:
    """One warm box in a process of its own."""

    def __init__(self, settings: BoxSettings) -> None:
        self._pool = SandboxPool(settings, 1)
        self._pool.submit(self_check).result()

    def ready(self) -> bool:
        return True

    def judge(self, problem: Problem, benchmark: str, sample: int, source: Source) -> Verdict:
        return self._pool.submit(judge, Job(benchmark, problem, sample, source)).result()


@asynccontextmanager
async def judges(settings: BoxSettings, workers: int | None) -> AsyncIterator[Judge]:
    """A function that judges a job as soon as a box is free. Every box has passed its self-check.

    Raises:
        SandboxError: no box can be had.
    """
    actors = _start_actors(settings, workers)
    free: asyncio.Queue[Any] = asyncio.Queue()
    problems: dict[str, Any] = {}  # each problem travels to a node once, not with each of its samples
    try:
        await _all_ready(actors)
        for actor in actors:
            free.put_nowait(actor)

        async def judge_one(job: Job) -> Verdict:
            actor = await free.get()
            try:
                task_id = job.problem.task_id
                if task_id not in problems:
                    problems[task_id] = ray.put(job.problem)
                return await _judged(actor, job, problems[task_id])
            finally:
                free.put_nowait(actor)

        yield judge_one
    finally:
        for actor in actors:
            ray.kill(actor)


def _start_actors(settings: BoxSettings, workers: int | None) -> list[Any]:
    processors = int(ray.cluster_resources().get("CPU", 0))
    count = workers or min(max(processors, 1), _MOST_WORKERS)
    # On one machine the model's own server may hold every CPU, and waiting for one would wait for ever.
    shared = len(ray.nodes()) == 1 and processors > 0
    actor_class = ray.remote(
        num_cpus=0 if shared else 1, max_restarts=_ACTOR_ATTEMPTS, max_task_retries=0, scheduling_strategy="SPREAD"
    )(_JudgeActor)
    return [actor_class.remote(settings) for _ in range(count)]


async def _all_ready(actors: list[Any]) -> None:
    try:
        await asyncio.gather(*(actor.ready.remote() for actor in actors))
    except ray.exceptions.RayActorError as error:
        raise SandboxError(_sandbox_sentence(str(error))) from None


def _sandbox_sentence(text: str) -> str:
    """The one sentence inside the traceback of an actor that could not start."""
    for line in reversed(text.splitlines()):
        _, found, sentence = line.partition("SandboxError: ")
        if found:
            return sentence
    return "The processes that run model-written programs could not start; " + text.strip().splitlines()[-1]


async def _judged(actor: Any, job: Job, problem: Any) -> Verdict:
    """The verdict, tried again when the actor's process died: that says nothing about the program."""
    for attempt in range(1, _ACTOR_ATTEMPTS + 1):
        try:
            verdict: Verdict = await actor.judge.remote(problem, job.benchmark, job.sample, job.source)
            return verdict
        except ray.exceptions.RayError as error:
            reason = f"the process that judges programs failed: {type(error).__name__}"
            if attempt < _ACTOR_ATTEMPTS:
                await asyncio.sleep(1.0)
    return Verdict(job.problem.task_id, job.sample, "infra_error", "infra_error", None, reason, "", 0.0, 0.0)
