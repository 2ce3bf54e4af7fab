"""A teacher that answers from a script: an OpenAI-compatible server for tests, rehearsals and measurements.

Replies depend on the request alone, so a run against it can be repeated to the byte. Faults on the way are drawn from the
seed, the request and how often that request came before: asking again draws again. It counts what it was asked, and says so
(``GET /counts``). It understands nothing: the text is made of a hash.

    python -m evolcoder.endpoint.scripted --port 8100 --latency-seconds 0.2 --fault retry_after=0.1 --fault error_500=0.05
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from evolcoder.endpoint.scripted.batches import BatchEndpoints
from evolcoder.storage.hashes import stable_hash

TRANSPORT_FAULTS = (
    "retry_after",  # 429 with Retry-After: the same request is refused until then, and the next time not for this reason
    "rate_limited",  # 429 without
    "error_500",
    "error_503",
    "dropped",  # the connection is cut after the first bytes of the reply
    "truncated_json",
    "html",
    "slow_drip",  # the reply comes byte by byte over `drip_seconds`
)
CONTENT_FAULTS = (
    "empty",  # a good reply whose content is empty
    "refusal",  # a good reply that says sorry
    "length",  # a good reply cut short, finish_reason `length`
)
FAULTS = TRANSPORT_FAULTS + CONTENT_FAULTS
_WORDS = (
    "parse merge sort filter cache stream batch retry queue graph tree matrix string buffer index token cursor schema "
    "record window ledger stack heap vector route packet module iterator generator decorator thread socket file table"
)


@dataclass(frozen=True)
class Script:
    """How the teacher behaves. ``faults`` maps names of ``FAULTS`` to the share of requests that meet them."""

    model: str = "scripted-teacher"
    api_key: str | None = None
    seed: int = 0
    latency_seconds: float = 0.0
    faults: Mapping[str, float] = field(default_factory=dict)
    words: int = 40
    retry_after_seconds: float = 0.2
    drip_seconds: float = 2.0
    batch_seconds: float = 1.0

    def __post_init__(self) -> None:
        unknown = set(self.faults) - set(FAULTS)
        if unknown or sum(self.faults.values()) > 1 or any(rate < 0 for rate in self.faults.values()):
            raise ValueError(f"faults must be shares of {', '.join(FAULTS)} that sum to at most 1, not {dict(self.faults)}")

    def fault(self, request_hash: str, times_asked: int) -> str | None:
        """The fault that this request meets when it comes for the n-th time (from 0).

        Faults of the content belong to the reply: they are drawn from the request alone, and stay when it is asked again.
        """
        for kinds, parts in ((CONTENT_FAULTS, (request_hash,)), (TRANSPORT_FAULTS, (request_hash, str(times_asked)))):
            point = int(stable_hash(str(self.seed), *parts)[:12], 16) / 16**12
            for name in kinds:
                point -= self.faults.get(name, 0.0)
                if point < 0:
                    return name
        return None

    def text(self, request_hash: str) -> str:
        """What a request is answered with."""
        draw = random.Random(f"{self.seed} {request_hash}")
        prose = " ".join(draw.choices(_WORDS.split(), k=max(self.words - 12, 1)))
        return f"Write a Python function named task_{request_hash[:10]} that handles these in order: {prose}."


class ScriptedTeacher:
    """The server's state and its handlers."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.base_url = ""
        self.good_replies: Counter[str] = Counter()
        self._asked: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._tokens: Counter[str] = Counter()
        self._in_flight = self._most_in_flight = self._refused = self._early = 0
        self._refused_until: dict[str, float] = {}

    def counts(self) -> dict[str, Any]:
        """What was asked so far. ``answered_again`` counts good replies to a request that already had one; ``early``
        those that came again before their Retry-After.
        """
        requests, answered = self._asked.total(), self.good_replies.total()
        return {
            "requests": requests,
            "distinct": len(self._asked),
            "repeats": requests - len(self._asked),
            "answered": answered,
            "answered_again": answered - len(self.good_replies),
            "refused": self._refused,
            "early": self._early,
            "in_flight": self._in_flight,
            "most_in_flight": self._most_in_flight,
            "faults": dict(self._faults),
            "prompt_tokens": self._tokens["prompt"],
            "completion_tokens": self._tokens["completion"],
        }

    def app(self) -> web.Application:
        app = web.Application(client_max_size=64 << 20, middlewares=[self._check_key])
        app.router.add_get("/counts", self._show)
        app.router.add_get("/v1/models", self._show)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/v1/completions", self._answer)
        BatchEndpoints(self, app)
        return app

    def authorised(self, request: web.Request) -> bool:
        return self.script.api_key is None or request.headers.get("Authorization") == f"Bearer {self.script.api_key}"

    @web.middleware
    async def _check_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/counts" or self.authorised(request):
            return await handler(request)
        return self._refuse(request, 401, "Incorrect API key provided.", "invalid_api_key")

    def _refuse(self, request: web.Request, status: int, message: str, code: str) -> web.Response:
        self._refused += request.method == "POST"
        return _error(status, message, code)

    async def _show(self, request: web.Request) -> web.Response:
        models = {"object": "list", "data": [{"id": self.script.model, "object": "model"}]}
        return web.json_response(self.counts() if request.path == "/counts" else models)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body.get("model") != self.script.model:
            return self._refuse(request, 404, f"The model {body.get('model')!r} does not exist.", "model_not_found")
        if ("messages" if request.path.endswith("/chat/completions") else "prompt") not in body:
            return self._refuse(request, 400, "The request lacks its content.", "invalid_request_error")
        asked = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
        request_hash = stable_hash(request.path, json.dumps(asked, sort_keys=True))
        fault = self.draw_fault(request_hash)
        self._in_flight += 1
        self._most_in_flight = max(self._most_in_flight, self._in_flight)
        try:
            await asyncio.sleep(self.script.latency_seconds)
            return await self._reply(request, body, request_hash, fault)
        finally:
            self._in_flight -= 1

    def draw_fault(self, request_hash: str) -> str | None:
        """Count a request, and draw the fault that it meets."""
        now = time.monotonic()
        fault = self.script.fault(request_hash, self._asked[request_hash])
        self._asked[request_hash] += 1
        until = self._refused_until.get(request_hash)
        if until is not None and now < until:
            self._early += 1
            fault = "retry_after"
        elif until is not None:
            del self._refused_until[request_hash]
            fault = None if fault == "retry_after" else fault
        elif fault == "retry_after":
            self._refused_until[request_hash] = now + self.script.latency_seconds + self.script.retry_after_seconds
        self._faults.update([fault] if fault else [])
        return fault

    async def _reply(
        self, request: web.Request, body: dict[str, Any], request_hash: str, fault: str | None
    ) -> web.StreamResponse:
        if fault in ("retry_after", "rate_limited"):
            headers = {"Retry-After": f"{self.script.retry_after_seconds:g}"} if fault == "retry_after" else None
            return _error(429, "Rate limit reached.", "rate_limit_exceeded", headers)
        if fault in ("error_500", "error_503"):
            return _error(int(fault[-3:]), "The server had an error.", "server_error")
        completion = self.completion(request.path.endswith("/chat/completions"), body, request_hash, fault)
        text = _events(completion) if body.get("stream") else json.dumps(completion)
        if fault == "html":
            return web.Response(text="<html><body>Bad gateway</body></html>", content_type="text/html")
        if fault == "truncated_json":
            return web.Response(text=text[: len(text) // 2], content_type="application/json")
        if fault in ("dropped", "slow_drip"):
            return await self._reply_in_parts(request, text.encode(), request_hash, fault)
        self.good_replies[request_hash] += 1
        return web.Response(text=text, content_type="text/event-stream" if body.get("stream") else "application/json")

    def completion(self, chat: bool, body: Mapping[str, Any], request_hash: str, fault: str | None) -> dict[str, Any]:
        """The JSON of a good reply, whose content may be faulty. Its tokens are counted, whether or not it arrives."""
        text = {"empty": "", "refusal": "Sorry, I cannot help with that."}.get(fault or "", self.script.text(request_hash))
        prompt_tokens = len(json.dumps(body.get("messages") or body.get("prompt"))) // 4
        tokens = len(text) // 4 + 1
        limit = int(body.get("max_tokens") or body.get("max_completion_tokens") or 1 << 30)
        reason = "stop"
        if fault == "length" or tokens > limit:
            tokens, reason = min(tokens, limit), "length"
            text = text[: tokens * 4 - 8]
        self._tokens.update(prompt=prompt_tokens, completion=tokens)
        choice = {"message": {"role": "assistant", "content": text}} if chat else {"text": text}
        return {
            "id": f"scripted-{request_hash}",
            "object": "chat.completion" if chat else "text_completion",
            "created": 0,
            "model": self.script.model,
            "choices": [{"index": 0, "finish_reason": reason, **choice}],
            "usage": {
                "prompt_tokens": prompt_tokens,
                "completion_tokens": tokens,
                "total_tokens": prompt_tokens + tokens,
            },
        }

    async def _reply_in_parts(self, request: web.Request, data: bytes, request_hash: str, fault: str) -> web.StreamResponse:
        """Cut the connection after the first bytes, or send them slowly."""
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(data))})
        try:
            await response.prepare(request)
            if fault == "dropped":
                await response.write(data[:20])
                if request.transport is not None:
                    request.transport.abort()
                return response
            for start in range(0, len(data), 40):
                await asyncio.sleep(self.script.drip_seconds * 40 / len(data))
                await response.write(data[start : start + 40])
            await response.write_eof()
        except ConnectionResetError:  # the client would not wait
            return response
        self.good_replies[request_hash] += 1
        return response


@contextmanager
def scripted_teacher(
    script: Script | None = None, host: str = "127.0.0.1", port: int = 0, kind: type[ScriptedTeacher] = ScriptedTeacher
) -> Iterator[ScriptedTeacher]:
    """Serve a script from a thread of this process; ``base_url`` says where. Port 0 takes a free one.

    ``kind``: a subclass that misbehaves in a way that no script can say.
    """
    teacher = kind(script or Script())
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(teacher.app(), access_log=None, shutdown_timeout=0.5)
    loop.run_until_complete(runner.setup())
    loop.run_until_complete(web.TCPSite(runner, host, port).start())
    address = runner.addresses[0]
    teacher.base_url = f"http://{address[0]}:{address[1]}/v1"
    thread = threading.Thread(target=loop.run_forever, name="scripted-teacher", daemon=True)
    thread.start()
    try:
        yield teacher
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(timeout=30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=30)
        loop.close()


def _error(status: int, message: str, code: str, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response({"error": {"message": message, "code": code}}, status=status, headers=headers)


def _events(completion: Mapping[str, Any]) -> str:
    """A completion as server-sent events: some pieces of text, the reason to finish, the usage."""
    choice = completion["choices"][0]
    text = choice["message"]["content"] if "message" in choice else choice["text"]
    pieces = [text[start : start + 20] for start in range(0, len(text), 20)]
    deltas = [{"delta": {"content": piece}} if "message" in choice else {"text": piece} for piece in [*pieces, ""]]
    choices = [{"index": 0, "finish_reason": None} | delta for delta in deltas]
    choices[-1]["finish_reason"] = choice["finish_reason"]
    chunks = [{"choices": [one]} for one in choices] + [{"choices": [], "usage": completion["usage"]}]
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"
