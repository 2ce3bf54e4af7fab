"""What stands before each request of a client: it may wait, be refused, and be told through which door to go.

The gate of a run, with its limits and its budget, is in ``limits_actor.py``; here is one for a client on its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from evolcoder.endpoint.requests import Reply
from evolcoder.errors import EvolcoderError


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request's right to be sent, and the number of the door that it goes through."""

    door: int


class Gate(Protocol):
    """What must let each request pass before it is sent: rates, a budget, an epoch. It also chooses the door."""

    async def admit(self, body: Mapping[str, Any]) -> Ticket:
        """Wait until the request may go; the ticket is handed back when its outcome is known.

        Raises:
            EvolcoderError: no more requests may be sent at all.
        """

    def settle(self, ticket: Ticket, reply: Reply | None, maybe_billed: bool) -> None:
        """Say how the request ended. ``maybe_billed``: no reply came, but the server may have made one."""

    def pause(self, door: int, seconds: float, rate_limited: bool) -> None:
        """Send nothing through this door for so long. ``rate_limited``: the endpoint asked for it."""

    def close(self, door: int) -> None:
        """Never use this door again."""

    def stop(self, error: EvolcoderError) -> None:
        """Let nothing pass any more: what waits, and what comes, is refused with this error."""


class OpenGate:
    """Lets everything pass but what is paused: for a client that shares its endpoint with nobody."""

    def __init__(self, doors: int) -> None:
        self._paused_until = [0.0] * doors
        self._in_flight = [0] * doors
        self._open = set(range(doors))
        self._error: EvolcoderError | None = None
        self._stopped = asyncio.Event()

    async def admit(self, body: Mapping[str, Any]) -> Ticket:
        while self._error is None:
            now = time.monotonic()
            usable = [door for door in self._open if self._paused_until[door] <= now]
            if usable:
                door = min(usable, key=self._in_flight.__getitem__)
                self._in_flight[door] += 1
                return Ticket(door)
            wait = min(self._paused_until[door] for door in self._open) - now + random.uniform(0, 0.1)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):
                    await self._stopped.wait()
        raise type(self._error)(*self._error.args)

    def settle(self, ticket: Ticket, reply: Reply | None, maybe_billed: bool) -> None:
        self._in_flight[ticket.door] -= 1

    def pause(self, door: int, seconds: float, rate_limited: bool) -> None:
        self._paused_until[door] = max(self._paused_until[door], time.monotonic() + seconds)

    def close(self, door: int) -> None:
        self._open.discard(door)

    def stop(self, error: EvolcoderError) -> None:
        self._error = error
        self._stopped.set()
