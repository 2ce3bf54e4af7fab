"""The HTTP side of the endpoint: API keys, limits, OpenAI's routes, event streams. Generation itself is the engines' work.

A plain ASGI application around an ``EngineClient``, so that it can be tested without Ray; ``launch.py`` puts it on Ray
Serve. Everything here runs on one event loop, so counters need no lock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from evolcoder.serve.engines.base import EngineError, EngineStats, Events, GenerationRequest, Piece, Rejected
from evolcoder.serve.keys import check_key
from evolcoder.serve.metrics import Metrics
from evolcoder.serve.protocol import ChatRequest, CompletionRequest, RequestError, parse_request
from evolcoder.serve.replies import ReplyFormat, Usage, error_reply, event
from evolcoder.settings.run import ServeSettings

MAX_BODY_BYTES = 16 * 1024 * 1024
RETRY_AFTER_SECONDS = 1

CLIENT_CLOSED_REQUEST = 499
"""The status under which a request is counted whose client disconnected first (nginx's number for it)."""

STATS_TIMEOUT_SECONDS = 10
"""How long ``/health`` and ``/metrics`` wait for an engine; a replica that loads a model answers nothing meanwhile."""


class EngineClient(Protocol):
    """How the gateway reaches its engines. Closing the iterator of ``answer`` early stops the generation."""

    def answer(self, request: GenerationRequest, streamed: bool) -> Events: ...

    async def stats(self) -> EngineStats: ...


class Gateway:
    """What stands before one model's engines, under the limits of ``settings``.

    At most ``max_concurrency`` requests are answered or wait for the engine at once; more get a 429.
    ``request_timeout_seconds`` is the time from a request's arrival to the end of its answer, the wait included.
    """

    def __init__(self, engine: EngineClient, model: str, keys: Sequence[str], settings: ServeSettings) -> None:
        self._engine, self._model, self._keys, self._settings = engine, model, keys, settings
        self._metrics = Metrics()
        self._in_flight: set[_InFlightRequest] = set()
        self._created = int(time.time())

    def app(self) -> FastAPI:
        """The ASGI application."""
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        app.add_api_route("/health", self._health, methods=["GET"])
        app.add_api_route("/metrics", self._metrics_page, methods=["GET"])
        app.add_api_route("/v1/models", self._models, methods=["GET"])
        app.add_api_route("/v1/models/{name:path}", self._models, methods=["GET"])
        app.add_api_route("/v1/chat/completions", self._generate, methods=["POST"], response_model=None)
        app.add_api_route("/v1/completions", self._generate, methods=["POST"], response_model=None)
        app.add_exception_handler(RequestError, self._on_error)
        app.add_exception_handler(HTTPException, self._on_error)
        return app

    async def _health(self) -> Response:
        try:
            await asyncio.wait_for(self._engine.stats(), timeout=STATS_TIMEOUT_SECONDS)
        except (EngineError, TimeoutError) as error:
            raise RequestError("The engine does not answer.", status=503, kind="server_error") from error
        return JSONResponse({"status": "ok", "model": self._model})

    async def _metrics_page(self, request: Request) -> Response:
        check_key(request.headers.get("authorization"), self._keys)
        try:
            stats: EngineStats | None = await asyncio.wait_for(self._engine.stats(), timeout=STATS_TIMEOUT_SECONDS)
        except (EngineError, TimeoutError):
            stats = None  # what the gateway counted is still true
        return Response(self._metrics.text(stats), media_type="text/plain; version=0.0.4")

    async def _models(self, request: Request, name: str | None = None) -> Response:
        check_key(request.headers.get("authorization"), self._keys)
        self._check_model(name)
        async with self._as_request_errors():
            model = {
                "id": self._model,
                "object": "model",
                "created": self._created,
                "owned_by": "evolcoder",
                # Not in OpenAI's format; vLLM has it too, and editors that build prompts themselves read it.
                "max_model_len": (await self._engine.stats()).max_model_len,
            }
        return JSONResponse({"object": "list", "data": [model]} if name is None else model)

    async def _generate(self, http: Request) -> Response:
        check_key(http.headers.get("authorization"), self._keys)
        body = bytearray()
        async for part in http.stream():  # in parts, so that too large a body is refused before all of it is in memory
            body += part
            if len(body) > MAX_BODY_BYTES:
                raise RequestError(f"The request's body is larger than {MAX_BODY_BYTES // 2**20} MiB.", status=413)
        request: ChatRequest | CompletionRequest
        chat = http.url.path.endswith("/chat/completions")
        request = parse_request(ChatRequest, bytes(body)) if chat else parse_request(CompletionRequest, bytes(body))
        generation = request.generation_request()
        self._check_model(request.model)
        # Back-pressure: the engine's queue has no bound of its own, so whoever exceeds the limit is told to come back
        # instead of waiting until the request times out.
        if len(self._in_flight) >= self._settings.max_concurrency:
            raise RequestError(
                f"{self._settings.max_concurrency} requests are being answered already; try again in a moment.",
                status=429,
                kind="rate_limit_error",
                code="rate_limit_exceeded",
                retry_after_seconds=RETRY_AFTER_SECONDS,
            )
        http.state.counted = True  # from here on ``in_flight.end`` counts it, not the handler of errors
        in_flight = _InFlightRequest(http.url.path, self._in_flight, self._metrics)
        try:
            async with self._as_request_errors():
                return await self._answer(request, generation, ReplyFormat(chat, self._model), in_flight)
        except asyncio.CancelledError:  # how Ray Serve tells a handler that its client has disconnected
            in_flight.end(CLIENT_CLOSED_REQUEST)
            raise
        except BaseException as error:  # whatever it is, the request's place is free again
            in_flight.end(error.status if isinstance(error, RequestError) else 500)
            raise

    async def _answer(
        self,
        request: ChatRequest | CompletionRequest,
        generation: GenerationRequest,
        reply: ReplyFormat,
        in_flight: _InFlightRequest,
    ) -> Response:
        events = self._engine.answer(generation, request.stream)
        try:
            async with asyncio.timeout(self._settings.request_timeout_seconds) as deadline:
                # The first event decides the HTTP status, so it is awaited before the headers go out: a prompt that the
                # engine rejects is a 400 for streams too.
                first = await anext(events)
                if isinstance(first, Rejected):
                    raise RequestError(first.message, code=first.code, param=first.param)
                assert not isinstance(first, Piece)
                in_flight.usage.prompt_tokens = first.prompt_tokens
                if not request.stream:
                    pieces = [piece async for piece in events if isinstance(piece, Piece)]
        except BaseException:
            await events.aclose()
            raise
        if request.stream:  # the deadline goes on running
            answers = len(generation.prompts) * generation.n
            usage_wanted = bool(request.stream_options.include_usage)
            chunks = self._stream_chunks(events, answers, reply, in_flight, deadline.when(), usage_wanted)
            return _EventStream(chunks, events, in_flight)
        in_flight.usage.completion_tokens = sum(piece.tokens for piece in pieces)
        response = JSONResponse(reply.whole(pieces, in_flight.usage))
        in_flight.end(200)
        return response

    async def _stream_chunks(
        self,
        events: Events,
        answers: int,
        reply: ReplyFormat,
        in_flight: _InFlightRequest,
        deadline: float | None,
        usage_wanted: bool,
    ) -> AsyncIterator[str]:
        """The server-sent events of one reply; ``deadline`` is in the event loop's time."""
        try:
            async with self._as_request_errors(), asyncio.timeout_at(deadline):
                if reply.chat:
                    for index in range(answers):
                        yield event(reply.opening(index))
                async for piece in events:
                    if isinstance(piece, Piece):
                        in_flight.usage.completion_tokens += piece.tokens
                        yield event(reply.chunk(piece))
            if usage_wanted:
                yield event(reply.closing(in_flight.usage))
            in_flight.end(200)
            yield event(None)
        except RequestError as error:  # the status line has been sent, so the stream itself reports the failure
            in_flight.end(error.status)
            yield event(error_reply(error))

    @asynccontextmanager
    async def _as_request_errors(self) -> AsyncIterator[None]:
        """Whatever goes wrong within is said of this request alone; the endpoint goes on."""
        try:
            yield
        except RequestError:
            raise
        except TimeoutError:
            raise RequestError(
                f"The answer was not complete after {self._settings.request_timeout_seconds:g} s "
                "(serve.request_timeout_seconds).",
                status=408,
                kind="server_error",
                code="timeout",
            ) from None
        except Exception as error:
            raise RequestError(str(EngineError.of(error)), status=500, kind="server_error") from error

    def _check_model(self, name: str | None) -> None:
        if name and name != self._model:
            raise RequestError(
                f"The model `{name[:100]}` does not exist here; this endpoint serves `{self._model}`.",
                status=404,
                code="model_not_found",
                param="model",
            )

    async def _on_error(self, request: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):  # an unknown route or method
            error = RequestError(f"{request.method} {request.url.path}: {error.detail}.", status=error.status_code)
        # What was refused before it was taken up is counted here; the rest is counted where it ends.
        elif "/v1/" in request.url.path and not getattr(request.state, "counted", False):
            assert isinstance(error, RequestError)
            self._metrics.requests.labels(request.url.path, str(error.status)).inc()
        assert isinstance(error, RequestError)
        headers = {} if error.retry_after_seconds is None else {"Retry-After": str(error.retry_after_seconds)}
        if error.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return JSONResponse(error_reply(error), status_code=error.status, headers=headers)


class _InFlightRequest:
    """One request between being taken up and its end, whichever way it ends; counted once.

    Args:
        in_flight: the gateway's requests in flight; this one adds itself and leaves at its end.
    """

    def __init__(self, route: str, in_flight: set[_InFlightRequest], metrics: Metrics) -> None:
        self._route, self._in_flight, self._metrics = route, in_flight, metrics
        self._started = time.monotonic()
        self.usage = Usage()
        in_flight.add(self)
        metrics.in_flight.inc()

    def end(self, status: int) -> None:
        """Count the request under ``status``. Only the first call counts: a stream that failed is then closed as well."""
        if self not in self._in_flight:
            return
        self._in_flight.remove(self)
        self._metrics.in_flight.dec()
        self._metrics.requests.labels(self._route, str(status)).inc()
        self._metrics.seconds.observe(time.monotonic() - self._started)
        self._metrics.prompt_tokens.inc(self.usage.prompt_tokens)
        self._metrics.completion_tokens.inc(self.usage.completion_tokens)


class _EventStream(StreamingResponse):
    """Server-sent events; the generation ends when the response does.

    A client may disconnect before the body's iterator has been started, and a generator that was never started runs no
    ``finally`` when it is closed. So the clean-up is here, around the whole response, and not in the iterator.
    """

    def __init__(self, chunks: AsyncIterator[str], events: Events, in_flight: _InFlightRequest) -> None:
        super().__init__(chunks, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})
        self._events, self._flight = events, in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._flight.end(CLIENT_CLOSED_REQUEST)
            await self._events.aclose()
