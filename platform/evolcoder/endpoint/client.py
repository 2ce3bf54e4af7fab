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
| closed          | 401, 402, 403, 404, an exhausted quota: the endpoint is closed at once                    |
| rejected        | any other 4xx: RequestFailed for this request, at once                                    |
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from evolcoder.endpoint.faults import Fault, fault_of, run_wide_error
from evolcoder.endpoint.limits.limiter import Limiter, LocalLimiter
from evolcoder.endpoint.requests import Endpoint, RequestFailed, SamplingSettings, TeacherReply, parse_reply, request_body
from evolcoder.endpoint.transport import StatusError, transport_named
from evolcoder.errors import EndpointError, EvolcoderError

_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_RATE_LIMIT_PATIENCE = 10
"""How many times as often a request is tried when it meets a rate limit rather than a fault of its own."""


class _Connection:
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
        endpoints: all serve one model; ``model`` and ``max_attempts`` are those of the first.
        on_closed: is called with the reason for which an endpoint was closed.
    """

    def __init__(
        self,
        endpoints: Endpoint | Sequence[Endpoint],
        max_concurrency: int,
        limiter: Limiter | None = None,
        on_closed: Callable[[EndpointError], None] | None = None,
    ) -> None:
        given = [endpoints] if isinstance(endpoints, Endpoint) else list(endpoints)
        self.faults: Counter[str] = Counter()
        self.sent = 0
        self._on_closed = on_closed
        self._model, self._attempts = given[0].model, given[0].max_attempts
        self._connections = [_Connection(endpoint) for endpoint in given]
        self._limiter: Limiter = LocalLimiter(len(given)) if limiter is None else limiter
        self._slots = asyncio.Semaphore(max_concurrency)
        self._jitter = random.Random()
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
            await connection.http.close()

    async def _request(self, path: str, content: dict[str, Any], sampling: SamplingSettings) -> TeacherReply:
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

    async def _attempt(self, path: str, body: dict[str, Any]) -> TeacherReply:
        """Send once. Raises Fault, or EvolcoderError when the run must stop."""
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
                reply = await self._send(connection, path, body)
                connection.unreachable = 0
            except Fault as fault:
                maybe_billed = fault.maybe_billed
                self._judge_endpoint(permit.endpoint, fault)
                raise
            finally:
                self._limiter.release(permit, reply, maybe_billed)
            return reply

    async def _send(self, connection: _Connection, path: str, body: dict[str, Any]) -> TeacherReply:
        import aiohttp
        import openai

        try:
            async with asyncio.timeout(connection.endpoint.timeout_seconds):
                text = await connection.http.post(path, body)
        except (openai.APIError, aiohttp.ClientError, StatusError, OSError) as error:  # TimeoutError is an OSError
            refusal = run_wide_error(error, connection.endpoint.base_url, connection.endpoint.model)
            if refusal is not None:
                raise Fault("closed", refusal.message) from refusal
            raise fault_of(error) from error
        return parse_reply(text)

    def _judge_endpoint(self, number: int, fault: Fault) -> None:
        """Pause or close the endpoint, where the fault says something about it.

        Raises:
            EndpointError: it was the last one.
        """
        connection = self._connections[number]
        if fault.kind == "rate_limited":
            pause = self._pause_seconds(1) if fault.retry_after_seconds is None else fault.retry_after_seconds
            self._limiter.pause(number, pause, True)
        elif fault.kind == "closed":
            assert isinstance(fault.__cause__, EndpointError)
            self._close(number, fault.__cause__)
        elif fault.kind == "unreachable" and time.monotonic() >= connection.quiet_until:
            # All requests in flight fail at once when a server goes away: only the first one counts until the pause is over.
            connection.unreachable += 1
            if connection.unreachable >= self._attempts:
                sentence = f"The endpoint {connection.endpoint.base_url} does not answer any more ({fault.message}); "
                self._close(number, EndpointError(f"{sentence}bring it back, then run the same command again."))
            else:
                pause = self._pause_seconds(connection.unreachable)
                connection.quiet_until = time.monotonic() + pause
                self._limiter.pause(number, pause, False)

    def _close(self, number: int, error: EndpointError) -> None:
        connection = self._connections[number]
        if connection.error is None:
            connection.error = error
            self._limiter.close(number)
            if self._on_closed is not None:
                self._on_closed(error)
        if all(one.error is not None for one in self._connections):
            raise self._stop_all(error)

    def _hopeless(self, fault: Fault, kinds: list[str]) -> bool:
        """Whether this request has been tried enough, given the kinds of all its faults so far."""
        limited = kinds.count("rate_limited")
        of_endpoint = kinds.count("closed") + kinds.count("unreachable")
        of_request = len(kinds) - limited - of_endpoint
        # A full endpoint or one that is gone says nothing about this request, so those faults have more patience.
        patience = self._attempts * _RATE_LIMIT_PATIENCE
        return not fault.retryable or of_request >= self._attempts or limited >= patience or of_endpoint >= patience

    def _pause_seconds(self, tries: int) -> float:
        """Exponential backoff; the jitter keeps requests that failed together from coming back together."""
        ceiling: float = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(tries - 1, 10))
        return self._jitter.uniform(0.5, 1.0) * ceiling

    async def _sleep(self, seconds: float) -> None:
        """Sleep, or wake when the client stops."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _stop_all(self, error: EvolcoderError) -> EvolcoderError:
        if self._stopped is None:
            self._stopped = error
            self._stop.set()
            self._limiter.stop(error)
        return error
