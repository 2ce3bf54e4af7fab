"""One ledger for all workers of a run: the actor that holds it, and a worker's side, which asks in bulk and waits on its own.

Where nothing is known to limit the teacher, a worker asks about once a second, and hears by then of what others met. The
rules are in ``ledger.py``.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from evolcoder.endpoint.journal.epoch import Epoch, EpochCheck
from evolcoder.endpoint.journal.lines import Release, Reservation
from evolcoder.endpoint.journal.reader import recorded_tokens
from evolcoder.endpoint.journal.writer import JournalWriter
from evolcoder.endpoint.limits.ledger import (
    Grant,
    Ledger,
    Outcome,
    Pause,
    Report,
    TeacherLimits,
    Tokens,
    upper_bound,
    used_tokens,
)
from evolcoder.endpoint.limits.limiter import Limiter, Permit
from evolcoder.endpoint.requests import TeacherReply
from evolcoder.errors import BudgetError, ClusterError, EndpointError, EvolcoderError
from evolcoder.storage.folders import Folder

_GATHER_SECONDS = 0.01
"""What comes within this time goes in one call to the actor: a call for each request would cost more than the request."""


class LimitsActor:
    """The ledger of a run, to be started with ``ray.remote``.

    What was spent before is read from the journal whenever the actor starts, so that neither a new run nor a restarted actor
    forgets it; a pause or a rate that it had learned is learned again.
    """

    def __init__(self, limits: TeacherLimits, journal: Folder) -> None:
        spent = limits.usd(*recorded_tokens(journal)) if limits.budget_usd is not None else 0.0
        self._ledger = Ledger(limits, spent, time.monotonic())

    def exchange(self, report: Report, wanted: Sequence[Tokens]) -> Grant:
        """Take in what a worker has learned, and say how many of the wanted requests may go."""
        now = time.monotonic()
        self._ledger.take_in(report, now)
        return self._ledger.grant(wanted, now)


class SharedLimiter(Limiter):
    """What each request of a worker passes: the run's epoch, then the shared ledger.

    Args:
        ledger: the handle of a ``LimitsActor``.
        journal: holds a reservation for each request before it goes, if there is a budget.
    """

    def __init__(self, epoch: Epoch, limits: TeacherLimits, ledger: Any, journal: JournalWriter) -> None:
        super().__init__(len(limits.endpoints))
        self._epoch_check = EpochCheck(epoch)
        self._limits = limits
        self._ledger = ledger
        self._journal = journal
        self._unrecorded: dict[int, str] = {}
        self._outcomes: list[Outcome] = []
        self._replies: Counter[int] = Counter()
        self._pauses: list[tuple[Pause, float]] = []  # each with the time at which it was asked for
        self._closed: dict[int, str] = {}
        self._wanted: deque[tuple[Tokens, asyncio.Future[int]]] = deque()
        self._free: tuple[int, ...] = ()
        self._free_until = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def acquire(self, body: Mapping[str, Any]) -> Permit:
        """
        Raises:
            RunBusyError: a newer run has taken over.
            BudgetError: the request would break the budget.
            RunFolderError: the reservation cannot be written to the journal.
        """
        if self._free and time.monotonic() < self._free_until:
            self._epoch_check.check()
            permit = Permit(min(self._free, key=self._in_flight.__getitem__))
        else:
            bound, passed = upper_bound(body), asyncio.get_running_loop().create_future()
            self._wanted.append((bound, passed))
            self._ask_soon()
            permit = Permit(await passed, bound, uuid.uuid4().hex[:20])
            self._epoch_check.check()
            if self._limits.budget_usd is not None:
                self._journal.note(Reservation(permit.reservation, bound.prompt, bound.completion))
        self._in_flight[permit.endpoint] += 1
        return permit

    def release(self, permit: Permit, reply: TeacherReply | None, maybe_billed: bool) -> None:
        super().release(permit, reply, maybe_billed)
        self._replies[permit.endpoint] += reply is not None
        if permit.bound is None:
            return
        self._outcomes.append(Outcome(permit.endpoint, permit.bound, used_tokens(permit.bound, reply, maybe_billed)))
        self._ask_soon()
        if self._limits.budget_usd is None:
            return
        if reply is not None:
            self._unrecorded[id(reply)] = permit.reservation
        elif not maybe_billed:
            self._journal.note(Release(permit.reservation))

    def recorded(self, reply: TeacherReply) -> None:
        """The journal holds the reply, with what it used: its reservation counts no longer."""
        reservation = self._unrecorded.pop(id(reply), None)
        # Without the server's figures the reservation stays, and stands for what the reply cost.
        if reservation is not None and reply.prompt_tokens + reply.completion_tokens > 0:
            self._journal.note(Release(reservation))

    def pause(self, endpoint: int, seconds: float, rate_limited: bool) -> None:
        self._pauses.append((Pause(endpoint, seconds, rate_limited), time.monotonic()))
        self._free = ()
        self._ask_soon()

    def close(self, endpoint: int, reason: EvolcoderError) -> None:
        self._closed = {**self._closed, endpoint: reason.message}  # a new one: the last may be in a report on its way
        self._free = ()
        self._ask_soon()

    def stop(self, error: EvolcoderError) -> None:
        """Refuse what waits. What comes later is judged anew: the client sends nothing after this."""
        self._free = ()
        for _, passed in self._wanted:
            if not passed.done():
                passed.set_exception(error)

    def _ask_soon(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        """Exchange with the ledger until nothing is wanted and nothing is left to tell."""
        while self._wanted or self._outcomes or self._pauses:
            await asyncio.sleep(_GATHER_SECONDS)
            self._wanted = deque(one for one in self._wanted if not one[1].done())  # refused, or cancelled
            # A pause runs from when the teacher asked for it. This report may be late: had the time in between to be waited
            # for again, each pause would prolong the next one.
            now = time.monotonic()
            pauses = [replace(pause, seconds=max(0.0, pause.seconds + asked_at - now)) for pause, asked_at in self._pauses]
            report = Report(self._outcomes, self._replies, pauses, self._closed)
            self._outcomes, self._replies, self._pauses = [], Counter(), []
            try:
                grant: Grant = await self._ledger.exchange.remote(report, [bound for bound, _ in self._wanted])
            except Exception as error:
                from ray.exceptions import RayError  # here, for who needs no cluster needs not wait for its import

                if not isinstance(error, RayError):
                    raise
                self.stop(ClusterError(f"The shared limits are out of reach ({error}); run the same command again."))
                return
            for endpoint in grant.endpoints:
                bound, passed = self._wanted.popleft()
                if passed.done():  # refused or cancelled during the call: nothing will be sent
                    self._outcomes.append(Outcome(endpoint, bound, None))
                else:
                    passed.set_result(endpoint)
            if grant.closed is not None:
                self.stop(EndpointError(grant.closed))
            if grant.exhausted:
                self.stop(
                    BudgetError(
                        f"The next request could break the budget of {self._limits.budget_usd:g} USD, so none is sent; what "
                        "was paid for is kept. Raise teacher.budget_usd and run the same command again."
                    )
                )
            # What was learned during the call is not in the grant: a pause or a closed endpoint ends the freedom at once.
            if not self._pauses and not set(grant.free) & self._closed.keys():
                self._free, self._free_until = grant.free, time.monotonic() + grant.wait_seconds
            if self._wanted:
                await asyncio.sleep(0.0 if self._free else grant.wait_seconds)
