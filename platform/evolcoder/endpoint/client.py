"""An asynchronous client of one OpenAI-compatible endpoint that tries again where that makes sense.

Every fault has a name, and a table says what follows from it: wait and try again, give up this one request, or stop the
run. The client knows nothing of rows, journals or budgets; a ``Gate`` may be put before each request for those.

| fault          | what is done                                                                              |
|----------------|-------------------------------------------------------------------------------------------|
| rate_limited   | 429: every request of this client pauses for Retry-After, then it is tried again          |
| server_error   | 408, 409, 425, 5xx: tried again after a growing, jittered pause                           |
| dropped        | the connection broke before the whole reply was there: tried again                        |
| timeout        | no whole reply within ``timeout_seconds``: tried again                                    |
| garbage        | a reply that is no completion (truncated JSON, HTML): tried again                         |
| unreachable    | no connection: tried again; when nothing else got through meanwhile, EndpointError        |
| rejected       | any other 4xx: RequestFailed for this request, at once                                    |
| (run-wide)     | 401, 402, 403, 404, an exhausted quota: EndpointError at once, for all requests           |
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from evolcoder.endpoint.faults import Fault, fault_of, run_wide_error
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


class Gate(Protocol):
    """What must let each request pass before it is sent: rates, a budget, an epoch."""

    async def admit(self, body: Mapping[str, Any]) -> object:
        """Wait until the request may go; the ticket is handed back when its outcome is known.

        Raises:
            EvolcoderError: no more requests may be sent at all.
        """

    def settle(self, ticket: object, reply: Reply | None, maybe_billed: bool) -> None:
        """Say how the request ended. ``maybe_billed``: no reply came, but the server may have made one."""

    def rate_limited(self, pause_seconds: float) -> None:
        """The endpoint asked to send nothing for this long."""


class EndpointClient:
    """Sends requests to one endpoint, at most ``max_concurrency`` at a time. Use it from one event loop."""

    def __init__(self, endpoint: Endpoint, max_concurrency: int, gate: Gate | None = None) -> None:
        from openai import AsyncOpenAI, DefaultAioHttpClient

        self.endpoint = endpoint
        self.faults: Counter[str] = Counter()
        self.sent = 0
        self._gate = gate
        self._slots = asyncio.Semaphore(max_concurrency)
        self._jitter = random.Random()
        self._paused_until = 0.0
        self._last_reply_at = 0.0
        self._stopped: EvolcoderError | None = None
        self._stop = asyncio.Event()
        self._openai = AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=endpoint.api_key or "none",
            max_retries=0,
            timeout=endpoint.timeout_seconds,
            http_client=DefaultAioHttpClient(),
        )

    async def chat(self, messages: list[dict[str, str]], sampling: Sampling) -> Reply:
        """One chat completion.

        Raises:
            RequestFailed: this request got no reply.
            EndpointError: the endpoint cannot be used at all; all requests in progress end with it too.
            EvolcoderError: the gate lets no more requests pass.
        """
        return await self._request("/chat/completions", {"messages": messages}, sampling)

    async def complete(self, prompt: str, sampling: Sampling) -> Reply:
        """One completion of raw text (``/v1/completions``). Raises as ``chat`` does."""
        return await self._request("/completions", {"prompt": prompt}, sampling)

    async def close(self) -> None:
        await self._openai.close()

    async def _request(self, path: str, content: dict[str, Any], sampling: Sampling) -> Reply:
        body = request_body(self.endpoint.model, content, sampling)
        began = time.monotonic()
        kinds: list[str] = []
        while True:
            try:
                return await self._attempt(path, body)
            except Fault as fault:
                self.faults[fault.kind] += 1
                kinds.append(fault.kind)
                self._give_up_if_hopeless(fault, kinds, began)
                await self._back_off(fault, len(kinds))

    async def _attempt(self, path: str, body: dict[str, Any]) -> Reply:
        """Send once. Raises Fault, or EvolcoderError when the run must stop."""
        async with self._slots:
            while (left := self._paused_until - time.monotonic()) > 0 and not self._stopped:
                await self._sleep(left + self._jitter.uniform(0, 0.1))
            if self._stopped:
                raise type(self._stopped)(*self._stopped.args) from self._stopped
            ticket = await self._admitted(body)
            self.sent += 1
            reply = None
            maybe_billed = True
            try:
                reply = await self._send(path, body)
            except Fault as fault:
                maybe_billed = fault.maybe_billed
                raise
            finally:
                if self._gate is not None:
                    self._gate.settle(ticket, reply, maybe_billed)
            return reply

    async def _admitted(self, body: dict[str, Any]) -> object:
        if self._gate is None:
            return None
        try:
            return await self._gate.admit(body)
        except EvolcoderError as error:
            raise self._stop_all(error) from error

    async def _send(self, path: str, body: dict[str, Any]) -> Reply:
        import aiohttp
        import openai

        try:
            async with asyncio.timeout(self.endpoint.timeout_seconds):
                text = await self._openai.post(path, cast_to=str, body=body)
        except (openai.APIError, aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            stop = run_wide_error(error, self.endpoint.base_url, self.endpoint.model)
            if stop is not None:
                raise self._stop_all(stop) from error
            raise fault_of(error) from error
        reply = parse_reply(text)
        self._last_reply_at = time.monotonic()
        return reply

    def _give_up_if_hopeless(self, fault: Fault, kinds: list[str], began: float) -> None:
        limited = kinds.count("rate_limited")
        others = len(kinds) - limited
        attempts = self.endpoint.max_attempts
        if fault.retryable and others < attempts and limited < attempts * _RATE_LIMIT_PATIENCE:
            return
        if set(kinds) == {"unreachable"} and self._last_reply_at < began:
            raise self._stop_all(
                EndpointError(
                    f"The endpoint {self.endpoint.base_url} does not answer any more ({fault.message}); "
                    "bring it back, then run the same command again."
                )
            )
        raise RequestFailed(fault.kind, fault.message)

    async def _back_off(self, fault: Fault, tries: int) -> None:
        ceiling = min(_LONGEST_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** min(tries - 1, 10))
        pause = self._jitter.uniform(0.5, 1.0) * ceiling
        if fault.kind != "rate_limited":
            await self._sleep(pause)
            return
        if fault.retry_after_seconds is not None:
            pause = fault.retry_after_seconds
        self._paused_until = max(self._paused_until, time.monotonic() + pause)
        if self._gate is not None:
            self._gate.rate_limited(pause)

    async def _sleep(self, seconds: float) -> None:
        """Sleep, but not longer than the client goes on."""
        try:
            async with asyncio.timeout(seconds):
                await self._stop.wait()
        except TimeoutError:
            return

    def _stop_all(self, error: EvolcoderError) -> EvolcoderError:
        self._stopped = self._stopped or error
        self._stop.set()
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
        data = json.loads(text)
        choice = data["choices"][0]
        content = choice["message"]["content"] if "message" in choice else choice["text"]
        usage = data.get("usage") or {}
        prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        reason = str(choice.get("finish_reason") or "")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Fault("garbage", f"the reply is no completion: {' '.join(text.split())[:80]!r}", maybe_billed=True) from None
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise Fault("garbage", "the reply's content is no text", maybe_billed=True)
    return Reply(content or "", reason, max(prompt, 0), max(completion, 0))


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
