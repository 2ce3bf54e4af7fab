"""An asynchronous client of one model behind OpenAI-compatible endpoints, which retries where a retry makes sense.

The model may be served at several endpoints: several addresses, or several keys for one address. Every fault has a name,
and the table says what follows from it: retry through whichever endpoint is best by then, give up this one request, or
close the endpoint. When no endpoint is left, the run stops. The client knows nothing of rows, journals or budgets; a
``Limiter`` may stand before each request for those.

| fault           | what is done                                                                              |
|-----------------|-------------------------------------------------------------------------------------------|
| rate_limited    | 429: every request to this endpoint pauses for Retry-After, then this one is retried      |
| server_error    | 408, 409, 425, 5xx: retried after a growing, jittered pause                               |
| dropped         | the connection broke before the whole reply had arrived: retried                          |
| timeout         | no whole reply within ``timeout_seconds``: retried                                        |
| garbage         | a reply that is no completion (truncated JSON, HTML): retried                             |
| unreachable     | no connection: retried; after ``max_attempts`` in a row, the endpoint is closed           |
| closed          | 401, 402, 403, 404, an exhausted quota, a field that it does not take: closed at once      |
| refused         | a filter or a policy: RequestFailed for this request, at once and for ever                |
| too_long        | the request does not fit the model: the same                                              |
| rejected        | any other 4xx: refused, where the endpoint answers other requests; else it may be at fault |

What is refused while the endpoint has answered nothing yet may be its fault: after some such refusals it is closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evolcoder.endpoint.limits.limiter import Limiter
from evolcoder.endpoint.replies import parse_reply
from evolcoder.endpoint.requests import (
    Endpoint,
    RequestFailed,
    SamplingSettings,
    TeacherReply,
    request_body,
    sent_body,
)
from evolcoder.endpoint.transport import AioHttpTransport, OpenAITransport, failures_named
from evolcoder.errors import EndpointError, EvolcoderError

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_RATE_LIMIT_PATIENCE = 10
"""How many times as often a request is tried when it meets a rate limit rather than a fault of its own."""
_LOOK_SECONDS = 0.05
_REFUSALS_OF_ALL = 16
"""So many refusals and no reply at all: it is the endpoint, or how it is asked."""


@dataclass
class _Connection:
    """An endpoint with a key, and what became of it."""

    endpoint: Endpoint
    transport: AioHttpTransport | OpenAITransport
    closed: bool = False
    unreachable: int = 0
    quiet_until: float = 0.0


class EndpointClient:
    """Sends requests to one model, at most ``max_concurrency`` at a time. Use it from one event loop.

    Args:
        endpoints: all serve one model; ``model`` and ``max_attempts`` are those of the first.
        on_closed: is called with the reason for which an endpoint was closed.
        answered_before: whether the model is known to answer such requests, from an earlier run.
    """

    def __init__(
        self,
        endpoints: Endpoint | Sequence[Endpoint],
        max_concurrency: int,
        limiter: Limiter | None = None,
        on_closed: Callable[[EndpointError], None] | None = None,
        answered_before: bool = False,
    ) -> None:
        given = [endpoints] if isinstance(endpoints, Endpoint) else list(endpoints)
        self.faults: Counter[str] = Counter()
        self.sent = 0
        self._on_closed = on_closed
        self._model, self._attempts = given[0].model, given[0].max_attempts
        self._connections = [
            _Connection(one, AioHttpTransport(one) if one.transport == "aiohttp" else OpenAITransport(one)) for one in given
        ]
        self._limiter = Limiter(len(given)) if limiter is None else limiter
        self._slots = asyncio.Semaphore(max_concurrency)
        self._jitter = random.Random()
        self._answers = answered_before
        self._refusals = 0
        self._undecided = self._on_their_way = 0
        self._stopped: EvolcoderError | None = None
        self._stop = asyncio.Event()

    async def chat(self, messages: list[dict[str, str]], sampling: SamplingSettings) -> TeacherReply:
        """One chat completion.

        Raises:
            RequestFailed: this request got no reply.
            EndpointError: the model cannot be reached at all; all requests in progress end with it too.
            EvolcoderError: the limiter lets no more requests pass.
        """
        return await self._request("/chat/completions", {"messages": messages}, sampling)

    async def complete(self, prompt: str, sampling: SamplingSettings) -> TeacherReply:
        """One completion of raw text (``/v1/completions``). Raises as ``chat`` does."""
        return await self._request("/completions", {"prompt": prompt}, sampling)

    async def close(self) -> None:
        for connection in self._connections:
            await connection.transport.close()

    async def _request(self, path: str, content: dict[str, Any], sampling: SamplingSettings) -> TeacherReply:
        body = request_body(self._model, content, sampling)
        kinds: list[str] = []
        while True:
            try:
                self._on_their_way += 1
                reply = await self._attempt(path, body)
                self._answers = True
                return reply
            except RequestFailed as failure:
                self.faults[failure.kind] += 1
                kinds.append(failure.kind)
                if failure.kind == "rejected":
                    # It is refused for ever if the endpoint answers others, which may not be known yet.
                    self._undecided += 1
                    while not self._answers and self._undecided < self._on_their_way and not self._stopped:
                        await asyncio.sleep(_LOOK_SECONDS)
                    self._undecided -= 1
                    raise (replace(failure, kind="refused") if self._answers else failure) from None
                limited = kinds.count("rate_limited")
                of_endpoint = kinds.count("closed") + kinds.count("unreachable")
                of_request = len(kinds) - limited - of_endpoint
                # A full endpoint or one that is gone says nothing about this request: those faults have more patience.
                patience = self._attempts * _RATE_LIMIT_PATIENCE
                if not failure.retryable or of_request >= self._attempts or max(limited, of_endpoint) >= patience:
                    raise
                if failure.kind in ("server_error", "dropped", "timeout", "garbage"):
                    with contextlib.suppress(TimeoutError):  # or wake when the client stops
                        async with asyncio.timeout(self._pause_seconds(len(kinds))):
                            await self._stop.wait()
            finally:
                self._on_their_way -= 1

    async def _attempt(self, path: str, body: dict[str, Any]) -> TeacherReply:
        """Send once. Raises RequestFailed, or EvolcoderError when the run must stop."""
        async with self._slots:
            # Requests that waited for a slot while another one found that the run must stop end here, unsent.
            if self._stopped:
                raise type(self._stopped)(*self._stopped.args) from self._stopped
            try:
                permit = await self._limiter.acquire(body)
            except EvolcoderError as error:
                raise self._stop_all(error) from error
            connection = self._connections[permit.endpoint]
            self.sent += 1
            reply = None
            maybe_billed = True  # holds for a cancellation too: the request may have reached the server
            try:
                with failures_named(connection.endpoint):
                    async with asyncio.timeout(connection.endpoint.timeout_seconds):
                        text = await connection.transport.post(path, sent_body(body, connection.endpoint))
                reply = parse_reply(text, connection.endpoint)
                connection.unreachable = 0
            except RequestFailed as failure:
                maybe_billed = failure.maybe_billed
                self._judge_endpoint(permit.endpoint, failure)
                raise
            finally:
                self._limiter.release(permit, reply, maybe_billed)
            return reply

    def _judge_endpoint(self, number: int, failure: RequestFailed) -> None:
        """Pause or close the endpoint, where the failure says something about it. Raises EndpointError for the last one."""
        connection = self._connections[number]
        reason = failure.endpoint_error
        if failure.kind in ("rejected", "refused", "too_long") and not self._answers:
            self._refusals += 1
            if self._refusals >= _REFUSALS_OF_ALL:
                reason = EndpointError(
                    f"The endpoint {connection.endpoint.base_url} has refused {self._refusals} requests and answered none "
                    f"({failure.message}); change what it is asked for, or take another endpoint."
                )
        elif failure.kind == "rate_limited":
            asked = failure.retry_after_seconds
            self._limiter.pause(number, self._pause_seconds(1) if asked is None else asked, True)
        elif failure.kind == "unreachable" and time.monotonic() >= connection.quiet_until:
            # All requests in flight fail at once when a server goes away: only the first one counts until the pause is over.
            connection.unreachable += 1
            pause = self._pause_seconds(connection.unreachable)
            connection.quiet_until = time.monotonic() + pause
            self._limiter.pause(number, pause, False)
            if connection.unreachable >= self._attempts:
                reason = EndpointError(
                    f"The endpoint {connection.endpoint.base_url} does not answer any more ({failure.message}); "
                    "bring it back, then run the same command again."
                )
        if reason is None:
            return
        if not connection.closed:
            connection.closed = True
            self._limiter.close(number, reason)
            if self._on_closed is not None:
                self._on_closed(reason)
        if all(one.closed for one in self._connections):
            raise self._stop_all(reason)

    def _pause_seconds(self, tries: int) -> float:
        """Exponential backoff; the jitter keeps requests that failed together from coming back together."""
        ceiling: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(tries - 1, 10))
        return self._jitter.uniform(0.5, 1.0) * ceiling

    def _stop_all(self, error: EvolcoderError) -> EvolcoderError:
        if self._stopped is None:
            self._stopped = error
            self._stop.set()
            self._limiter.stop(error)
        return error
