"""A round by the Batch API: its rows are evolved as far as replies are known, and what is missing is asked in batches.

A row needs several replies one after the other. Each pass over some rows finds the next request of every row that lacks one;
they go as one batch, and the pass is repeated until nothing is missing. No row is ever asked singly, at the full price. The
driver does this by itself: it holds as many rows as may be in flight at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

from evolcoder.endpoint.batch_api import BatchApi, batches_of
from evolcoder.endpoint.journal.epoch import journal_token
from evolcoder.endpoint.journal.lines import Entry, request_key
from evolcoder.endpoint.journal.reader import JournalReader
from evolcoder.endpoint.journal.writer import JournalWriter
from evolcoder.endpoint.limits.limiter import Permit
from evolcoder.endpoint.limits.shared_limiter import SharedLimiter
from evolcoder.endpoint.requests import RequestFailed, SamplingSettings, TeacherReply, request_body, sent_body
from evolcoder.errors import EndpointError, EvolcoderError
from evolcoder.evolve.rounds.worker import RoundJob
from evolcoder.evolve.rules.evolution import Asked, evolve_row
from evolcoder.records import Instruction

_LONGEST_GATHER_SECONDS = 5.0
"""A batch is sent when no further request was let pass for so long: a rate or a budget may hold the others back."""


class _ReplyMissing(Exception):  # noqa: N818 - not an error: the row goes on when the reply is here
    """The next request of a row: its key, and its body."""


class BatchEvolver:
    """Evolves the rows of one round. Make and use it inside one event loop.

    Args:
        job: its first endpoint has a Batch API; ``concurrency`` is how many rows go together.
        ledger: the handle of a ``LimitsActor``.
        on_change: is told the totals so far whenever they change.
    """

    def __init__(self, job: RoundJob, ledger: Any, poll_seconds: float, on_change: Callable[[Counter[str]], object]) -> None:
        self._job = job
        self._gather_seconds = min(_LONGEST_GATHER_SECONDS, poll_seconds)
        self._on_change = on_change
        self._paid = JournalReader(job.journal, job.part)
        self._began_before = job.journal.exists(job.part)
        self._journal = JournalWriter(job.journal, job.part, job.epoch.number)
        self._limiter = SharedLimiter(job.epoch, job.limits, ledger, self._journal)
        owner = f"{journal_token(job.journal)}/{job.part}"
        self._api = BatchApi(job.endpoints[0], owner, poll_seconds, self._look)
        self._replies: dict[str, TeacherReply] = {}  # those of the rows at hand that the reader does not know
        self._failures: dict[str, RequestFailed] = {}
        self._tries: Counter[str] = Counter()
        self._changes: Counter[str] = Counter()  # in the replies of the rows at hand
        self._answers = bool(self._paid)
        self._endpoint_error: EndpointError | None = None
        self._looks: dict[str, tuple[int, int]] = {}
        self._totals = Counter(damaged_lines=self._paid.damaged_lines)

    async def close(self) -> None:
        await self._api.close()
        await self._journal.close()

    async def take_left(self) -> int:
        """Put the replies of all batches that earlier runs left into the journal; returns how many.

        Raises:
            EndpointError: the endpoint cannot be used. RunFolderError: the journal cannot be written.
        """
        if not self._began_before:
            return 0
        new = 0
        for batch in await self._api.owned():
            try:
                async for key, outcome in self._api.outcomes(batch):
                    if isinstance(outcome, TeacherReply) and key not in self._paid:
                        self._journal.note(Entry.of(key, outcome))
                        new += 1
            except RequestFailed:
                continue  # refused as a whole: it holds nothing, and cost nothing
        await self._journal.flush()
        self._paid = JournalReader(self._job.journal, self._job.part)
        return new

    async def evolve(self, pool: Iterable[Instruction], write: Callable[[Sequence[Instruction]], object]) -> Counter[str]:
        """What becomes of all rows, in their order, is written some rows at a time; returns the totals.

        Raises:
            EvolcoderError: the run must stop.
        """
        rest = iter(pool)
        while rows := list(islice(rest, self._job.concurrency)):
            evolved, missing = await self._pass_over(rows)
            while missing:
                self._tell(evolved)
                await self._ask_for(missing)
                evolved, missing = await self._pass_over(rows)
            write(evolved)
            self._totals.update(row.status for row in evolved)
            self._totals.update(self._changes)
            self._tell()
            self._replies.clear()
            self._failures.clear()
        return self._totals

    async def _pass_over(self, rows: Sequence[Instruction]) -> tuple[list[Instruction], dict[str, dict[str, Any]]]:
        """The rows that lack no reply, evolved; and of each other row its next request, by key."""
        evolved: list[Instruction] = []
        missing: dict[str, dict[str, Any]] = {}
        self._changes = Counter()  # each pass evolves all rows anew
        for row in rows:
            try:
                evolved.append(await evolve_row(row, self._job.plan, self._find, self._changes))
            except _ReplyMissing as one:
                key, body = one.args
                missing[key] = body
        return evolved, missing

    async def _find(self, prompt: str, sampling: SamplingSettings) -> Asked:
        messages = [{"role": "user", "content": prompt}]
        body = request_body(self._job.endpoints[0].model, {"messages": messages}, sampling)
        key = request_key("chat", body)
        reply = self._replies.get(key) or self._paid.find(key)
        if reply is not None:
            return Asked(reply, key)
        failure = self._failures.get(key)
        if failure is None:
            raise _ReplyMissing(key, body)
        # What the endpoint refuses while it answers others, it refuses for ever.
        raise replace(failure, kind="refused") if failure.kind == "rejected" and self._answers else failure

    async def _ask_for(self, requests: Mapping[str, dict[str, Any]]) -> None:
        """Ask each of them once, in as few batches as the limits allow."""
        waiting = {asyncio.ensure_future(self._limiter.acquire(body)): key for key, body in requests.items()}
        try:
            while waiting:
                permits: dict[str, Permit] = {}
                while waiting:
                    # Under a budget the last ones may have to wait for what this very batch turns out to cost.
                    patience = self._gather_seconds if permits else None
                    done, _ = await asyncio.wait(waiting, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
                    if not done:
                        break
                    for task in done:
                        permits[waiting[task]] = task.result()
                        del waiting[task]
                batches = batches_of({key: sent_body(requests[key], self._job.endpoints[0], batch=True) for key in permits})
                await asyncio.gather(*(self._see_through(lines, permits) for lines in batches))
        finally:
            for task in waiting:
                task.cancel()
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                if isinstance(outcome, Permit):
                    self._limiter.release(outcome, None, False)

    async def _see_through(self, lines: Mapping[str, bytes], permits: Mapping[str, Permit]) -> None:
        """Send a batch, wait until it ended, and keep what became of each of its requests."""
        open_permits = {key: permits[key] for key in lines}
        try:
            async for key, outcome in self._api.answers(list(lines.values())):
                if key in open_permits:
                    self._settle(key, open_permits.pop(key), outcome)
            rest = RequestFailed("expired", "the batch ended without this request's reply")
        except RequestFailed as fault:
            rest = fault
        except EvolcoderError:
            # What the batch holds is counted when it is taken by the next run.
            for permit in open_permits.values():
                self._limiter.release(permit, None, False)
            raise
        for key, permit in open_permits.items():
            self._settle(key, permit, rest)
        await self._journal.flush()
        if self._endpoint_error is not None:
            raise self._endpoint_error

    def _settle(self, key: str, permit: Permit, outcome: TeacherReply | RequestFailed) -> None:
        self._totals["requests"] += 1
        if isinstance(outcome, TeacherReply):
            self._answers = True
            self._limiter.release(permit, outcome, True)
            self._journal.note(Entry.of(key, outcome))
            self._limiter.recorded(outcome)
            self._replies[key] = outcome
            self._totals.update(prompt_tokens=outcome.prompt_tokens, completion_tokens=outcome.completion_tokens)
            return
        self._limiter.release(permit, None, outcome.maybe_billed)
        self._tries[key] += 1
        self._endpoint_error = self._endpoint_error or outcome.endpoint_error
        if not outcome.retryable or self._tries[key] >= self._job.endpoints[0].max_attempts:
            self._failures[key] = outcome

    def _look(self, batch: str, answered: int, asked: int) -> None:
        self._looks[batch] = (answered, asked)
        self._tell()

    def _tell(self, evolved: Sequence[Instruction] = ()) -> None:
        now = self._totals + Counter(row.status for row in evolved)
        now["batch_replies"] = sum(answered for answered, _ in self._looks.values())
        now["batch_requests"] = sum(asked for _, asked in self._looks.values())
        self._on_change(now)
