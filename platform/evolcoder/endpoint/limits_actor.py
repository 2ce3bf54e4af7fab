"""One ledger for all workers, as a Ray actor, and the workers' side of it: they ask in bulk and wait on their own.

The rules are in ``limits.py``. What was spent before is read from the journal whenever the actor starts, so that neither a
new run nor a new actor forgets it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from evolcoder.endpoint.client import Reply
from evolcoder.endpoint.journal import Epoch, Fence, recorded_tokens
from evolcoder.endpoint.limits import Grant, Ledger, Limits, Outcome, Tokens, upper_bound, used_tokens
from evolcoder.errors import BudgetError, EvolcoderError
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


class RunGate:
    """What each request of a worker passes: the run's epoch, then the shared ledger where there are limits.

    Args:
        ledger: the handle of a ``LimitsActor``, or None.
    """

    def __init__(self, epoch: Epoch, limits: Limits, ledger: Any | None) -> None:
        self._fence = Fence(epoch)
        self._limits = limits
        self._ledger = ledger
        self._outcomes: list[Outcome] = []
        self._wanted: deque[tuple[Tokens, asyncio.Future[None]]] = deque()
        self._pause_seconds = 0.0
        self._asking: asyncio.Task[None] | None = None

    async def admit(self, body: Mapping[str, Any]) -> Tokens | None:
        """
        Raises:
            RunBusyError: a newer run has taken over.
            BudgetError: the request would break the budget.
        """
        bound = None
        if self._ledger is not None:
            bound = upper_bound(body)
            passed = asyncio.get_running_loop().create_future()
            self._wanted.append((bound, passed))
            self._ask_soon()
            await passed
        self._fence.check()
        return bound

    def settle(self, ticket: object, reply: Reply | None, maybe_billed: bool) -> None:
        if isinstance(ticket, Tokens):
            self._outcomes.append(Outcome(ticket, used_tokens(ticket, reply, maybe_billed)))
            self._ask_soon()

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
            grant: Grant = await self._ledger.exchange.remote(outcomes, [bound for bound, _ in self._wanted], pause)
            for _ in range(grant.granted):
                self._resolve(None)
            if grant.exhausted:
                error = BudgetError(self._sentence())
                while self._wanted:
                    self._resolve(error)
            if self._wanted:
                await asyncio.sleep(grant.wait_seconds)

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
