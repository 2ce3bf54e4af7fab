"""One ledger for all workers, as a Ray actor, and the workers' side of it: they ask in bulk and wait on their own.

The rules are in ``limits.py``. What was spent before is read from the journal whenever the actor starts, so that neither a
new run nor a new actor forgets it; a pause or a rate that it had learned is learned again. Where nothing is known to limit
the teacher, a worker asks about once a second, and hears by then of what others met.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ray.exceptions import RayError

from evolcoder.endpoint.journal.epoch import Epoch, Fence
from evolcoder.endpoint.journal.lines import Mark, Withdrawn
from evolcoder.endpoint.journal.reader import recorded_tokens
from evolcoder.endpoint.journal.writer import JournalWriter
from evolcoder.endpoint.limits.gate import Ticket
from evolcoder.endpoint.limits.ledger import Grant, Ledger, Limits, Outcome, Pause, Report, Tokens, upper_bound, used_tokens
from evolcoder.endpoint.requests import Reply
from evolcoder.errors import BudgetError, ClusterError, EvolcoderError
from evolcoder.storage.folders import Folder

_GATHER_SECONDS = 0.01


class LimitsActor:
    """To be started with ``ray.remote``; answers ``exchange`` and ``spent_usd``."""

    def __init__(self, limits: Limits, journal: Folder) -> None:
        spent = limits.usd(*recorded_tokens(journal)) if limits.budget_usd is not None else 0.0
        self._ledger = Ledger(limits, spent, time.monotonic())

    def exchange(self, report: Report, wanted: Sequence[Tokens]) -> Grant:
        """Take in what a worker has learned, and say how many of the wanted requests may go."""
        now = time.monotonic()
        self._ledger.take_in(report, now)
        return self._ledger.grant(wanted, now)

    def spent_usd(self) -> float:
        return self._ledger.spent_usd


@dataclass(frozen=True, slots=True)
class _LedgerTicket(Ticket):
    """A request that the ledger counts, and its mark in the journal."""

    bound: Tokens
    mark: str


class RunGate:
    """What each request of a worker passes: the run's epoch, then the shared ledger.

    Args:
        ledger: the handle of a ``LimitsActor``.
        journal: where requests are marked before they go, if there is a budget.
    """

    def __init__(self, epoch: Epoch, limits: Limits, ledger: Any, journal: JournalWriter) -> None:
        self._fence = Fence(epoch)
        self._limits = limits
        self._ledger = ledger
        self._journal = journal
        self._unrecorded: dict[int, str] = {}
        self._outcomes: list[Outcome] = []
        self._replies: Counter[int] = Counter()
        self._pauses: list[tuple[Pause, float]] = []  # each with the time at which it was asked for
        self._closed: frozenset[int] = frozenset()
        self._wanted: deque[tuple[Tokens, asyncio.Future[int]]] = deque()
        self._free: tuple[int, ...] = ()
        self._free_until = 0.0
        self._in_flight: Counter[int] = Counter()
        self._asking: asyncio.Task[None] | None = None

    async def admit(self, body: Mapping[str, Any]) -> Ticket:
        """
        Raises:
            RunBusyError: a newer run has taken over.
            BudgetError: the request would break the budget.
            RunFolderError: the request cannot be marked in the journal.
        """
        if self._free and time.monotonic() < self._free_until:
            self._fence.check()
            ticket = Ticket(min(self._free, key=self._in_flight.__getitem__))
        else:
            bound, passed = upper_bound(body), asyncio.get_running_loop().create_future()
            self._wanted.append((bound, passed))
            self._ask_soon()
            ticket = _LedgerTicket(await passed, bound, uuid.uuid4().hex[:20])
            self._fence.check()
            if self._limits.budget_usd is not None:
                self._journal.note(Mark(ticket.mark, bound.prompt, bound.completion))
        self._in_flight[ticket.door] += 1
        return ticket

    def settle(self, ticket: Ticket, reply: Reply | None, maybe_billed: bool) -> None:
        self._in_flight[ticket.door] -= 1
        self._replies[ticket.door] += reply is not None
        if not isinstance(ticket, _LedgerTicket):
            return
        self._outcomes.append(Outcome(ticket.door, ticket.bound, used_tokens(ticket.bound, reply, maybe_billed)))
        self._ask_soon()
        if self._limits.budget_usd is None:
            return
        if reply is not None:
            self._unrecorded[id(reply)] = ticket.mark
        elif not maybe_billed:
            self._journal.note(Withdrawn(ticket.mark))

    def recorded(self, reply: Reply) -> None:
        """The journal holds the reply, with what it used: its mark counts no longer."""
        mark = self._unrecorded.pop(id(reply), None)
        if mark is not None and reply.prompt_tokens + reply.completion_tokens > 0:
            self._journal.note(Withdrawn(mark))

    def pause(self, door: int, seconds: float, rate_limited: bool) -> None:
        self._pauses.append((Pause(door, seconds, rate_limited), time.monotonic()))
        self._free = ()
        self._ask_soon()

    def close(self, door: int) -> None:
        self._closed |= {door}
        self._free = ()
        self._ask_soon()

    def stop(self, error: EvolcoderError) -> None:
        self._free = ()
        self._refuse_all(error)

    def _ask_soon(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        """Exchange with the ledger until nothing is wanted and nothing is left to tell."""
        while self._wanted or self._outcomes or self._pauses:
            await asyncio.sleep(_GATHER_SECONDS)
            now = time.monotonic()
            pauses = [replace(pause, seconds=max(0.0, pause.seconds + asked_at - now)) for pause, asked_at in self._pauses]
            report = Report(self._outcomes, self._replies, pauses, self._closed)
            self._outcomes, self._replies, self._pauses = [], Counter(), []
            try:
                grant: Grant = await self._ledger.exchange.remote(report, [bound for bound, _ in self._wanted])
            except RayError as error:
                self._refuse_all(ClusterError(f"The shared limits are out of reach ({error}); run the same command again."))
                return
            for door in grant.doors:
                self._resolve(door)
            if grant.exhausted:
                self._refuse_all(BudgetError(self._sentence()))
            if not self._pauses and not set(grant.free) & self._closed:
                self._free, self._free_until = grant.free, time.monotonic() + grant.wait_seconds
            if self._wanted:
                await asyncio.sleep(0.0 if self._free else grant.wait_seconds)

    def _refuse_all(self, error: EvolcoderError) -> None:
        while self._wanted:
            self._resolve(error)

    def _resolve(self, outcome: int | EvolcoderError) -> None:
        _, passed = self._wanted.popleft()
        if passed.done():
            return
        if isinstance(outcome, int):
            passed.set_result(outcome)
        else:
            passed.set_exception(outcome)

    def _sentence(self) -> str:
        return (
            f"The next request could break the budget of {self._limits.budget_usd:g} USD, so none is sent; what was paid for "
            "is kept. Raise teacher.budget_usd and run the same command again."
        )
