"""A run of few rows in the process of the command itself: no worker need be started, which takes longer than such a run.

It sends the same requests, journals them and obeys the same limits as workers do; it only cannot outlive its process. What
it makes is the same to the byte. Cleaning, comparing and merging take one CPU here.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

from evolcoder.console import Progress, Reporter
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.endpoint.limits.shared_limiter import LimitsActor
from evolcoder.errors import EvolcoderError
from evolcoder.evolve.rounds.display import show_totals
from evolcoder.evolve.rounds.shards import read_pool, write_rows
from evolcoder.evolve.rounds.worker import Round, RoundProgress, RowEvolver
from evolcoder.evolve.rules.evolution import CHANGES
from evolcoder.records import Instruction
from evolcoder.storage.folders import Folder

MOST_ROWS = 5_000
"""Up to so many, one process is done before workers of Ray have started and have made up for it."""
_ROWS_BESIDE = 16
"""Rows at hand beyond those with a request in flight, so that a slot that falls free is taken at once."""


def _handle(**methods: Callable[..., Any]) -> Any:
    """Methods under the names that they have at the handle of a Ray actor."""

    def remote(method: Callable[..., Any], *arguments: Any) -> asyncio.Future[Any]:
        done = asyncio.get_running_loop().create_future()
        done.set_result(method(*arguments))
        return done

    return SimpleNamespace(**{name: SimpleNamespace(remote=partial(remote, method)) for name, method in methods.items()})


class InDriver:
    """What ``on_ray.OnRay`` does on a cluster, here and at once."""

    def put(self, value: Any) -> Any:
        return value

    def submit(self, function: Callable[..., Any], *arguments: Any, num_cpus: float, num_returns: int = 1) -> Any:
        return function(*arguments)

    result = put

    @contextmanager
    def ledger(self, limits: TeacherLimits, journal: Folder) -> Iterator[Any]:
        yield _handle(exchange=LimitsActor(limits, journal).exchange)

    def evolve_pool(self, this: Round, progress: Progress, reporter: Reporter) -> tuple[Counter[str], EvolcoderError | None]:
        """Bring every row of the pool through the teacher; returns the totals, and why the run must stop, if it must."""
        concurrency = this.settings.teacher.max_concurrency
        so_far = RoundProgress()
        changes: Counter[str] = Counter()
        warned: set[str] = set()

        def report(worker: str, newest: RoundProgress) -> None:
            nonlocal so_far
            so_far = newest
            for warning in sorted(newest.warnings - warned):
                reporter.warn(warning)
            warned.update(newest.warnings)
            show_totals(newest.totals, progress, this.teacher.limits)

        async def evolve_all() -> list[Instruction]:
            evolver = RowEvolver(this.job(concurrency), _handle(report=report), this.teacher.ledger)
            slots = asyncio.Semaphore(concurrency + _ROWS_BESIDE)

            async def one(member: Instruction) -> Instruction:
                async with slots:
                    row = await evolver(member.to_row())
                changes.update({name: row[name] for name in CHANGES})
                return Instruction.from_row(row)

            pool = (member for partition in range(this.partitions) for member in read_pool(this.earlier, partition))
            try:
                return await asyncio.gather(*map(one, pool))
            finally:
                await evolver.close()

        rows = asyncio.run(evolve_all())
        write_rows(this.attempt.make(), this.partitions, "000000", rows)
        return so_far.totals + changes, so_far.stop
