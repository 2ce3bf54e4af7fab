"""Gateway and engine as Ray Serve deployments, and the way from one to the other. Decides nothing by itself."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError

from evolcoder.errors import EvolcoderError
from evolcoder.serve.engines.base import Accepted, EngineError, EngineStats, Piece, Question, Rejected
from evolcoder.serve.gateway import Gateway, GatewaySettings

if TYPE_CHECKING:
    from evolcoder.serve.engines.base import Engine


@serve.deployment(
    max_constructor_retry_count=1, graceful_shutdown_timeout_s=2, graceful_shutdown_wait_loop_s=0.1, health_check_period_s=5
)
class EngineReplica:
    """One engine in one process.

    A model that cannot be loaded is no reason to start again and again: the replica stays up and says why.
    """

    def __init__(self, folder: str, max_batch_size: int, max_model_len: int | None, engines_per_machine: int) -> None:
        from evolcoder.serve.engines.loading import usable_cores
        from evolcoder.serve.engines.transformers import TransformersEngine

        self._engine: Engine | None = None
        self._error: str | None = None
        try:
            self._engine = TransformersEngine(
                Path(folder),
                max_batch_size=max_batch_size,
                max_model_len=max_model_len,
                threads=usable_cores(engines_per_machine),
            )
        except EvolcoderError as error:
            self._error = error.message

    async def load_error(self) -> str | None:
        """Why there is no model here, or None."""
        return self._error

    async def decoding(self) -> str:
        assert self._engine is not None, self._error
        return self._engine.decoding

    async def answer(self, question: Question, streamed: bool) -> AsyncGenerator[Accepted | Rejected | Piece, None]:
        assert self._engine is not None, self._error
        async with contextlib.aclosing(self._engine.answer(question, streamed)) as events:
            async for item in events:
                yield item

    async def stats(self) -> EngineStats:
        assert self._engine is not None, self._error
        return self._engine.stats()

    async def max_model_len(self) -> int:
        assert self._engine is not None, self._error
        return self._engine.max_model_len

    def check_health(self) -> None:
        """Serve starts a replica anew when this raises."""
        if self._engine is not None and not self._engine.is_alive():
            raise EngineError("the decode thread has ended")


@serve.deployment(
    max_constructor_retry_count=1,
    graceful_shutdown_timeout_s=2,
    graceful_shutdown_wait_loop_s=0.1,
    ray_actor_options={"num_cpus": 0},
)
@serve.ingress()
class GatewayReplica:
    """The gateway in front of the engines."""

    def __init__(self, engine: Any, settings: GatewaySettings) -> None:
        self._gateway = Gateway(settings, RayEngine(engine))

    def __serve_build_asgi_app__(self) -> FastAPI:
        return self._gateway.app()


class RayEngine:
    """Asks engine replicas through a deployment handle; Serve picks the least busy one."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._stream = handle.options(stream=True)

    async def answer(self, question: Question, streamed: bool) -> AsyncGenerator[Accepted | Rejected | Piece, None]:
        response = self._stream.answer.remote(question, streamed)
        try:
            async for item in response:
                yield item
        except RayError as error:
            raise _as_engine_error(error) from error
        finally:
            response.cancel()

    async def stats(self) -> EngineStats:
        try:
            return await self._handle.stats.remote()  # type: ignore[no-any-return]
        except RayError as error:
            raise _as_engine_error(error) from error

    async def max_model_len(self) -> int:
        try:
            return await self._handle.max_model_len.remote()  # type: ignore[no-any-return]
        except RayError as error:
            raise _as_engine_error(error) from error


def _as_engine_error(error: RayError) -> EngineError:
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, EngineError) else EngineError("The engine has stopped; it is being started again.")
