"""A round about to be made, and the class that evolves its rows: on the cluster's workers, or in the driver.

A worker never raises for a row: whatever happens, a row comes out with a status. When the run must stop, it says so on the
board and hands the rest of its rows through as they are, without a request; the driver reads the board.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from evolcoder.endpoint.client import EndpointClient
from evolcoder.endpoint.journal.epoch import Epoch
from evolcoder.endpoint.journal.lines import Entry, request_key
from evolcoder.endpoint.journal.reader import JournalReader
from evolcoder.endpoint.journal.writer import JournalWriter
from evolcoder.endpoint.limits.ledger import TeacherLimits
from evolcoder.endpoint.limits.shared_limiter import SharedLimiter
from evolcoder.endpoint.requests import FOR_EVER, Endpoint, RequestFailed, SamplingSettings, request_body
from evolcoder.errors import EvolcoderError
from evolcoder.evolve.rules.evolution import CHANGES, Asked, RoundPlan, evolve_row, failed_row
from evolcoder.records import Instruction
from evolcoder.run.folder import RunFolder
from evolcoder.settings.run import RunSettings
from evolcoder.storage.folders import Folder
from evolcoder.storage.stage import Stage

REPORT_SECONDS = 0.25
NOT_ASKED = "not asked: the run was stopped"


@dataclass(frozen=True)
class RoundJob:
    """All that a worker must know; it travels to it once."""

    plan: RoundPlan
    endpoints: tuple[Endpoint, ...]
    concurrency: int
    journal: Folder
    part: str
    epoch: Epoch
    limits: TeacherLimits


@dataclass(frozen=True)
class Teacher:
    """What all rounds of one run share. ``ledger`` is the handle of a ``LimitsActor``."""

    endpoints: Sequence[Endpoint]
    epoch: Epoch
    limits: TeacherLimits
    ledger: Any


@dataclass(frozen=True)
class Round:
    """One that is about to be made; ``rows`` is how many its pool has."""

    settings: RunSettings
    run: RunFolder
    number: int
    stage: Stage
    partitions: int
    rows: int
    teacher: Teacher

    @property
    def earlier(self) -> list[Folder]:
        return [self.run.round(number) for number in range(self.number)]

    @property
    def attempt(self) -> Folder:
        """Where the evolved rows lie until they are merged."""
        return self.run.root / f"attempts/{self.number:02d}-{self.teacher.epoch.number:06d}"

    def job(self, concurrency: int) -> RoundJob:
        return RoundJob(
            plan=RoundPlan(self.number, self.settings.evolve, self.settings.teacher, self.teacher.endpoints[0].model),
            endpoints=tuple(self.teacher.endpoints),
            concurrency=concurrency,
            journal=self.run.journal,
            part=f"{self.number:02d}",
            epoch=self.teacher.epoch,
            limits=self.teacher.limits,
        )


@dataclass(slots=True)
class RoundProgress:
    """What a worker, or all of them, have done so far, and why the run must stop: ``stop`` is the first reason there was."""

    totals: Counter[str] = field(default_factory=Counter)
    stop: EvolcoderError | None = None
    warnings: set[str] = field(default_factory=set)


def together(reports: Iterable[RoundProgress]) -> RoundProgress:
    """What all workers have done; a warning is one, however many of them say it."""
    whole = RoundProgress()
    for report in reports:
        whole.totals.update(report.totals)
        whole.stop = whole.stop or report.stop
        whole.warnings |= report.warnings
    return whole


class RowEvolver:
    """Evolves rows: Ray Data maps it over a pool, or the driver calls it. Its calls share a client and a journal segment."""

    def __init__(self, job: RoundJob, board: Any, ledger: Any) -> None:
        self._job = job
        self._board = board
        self._paid = JournalReader(job.journal, job.part)
        self._journal = JournalWriter(job.journal, job.part, job.epoch.number)
        self._limiter = SharedLimiter(job.epoch, job.limits, ledger, self._journal)
        self._client = EndpointClient(
            job.endpoints, job.concurrency, self._limiter, self._warn_of_closed, answered_before=bool(self._paid)
        )
        self._name = uuid.uuid4().hex
        self._progress = RoundProgress()
        self._counts = self._progress.totals
        self._warned: set[str] = set()
        self._timer: asyncio.TimerHandle | None = None
        if self._paid.damaged_lines:
            self._counts["damaged_lines"] = self._paid.damaged_lines

    async def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        parent = Instruction.from_row(row)
        child = failed_row(parent, self._job.plan, NOT_ASKED)
        changes: Counter[str] = Counter()
        if self._progress.stop is None:
            try:
                child = await evolve_row(parent, self._job.plan, self._ask, changes)
            except EvolcoderError as error:
                self._progress.stop = type(error)(error.message)
                await self._report()  # before the row comes out, or the driver might look too early
        self._counts["not_asked" if child.reason == NOT_ASKED else child.status] += 1
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(REPORT_SECONDS, self._report)
        return child.to_row() | {name: changes[name] for name in CHANGES}

    async def close(self) -> None:
        """Tell the last figures, and let go of what is open; Ray ends a worker without asking it."""
        if self._timer is not None:
            self._timer.cancel()
        await self._report()
        await self._client.close()
        await self._journal.close()

    async def _ask(self, prompt: str, sampling: SamplingSettings) -> Asked:
        messages = [{"role": "user", "content": prompt}]
        key = request_key("chat", request_body(self._job.endpoints[0].model, {"messages": messages}, sampling))
        paid = self._paid.find(key)
        if paid is not None:
            self._counts["replies_reused"] += 1
            return Asked(paid, key)
        try:
            reply = await self._client.chat(messages, sampling)
        except RequestFailed as failure:
            if failure.kind in FOR_EVER - self._warned:
                self._warned.add(failure.kind)
                said = "refuses some requests" if failure.kind == "refused" else "finds some requests too long"
                self._progress.warnings.add(
                    f"the teacher {said} ({failure.message}); their rows are eliminated as {failure.kind}"
                )
                await self._report()
            raise
        await self._journal.append(Entry.of(key, reply))
        self._limiter.recorded(reply)
        self._counts["prompt_tokens"] += reply.prompt_tokens
        self._counts["completion_tokens"] += reply.completion_tokens
        return Asked(reply, key)

    def _warn_of_closed(self, error: EvolcoderError) -> None:
        if len(self._job.endpoints) > 1:  # otherwise the run stops with it
            self._progress.warnings.add(f"{error.message.rstrip('.')} (the teacher's other endpoints go on).")

    def _report(self) -> Any:
        self._timer = None
        self._counts["requests"] = self._client.sent
        return self._board.report.remote(self._name, self._progress)
