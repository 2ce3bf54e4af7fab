"""Gateway and engine as Ray Serve deployments, and the client with which the one calls the other.

Adapters only: every decision is the gateway's or the engine's.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from ray import serve
from ray.exceptions import RayError, RayTaskError

from evolcoder.errors import EvolcoderError, ModelError
from evolcoder.serve.engines.base import EngineError, EngineStats, Events, GenerationRequest
from evolcoder.serve.gateway import Gateway
from evolcoder.settings.run import ServeSettings

if TYPE_CHECKING:
    from evolcoder.serve.engines.transformers import TransformersEngine


@serve.deployment(
    max_constructor_retry_count=1, graceful_shutdown_timeout_s=2, graceful_shutdown_wait_loop_s=0.1, health_check_period_s=5
)
class EngineReplica:
    """One engine in one process.

    An exception in the constructor would make Serve start the replica again and again. A model that cannot be loaded will
    not load the second time either, so the replica stays up and tells the reason.
    """

    def __init__(
        self, engine: str, folder: str, max_batch_size: int, max_model_len: int | None, engines_per_machine: int
    ) -> None:
        # Imported here: the driver, which holds this class to deploy it, needs no torch.
        from evolcoder.serve.engines.loading import usable_cores
        from evolcoder.serve.engines.transformers import TransformersEngine

        self._engine: TransformersEngine | None = None
        self._error: str | None = None
        try:
            if engine != "transformers":
                raise ModelError(f"serve.engine={engine} is not an engine that this version has; set it to transformers.")
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

    async def answer(self, request: GenerationRequest, streamed: bool) -> Events:
        assert self._engine is not None, self._error
        async with contextlib.aclosing(self._engine.answer(request, streamed)) as events:
            async for item in events:
                yield item

    async def stats(self) -> EngineStats:
        assert self._engine is not None, self._error
        return self._engine.stats()

    def check_health(self) -> None:
        """Called by Serve every ``health_check_period_s``; it replaces a replica whose check raises."""
        if self._engine is not None and not self._engine.is_alive():
            raise EngineError("the decode thread has ended")


@serve.deployment(
    max_constructor_retry_count=1,
    graceful_shutdown_timeout_s=2,
    graceful_shutdown_wait_loop_s=0.1,
    ray_actor_options={"num_cpus": 0},  # it waits for engines; a reserved core could keep one of them from being placed
)
@serve.ingress()
class GatewayReplica:
    """The gateway in front of the engines."""

    def __init__(self, engine: Any, model: str, keys: tuple[str, ...], settings: ServeSettings) -> None:
        self._gateway = Gateway(RayEngineClient(engine), model, keys, settings)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """What ``serve.ingress()`` without an application calls after the constructor (documented in Ray 2.60.0).

        An application given to the decorator would be built in the driver and pickled, before there is a Gateway.
        """
        return self._gateway.app()


class RayEngineClient:
    """Calls engine replicas through a deployment handle; Serve picks the less busy of two."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle
        self._stream = handle.options(stream=True)

    async def answer(self, request: GenerationRequest, streamed: bool) -> Events:
        response = self._stream.answer.remote(request, streamed)
        try:
            async for item in response:
                yield item
        except RayError as error:
            raise _engine_error(error) from error
        finally:
            # Closing this generator does not end the call in the other process; cancelling does. After the last item it
            # does nothing.
            response.cancel()

    async def stats(self) -> EngineStats:
        try:
            return await self._handle.stats.remote()  # type: ignore[no-any-return]
        except RayError as error:
            raise _engine_error(error) from error


def _engine_error(error: RayError) -> EngineError:
    """The replica's own error, which Ray wraps; any other failure of a call means that the replica is gone."""
    if not isinstance(error, RayTaskError):
        return EngineError("The engine has stopped; it is being started again.")
    return EngineError.of(error.cause)
