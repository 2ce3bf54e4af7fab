"""The HTTP side of the endpoint: keys, limits, OpenAI's routes, streams. It knows no model: engines do the work.

Built as a plain ASGI application around an ``AskEngine``, so that it can be tested without Ray; ``launch.py`` puts it on
Ray Serve.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from evolcoder.serve.engines.base import Accepted, EngineError, EngineStats, Piece, Question, Rejected
from evolcoder.serve.keys import check_key
from evolcoder.serve.metrics import Metrics
from evolcoder.serve.protocol import ChatRequest, CompletionRequest, RequestError, parse_request
from evolcoder.serve.replies import Shape, Usage, error_reply, event, model_reply, models_reply

MAX_BODY_BYTES = 16 * 1024 * 1024
RETRY_AFTER_SECONDS = 1

CLIENT_LEFT = 499
"""Counted as the status of an answer that nobody waited for (nginx's number for it)."""

Events = AsyncGenerator[Accepted | Rejected | Piece, None]


class AskEngine(Protocol):
    """The way from a gateway to its engines. An iterator that is closed early stops the generation."""

    def answer(self, question: Question, streamed: bool) -> Events: ...

    async def stats(self) -> EngineStats: ...

    async def max_model_len(self) -> int: ...


@dataclass(frozen=True, slots=True)
class GatewaySettings:
    """``max_concurrency`` requests are answered or wait at once; more are sent away with a 429."""

    model: str
    keys: Sequence[str]
    max_concurrency: int
    timeout_seconds: float


class Gateway:
    def __init__(self, settings: GatewaySettings, engine: AskEngine) -> None:
        self._settings, self._engine = settings, engine
        self._metrics = Metrics()
        self._in_flight = 0
        self._created = int(time.time())

    def app(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.add_api_route("/health", self._health, methods=["GET"])
        app.add_api_route("/metrics", self._metrics_page, methods=["GET"])
        app.add_api_route("/v1/models", self._models, methods=["GET"])
        app.add_api_route("/v1/models/{name:path}", self._one_model, methods=["GET"])
        app.add_api_route("/v1/chat/completions", self._chat, methods=["POST"], response_model=None)
        app.add_api_route("/v1/completions", self._completions, methods=["POST"], response_model=None)
        app.add_exception_handler(RequestError, self._on_request_error)
        app.add_exception_handler(HTTPException, self._on_http_error)
        return app

    async def _health(self) -> Response:
        try:
            await asyncio.wait_for(self._engine.stats(), timeout=10)
        except (EngineError, TimeoutError) as error:
            raise RequestError("The engine does not answer.", status=503, kind="server_error") from error
        return JSONResponse({"status": "ok", "model": self._settings.model})

    async def _metrics_page(self, request: Request) -> Response:
        check_key(request.headers.get("authorization"), self._settings.keys)
        try:
            stats: EngineStats | None = await asyncio.wait_for(self._engine.stats(), timeout=10)
        except (EngineError, TimeoutError):
            stats = None  # what the gateway counted is still true
        return Response(self._metrics.text(stats), media_type="text/plain; version=0.0.4")

    async def _models(self, request: Request) -> Response:
        check_key(request.headers.get("authorization"), self._settings.keys)
        async with self._explained():
            return JSONResponse(models_reply(self._settings.model, self._created, await self._engine.max_model_len()))

    async def _one_model(self, request: Request, name: str) -> Response:
        check_key(request.headers.get("authorization"), self._settings.keys)
        self._check_model(name)
        async with self._explained():
            return JSONResponse(model_reply(name, self._created, await self._engine.max_model_len()))

    async def _chat(self, request: Request) -> Response:
        return await self._generate(request, ChatRequest)

    async def _completions(self, request: Request) -> Response:
        return await self._generate(request, CompletionRequest)

    async def _generate(self, http: Request, kind: type[ChatRequest] | type[CompletionRequest]) -> Response:
        check_key(http.headers.get("authorization"), self._settings.keys)
        request = parse_request(kind, await _body(http))
        self._check_model(request.model)
        if self._in_flight >= self._settings.max_concurrency:
            raise RequestError(
                f"{self._settings.max_concurrency} requests are being answered already; try again in a moment.",
                status=429,
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        http.state.counted = True
        flight = _Flight(self, http.url.path)
        try:
            return await (self._answer_stream if request.streamed else self._answer_whole)(request, flight)
        except RequestError as error:
            flight.end(error.status)
            raise
        except asyncio.CancelledError:
            flight.end(CLIENT_LEFT)
            raise

    async def _answer_whole(self, request: ChatRequest | CompletionRequest, flight: _Flight) -> Response:
        async with self._explained(), aclosing(self._engine.answer(request.question(), streamed=False)) as events:
            async with asyncio.timeout(self._settings.timeout_seconds):
                flight.usage.prompt_tokens = await _accepted(events)
                pieces = [piece async for piece in events if isinstance(piece, Piece)]
        flight.usage.completion_tokens = sum(piece.tokens for piece in pieces)
        flight.end(200)
        return JSONResponse(self._shape(request).whole(pieces, flight.usage))

    async def _answer_stream(self, request: ChatRequest | CompletionRequest, flight: _Flight) -> Response:
        question = request.question()
        events = self._engine.answer(question, streamed=True)
        try:
            async with self._explained(), asyncio.timeout(self._settings.timeout_seconds) as deadline:
                flight.usage.prompt_tokens = await _accepted(events)
        except (RequestError, asyncio.CancelledError):
            await events.aclose()
            raise
        answers = len(question.prompts) * question.n
        chunks = self._chunks(request, events, answers, flight, deadline.when())
        return _EventStream(chunks, events, flight)

    async def _chunks(
        self, request: ChatRequest | CompletionRequest, events: Events, answers: int, flight: _Flight, until: float | None
    ) -> AsyncIterator[str]:
        shape = self._shape(request)
        offsets = [0] * answers
        try:
            for index in range(answers):
                if shape.chat:
                    yield event(shape.opening(index))
            async with self._explained(), asyncio.timeout_at(until):
                async for piece in events:
                    if isinstance(piece, Piece):
                        flight.usage.completion_tokens += piece.tokens
                        yield event(shape.chunk(piece, offsets[piece.index]))
                        offsets[piece.index] += len(piece.text)
            if request.include_usage:
                yield event(shape.closing(flight.usage))
            flight.end(200)
            yield event(None)
        except RequestError as error:  # too late for another status: it is said in the stream
            flight.end(error.status)
            yield event(error_reply(error))

    def _shape(self, request: ChatRequest | CompletionRequest) -> Shape:
        return Shape(isinstance(request, ChatRequest), self._settings.model)

    @asynccontextmanager
    async def _explained(self) -> AsyncIterator[None]:
        try:
            yield
        except TimeoutError:
            raise self._too_slow() from None
        except EngineError as error:
            raise RequestError(str(error), status=500, kind="server_error") from None

    def _too_slow(self) -> RequestError:
        return RequestError(
            f"The answer was not complete after {self._settings.timeout_seconds:g} s (serve.request_timeout_seconds).",
            status=408,
            kind="server_error",
            code="timeout",
        )

    def _check_model(self, name: str | None) -> None:
        if name and name != self._settings.model:
            raise RequestError(
                f"The model `{name}` does not exist here; this endpoint serves `{self._settings.model}`.",
                status=404,
                code="model_not_found",
                param="model",
            )

    async def _on_request_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestError)
        self._count_early(request, error.status)
        headers = {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(error_reply(error), status_code=error.status, headers=headers)

    async def _on_http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = f"{request.method} {request.url.path}: {error.detail}."
        return JSONResponse(error_reply(RequestError(message, status=error.status_code)), status_code=error.status_code)

    def _count_early(self, request: Request, status: int) -> None:
        """Count what was refused before it was taken up; the rest is counted where it ends."""
        if not getattr(request.state, "counted", False) and request.url.path.startswith("/v1/"):
            self._metrics.requests.labels(request.url.path, str(status)).inc()


class _Flight:
    """One request that was taken up, until it ends in one way or another; counts it once."""

    def __init__(self, gateway: Gateway, route: str) -> None:
        self._gateway, self._route = gateway, route
        self._started = time.monotonic()
        self._ended = False
        self.usage = Usage()
        gateway._in_flight += 1
        gateway._metrics.in_flight.inc()

    def end(self, status: int) -> None:
        if self._ended:
            return
        self._ended = True
        self._gateway._in_flight -= 1
        metrics = self._gateway._metrics
        metrics.in_flight.dec()
        metrics.requests.labels(self._route, str(status)).inc()
        metrics.seconds.observe(time.monotonic() - self._started)
        metrics.prompt_tokens.inc(self.usage.prompt_tokens)
        metrics.completion_tokens.inc(self.usage.completion_tokens)


class _EventStream(StreamingResponse):
    """Server-sent events. However it ends, be it before its first event, the generation ends with it."""

    def __init__(self, chunks: AsyncIterator[str], events: Events, flight: _Flight) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._events, self._flight = events, flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._flight.end(CLIENT_LEFT)
            await self._events.aclose()


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise RequestError(f"The request's body is larger than {MAX_BODY_BYTES // 2**20} MiB.", status=413)
    return bytes(body)


async def _accepted(events: Events) -> int:
    """Wait for the engine's first word; returns the prompt's tokens."""
    first = await anext(events)
    if isinstance(first, Rejected):
        raise RequestError(first.message, code=first.code, param=first.param)
    assert isinstance(first, Accepted)
    return first.prompt_tokens
