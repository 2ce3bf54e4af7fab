"""What stands before each request of a client: it may wait, be refused, and is told through which endpoint to go.

A run's limiter, with its rates, its budget and its epoch, is in ``shared_limiter.py``; here is one for a client on its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from evolcoder.endpoint.limits.ledger import Tokens
from evolcoder.endpoint.requests import TeacherReply
from evolcoder.errors import EvolcoderError


@dataclass(frozen=True, slots=True)
class Permit:
    """A request's right to be sent, and the number of the endpoint that it goes through.

    ``bound`` is what a ledger counts it as until its outcome is known, and ``reservation`` the id of that in the journal.
    """

    endpoint: int
    bound: Tokens | None = None
    reservation: str = ""


class Limiter:
    """Lets everything pass but what is paused: for a client that shares its endpoints with nobody."""

    def __init__(self, endpoints: int) -> None:
        self._paused_until = [0.0] * endpoints
        self._in_flight = [0] * endpoints
        self._open = set(range(endpoints))
        self._error: EvolcoderError | None = None
        self._stopped = asyncio.Event()

    async def acquire(self, body: Mapping[str, Any]) -> Permit:
        """Wait until the request may go; the permit is handed back when its outcome is known.

        Raises:
            EvolcoderError: no more requests may be sent at all.
        """
        while self._error is None:
            now = time.monotonic()
            usable = [endpoint for endpoint in self._open if self._paused_until[endpoint] <= now]
            if usable:
                endpoint = min(usable, key=self._in_flight.__getitem__)
                self._in_flight[endpoint] += 1
                return Permit(endpoint)
            # The jitter spreads what waited for the same pause.
            wait = min(self._paused_until[endpoint] for endpoint in self._open) - now + random.uniform(0, 0.1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopped.wait()
        raise type(self._error)(*self._error.args)

    def release(self, permit: Permit, reply: TeacherReply | None, maybe_billed: bool) -> None:
        """Say how the request ended. ``maybe_billed``: no reply came, but the server may have made one."""
        self._in_flight[permit.endpoint] -= 1

    def pause(self, endpoint: int, seconds: float, rate_limited: bool) -> None:
        """Send nothing through this endpoint for so long. ``rate_limited``: the endpoint asked for it."""
        self._paused_until[endpoint] = max(self._paused_until[endpoint], time.monotonic() + seconds)

    def close(self, endpoint: int, reason: EvolcoderError) -> None:
        """Never use this endpoint again."""
        self._open.discard(endpoint)

    def stop(self, error: EvolcoderError) -> None:
        """Let nothing pass any more: what waits, and what comes, is refused with this error."""
        self._error = error
        self._stopped.set()
