"""An asynchronous client of a model behind OpenAI-compatible endpoints, that tries again where that makes sense.

A model may have several *doors*: endpoints, or keys of one endpoint. Every fault has a name, and a table says what follows
from it: wait and try again, through whichever door is best by then; give up this one request; or close the door. When no
door is left, the run stops. The client knows nothing of rows, journals or budgets; a ``Gate`` may be put before each
request for those.

| fault          | what is done                                                                                |
|----------------|---------------------------------------------------------------------------------------------|
| rate_limited   | 429: every request through this door pauses for Retry-After, then it is tried again         |
| server_error   | 408, 409, 425, 5xx: tried again after a growing, jittered pause                             |
| dropped        | the connection broke before the whole reply was there: tried again                          |
| timeout        | no whole reply within ``timeout_seconds``: tried again                                      |
| garbage        | a reply that is no completion (truncated JSON, HTML): tried again                           |
| unreachable    | no connection: tried again; after ``max_attempts`` with nothing between, the door is closed |
| rejected       | any other 4xx: RequestFailed for this request, at once                                      |
| (door-wide)    | 401, 402, 403, 404, an exhausted quota: the door is closed at once                          |
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from evolcoder.endpoint.faults import Fault, fault_of, run_wide_error
from evolcoder.endpoint.limits.gate import Gate, OpenGate, Ticket
from evolcoder.endpoint.requests import Endpoint, Reply, RequestFailed, Sampling, parse_reply, request_body
from evolcoder.endpoint.transport import StatusError, transport_named
from evolcoder.errors import EndpointError, EvolcoderError

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_RATE_LIMIT_PATIENCE = 10
"""Rate limits are no fault of the request: it is tried this many times as often as for other faults."""


class _Door:
    """An endpoint with a key, and what became of it."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.error: EndpointError | None = None
        self.unreachable = 0
        self.quiet_until = 0.0
        self.http = transport_named(endpoint.transport, endpoint.base_url, endpoint.api_key, endpoint.timeout_seconds)


class EndpointClient:
    """Sends requests to one model, at most ``max_concurrency`` at a time. Use it from one event loop.

    Args:
        endpoints: the doors of one model; ``model`` and ``max_attempts`` are those of the first.
        on_closed: is called with the reason for which a door was closed.
    """

    def __init__(
        self,
        endpoints: Endpoint | Sequence[Endpoint],
        max_concurrency: int,
        gate: Gate | None = None,
        on_closed: Callable[[EndpointError], None] | None = None,
    ) -> None:
        given = [endpoints] if isinstance(endpoints, Endpoint) else list(endpoints)
        self.faults: Counter[str] = Counter()
        self.sent = 0
        self._on_closed = on_closed
        self._model, self._attempts = given[0].model, given[0].max_attempts
        self._doors = [_Door(endpoint) for endpoint in given]
        self._gate: Gate = OpenGate(len(given)) if gate is None else gate
        self._slots = asyncio.Semaphore(max_concurrency)
        self._jitter = random.Random()
        self._stopped: EvolcoderError | None = None
        self._stop = asyncio.Event()

    async def chat(self, messages: list[dict[str, str]], sampling: Sampling) -> Reply:
        """One chat completion.

        Raises:
            RequestFailed: this request got no reply.
            EndpointError: the model cannot be reached at all; all requests in progress end with it too.
            EvolcoderError: the gate lets no more requests pass.
        """
        return await self._request("/chat/completions", {"messages": messages}, sampling)

    async def complete(self, prompt: str, sampling: Sampling) -> Reply:
        """One completion of raw text (``/v1/completions``). Raises as ``chat`` does."""
        return await self._request("/completions", {"prompt": prompt}, sampling)

    async def close(self) -> None:
        for door in self._doors:
            await door.http.close()

    async def _request(self, path: str, content: dict[str, Any], sampling: Sampling) -> Reply:
        body = request_body(self._model, content, sampling)
        kinds: list[str] = []
        while True:
            try:
                return await self._attempt(path, body)
            except Fault as fault:
                self.faults[fault.kind] += 1
                kinds.append(fault.kind)
                if self._hopeless(fault, kinds):
                    raise RequestFailed(fault.kind, fault.message) from None
                if fault.kind in ("server_error", "dropped", "timeout", "garbage"):
                    await self._sleep(self._pause_seconds(len(kinds)))

    async def _attempt(self, path: str, body: dict[str, Any]) -> Reply:
        """Send once. Raises Fault, or EvolcoderError when the run must stop."""
        async with self._slots:
            if self._stopped:
                raise type(self._stopped)(*self._stopped.args) from self._stopped
            ticket = await self._admitted(body)
            door = self._doors[ticket.door]
            self.sent += 1
            reply = None
            maybe_billed = True
            try:
                reply = await self._send(door, path, body)
                door.unreachable = 0
            except Fault as fault:
                maybe_billed = fault.maybe_billed
                self._judge_door(ticket.door, fault)
                raise
            finally:
                self._gate.settle(ticket, reply, maybe_billed)
            return reply

    async def _admitted(self, body: dict[str, Any]) -> Ticket:
        try:
            return await self._gate.admit(body)
        except EvolcoderError as error:
            raise self._stop_all(error) from error

    async def _send(self, door: _Door, path: str, body: dict[str, Any]) -> Reply:
        import aiohttp
        import openai

        try:
            async with asyncio.timeout(door.endpoint.timeout_seconds):
                text = await door.http.post(path, body)
        except (openai.APIError, aiohttp.ClientError, StatusError, OSError) as error:  # TimeoutError is an OSError
            refusal = run_wide_error(error, door.endpoint.base_url, door.endpoint.model)
            if refusal is not None:
                raise Fault("closed", refusal.message) from refusal
            raise fault_of(error) from error
        return parse_reply(text)

    def _judge_door(self, number: int, fault: Fault) -> None:
        """What a fault means for the door: a pause, or the end.

        Raises:
            EndpointError: it was the last one.
        """
        door = self._doors[number]
        if fault.kind == "rate_limited":
            pause = self._pause_seconds(1) if fault.retry_after_seconds is None else fault.retry_after_seconds
            self._gate.pause(number, pause, True)
        elif fault.kind == "closed":
            assert isinstance(fault.__cause__, EndpointError)
            self._close(number, fault.__cause__)
        elif fault.kind == "unreachable" and time.monotonic() >= door.quiet_until:  # one count for all that came at once
            door.unreachable += 1
            if door.unreachable >= self._attempts:
                sentence = f"The endpoint {door.endpoint.base_url} does not answer any more ({fault.message}); "
                self._close(number, EndpointError(f"{sentence}bring it back, then run the same command again."))
            else:
                pause = self._pause_seconds(door.unreachable)
                door.quiet_until = time.monotonic() + pause
                self._gate.pause(number, pause, False)

    def _close(self, number: int, error: EndpointError) -> None:
        door = self._doors[number]
        if door.error is None:
            door.error = error
            self._gate.close(number)
            if self._on_closed is not None:
                self._on_closed(error)
        if all(door.error is not None for door in self._doors):
            raise self._stop_all(error)

    def _hopeless(self, fault: Fault, kinds: list[str]) -> bool:
        """Whether this request has been tried enough. Closed and unreachable doors are no fault of the request."""
        limited = kinds.count("rate_limited")
        doors = kinds.count("closed") + kinds.count("unreachable")
        others = len(kinds) - limited - doors
        patience = self._attempts * _RATE_LIMIT_PATIENCE
        return not fault.retryable or others >= self._attempts or limited >= patience or doors >= patience

    def _pause_seconds(self, tries: int) -> float:
        ceiling: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(tries - 1, 10))
        return self._jitter.uniform(0.5, 1.0) * ceiling

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not longer than the client goes on."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _stop_all(self, error: EvolcoderError) -> EvolcoderError:
        if self._stopped is None:
            self._stopped = error
            self._stop.set()
            self._gate.stop(error)
        return error
