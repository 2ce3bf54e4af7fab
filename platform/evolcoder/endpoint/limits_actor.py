"""One ledger for all workers, as a Ray actor, and the workers' side of it: they ask in bulk and wait on their own.

The rules are in ``limits.py``. What was spent before is read from the journal whenever the actor starts, so that neither a
new run nor a new actor forgets it.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.exceptions import RayError

from evolcoder.endpoint.client import Reply
from evolcoder.endpoint.journal import Epoch, Fence, JournalWriter, Mark, Withdrawn, recorded_tokens
from evolcoder.endpoint.limits import Grant, Ledger, Limits, Outcome, Tokens, upper_bound, used_tokens
from evolcoder.errors import BudgetError, ClusterError, EvolcoderError
from evolcoder.runs import Folder

_GATHER_SECONDS = 0.01


class LimitsActor:
    """To be started with ``ray.remote``; answers ``exchange`` and ``spent_usd``."""

    def __init__(self, limits: Limits, journal: Folder) -> None:
        spent = limits.usd(*recorded_tokens(journal)) if limits.budget_usd is not None else 0.0
        self._ledger = Ledger(limits, spent, time.monotonic())

    def exchange(self, outcomes: Sequence[Outcome], wanted: Sequence[Tokens], pause_seconds: float) -> Grant:
        """Take in how requests ended, and say how many of the wanted may go."""
        now = time.monotonic()
        for outcome in outcomes:
            self._ledger.settle(outcome)
        if pause_seconds > 0:
            self._ledger.pause(pause_seconds, now)
        return self._ledger.grant(wanted, now)

    def spent_usd(self) -> float:
        return self._ledger.spent_usd


@dataclass(frozen=True, slots=True)
class _Ticket:
    bound: Tokens
    mark: str


class RunGate:
    """What each request of a worker passes: the run's epoch, then the shared ledger where there are limits.

    Args:
        ledger: the handle of a ``LimitsActor``, or None.
        journal: where requests are marked before they go, if there is a budget.
    """

    def __init__(self, epoch: Epoch, limits: Limits, ledger: Any | None, journal: JournalWriter) -> None:
        self._fence = Fence(epoch)
        self._limits = limits
        self._ledger = ledger
        self._journal = journal
        self._unrecorded: dict[int, str] = {}
        self._outcomes: list[Outcome] = []
        self._wanted: deque[tuple[Tokens, asyncio.Future[None]]] = deque()
        self._pause_seconds = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def admit(self, body: Mapping[str, Any]) -> _Ticket | None:
        """
        Raises:
            RunBusyError: a newer run has taken over.
            BudgetError: the request would break the budget.
            RunFolderError: the request cannot be marked in the journal.
        """
        if self._ledger is None:
            self._fence.check()
            return None
        ticket = _Ticket(upper_bound(body), uuid.uuid4().hex[:20])
        passed = asyncio.get_running_loop().create_future()
        self._wanted.append((ticket.bound, passed))
        self._ask_soon()
        await passed
        self._fence.check()
        if self._limits.budget_usd is not None:
            self._journal.note(Mark(ticket.mark, ticket.bound.prompt, ticket.bound.completion))
        return ticket

    def settle(self, ticket: object, reply: Reply | None, maybe_billed: bool) -> None:
        if not isinstance(ticket, _Ticket):
            return
        self._outcomes.append(Outcome(ticket.bound, used_tokens(ticket.bound, reply, maybe_billed)))
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

    def rate_limited(self, pause_seconds: float) -> None:
        self._pause_seconds = max(self._pause_seconds, pause_seconds)

    def _ask_soon(self) -> None:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        """Exchange with the ledger until nothing is wanted and nothing is left to tell."""
        assert self._ledger is not None
        while self._wanted or self._outcomes:
            await asyncio.sleep(_GATHER_SECONDS)
            outcomes, self._outcomes = self._outcomes, []
            pause, self._pause_seconds = self._pause_seconds, 0.0
            try:
                grant: Grant = await self._ledger.exchange.remote(outcomes, [bound for bound, _ in self._wanted], pause)
            except RayError as error:
                self._refuse_all(ClusterError(f"The shared limits are out of reach ({error}); run the same command again."))
                return
            for _ in range(grant.granted):
                self._resolve(None)
            if grant.exhausted:
                self._refuse_all(BudgetError(self._sentence()))
            if self._wanted:
                await asyncio.sleep(grant.wait_seconds)

    def _refuse_all(self, error: EvolcoderError) -> None:
        while self._wanted:
            self._resolve(error)

    def _resolve(self, error: EvolcoderError | None) -> None:
        _, passed = self._wanted.popleft()
        if passed.done():
            return
        if error is None:
            passed.set_result(None)
        else:
            passed.set_exception(error)

    def _sentence(self) -> str:
        return (
            f"The next request could break the budget of {self._limits.budget_usd:g} USD, so none is sent; what was paid for "
            "is kept. Raise teacher.budget_usd and run the same command again."
        )
