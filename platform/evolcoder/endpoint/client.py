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
import contextlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from evolcoder.endpoint.faults import Fault, fault_of, run_wide_error
from evolcoder.endpoint.transport import StatusError, TransportName, transport_named
from evolcoder.errors import EndpointError, EvolcoderError

CHECK_TIMEOUT_SECONDS = 15.0
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
_RATE_LIMIT_PATIENCE = 10
"""Rate limits are no fault of the request: it is tried this many times as often as for other faults."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who answers. Picklable; the key is in no repr. ``base_url`` ends in ``/v1`` for most servers."""

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 600.0
    max_attempts: int = 6
    transport: TransportName = "openai"


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the endpoint is to draw its answer. ``stop`` and ``seed`` are sent only when set."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer. Token counts are the server's; both are 0 when it reports no usage. ``text`` may be empty."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


class RequestFailed(Exception):  # noqa: N818 - not an error of the run: one row ends with this as its reason
    """One request got no reply: all attempts are used up, or the endpoint refuses this very request."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


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


def request_body(model: str, content: Mapping[str, Any], sampling: Sampling) -> dict[str, Any]:
    """The JSON body of a request: it decides the reply, so that its hash can stand for it."""
    body: dict[str, Any] = {
        "model": model,
        **content,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    return body


def parse_reply(text: str) -> Reply:
    """The reply in a chat completion's or a completion's JSON.

    Raises:
        Fault: ``garbage``, for whatever is no such JSON.
    """
    try:
        return reply_of(json.loads(text))
    except (ValueError, RecursionError):
        raise _garbage(text) from None


def reply_of(data: Any) -> Reply:
    """The reply in a decoded completion. Raises as ``parse_reply`` does."""
    try:
        choice = data["choices"][0]
        content = choice["message"]["content"] if "message" in choice else choice["text"]
        usage = data.get("usage") or {}
        prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        reason = str(choice.get("finish_reason") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _garbage(str(data)) from None
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise Fault("garbage", "the reply's content is no text", maybe_billed=True)
    return Reply(content or "", reason, max(prompt, 0), max(completion, 0))


def _garbage(text: str) -> Fault:
    return Fault("garbage", f"the reply is no completion: {' '.join(text.split())[:80]!r}", maybe_billed=True)


def api_key_from_environment(variable: str) -> str | None:
    """The key that the variable holds; None when it is unset or empty."""
    return os.environ.get(variable, "").strip() or None


def check_endpoint(endpoint: Endpoint) -> None:
    """Ask once whether the endpoint is there, takes the key and serves the model; in seconds, without trying again.

    A server that lists no models, or fails to, is taken at its word: the first request will tell.

    Raises:
        EndpointError: it is unreachable, refuses the key, or serves other models.
    """
    import openai

    client = openai.OpenAI(
        base_url=endpoint.base_url, api_key=endpoint.api_key or "none", max_retries=0, timeout=CHECK_TIMEOUT_SECONDS
    )
    try:
        with client:
            text = client.get("/models", cast_to=str)
    except openai.APIStatusError as error:
        if error.status_code in (401, 402, 403):
            raise run_wide_error(error, endpoint.base_url, endpoint.model) or error from None
        return
    except (openai.APIError, OSError, ValueError) as error:
        raise EndpointError(
            f"The endpoint {endpoint.base_url} does not answer ({_innermost(error)}); start it, or correct the base URL."
        ) from None
    served = _model_names(text, endpoint.base_url)
    if served and not any(name == endpoint.model or name.endswith("/" + endpoint.model) for name in served):
        known = ", ".join(served[:8]) + (", ..." if len(served) > 8 else "")
        raise EndpointError(
            f"The endpoint {endpoint.base_url} does not serve a model {endpoint.model!r}; name one that it serves: {known}."
        )


def _model_names(text: str, base_url: str) -> list[str]:
    try:
        data = json.loads(text)
    except ValueError:
        raise EndpointError(
            f"{base_url} answers, but not as an OpenAI-compatible API does; correct the base URL (most end in /v1)."
        ) from None
    entries = data.get("data") if isinstance(data, dict) else None
    return [str(entry["id"]) for entry in entries or [] if isinstance(entry, dict) and "id" in entry]


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split())[:160] or type(error).__name__
