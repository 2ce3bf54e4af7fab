"""Models behind Ray Serve: for each a gateway and one or more engines, up for as long as a ``with`` block lasts.

Call inside ``cluster.ray_session()``. That function sets environment variables which Ray reads at import, so Ray is imported
here only inside functions. The model folder must be at the same path on every node that may run an engine. A Ray cluster has
room for one Serve instance.
"""

from __future__ import annotations

import logging
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from evolcoder.console import Reporter, format_seconds
from evolcoder.endpoint.requests import Endpoint
from evolcoder.errors import ClusterError, ModelError, SettingsError
from evolcoder.serve.keys import keys_for
from evolcoder.settings.run import ServeSettings

APPLICATION = "evolcoder"
ENGINE_CPUS = 0.5
"""What a CPU engine reserves of Ray's CPUs. Its threads use all cores, but reserving them would leave none to its callers."""

SERVE_CONTROLLER = "SERVE_CONTROLLER_ACTOR"
SERVE_NAMESPACE = "serve"
"""Under which name and namespace Serve runs its controller: private to Ray (ray/serve/_private/constants.py in 2.60.0)."""

_QUIET = {"log_level": "WARNING", "enable_access_log": False}


@dataclass(frozen=True, slots=True)
class ServeInstance:
    """Ray Serve, up and listening; it may serve several models side by side."""

    settings: ServeSettings
    port: int
    keys: tuple[str, ...]

    @contextmanager
    def model(
        self, folder: Path, name: str, reporter: Reporter, *, prefix: str = "", engine_cpus: float = ENGINE_CPUS
    ) -> Iterator[Endpoint]:
        """Serve one while the block lasts; gives where it answers, with one of the keys that it asks for.

        Args:
            name: what requests call it.
            prefix: sets it apart from others that are served at the same time: its paths begin with ``/<prefix>``.
            engine_cpus: what each of its engines reserves on a machine without a GPU.

        Raises:
            ModelError: it cannot be loaded.
        """
        from ray import serve

        started = time.monotonic()
        application = f"{APPLICATION}-{prefix}" if prefix else APPLICATION
        try:
            decoding = self._deploy(application, f"/{prefix}", folder.resolve(), name, engine_cpus)
            host = "127.0.0.1" if self.settings.host in ("0.0.0.0", "::") else self.settings.host
            address = f"[{host}]" if ":" in host else host
            slowly = "; a model of this kind decodes one answer after the other" if decoding == "sequential" else ""
            reporter.say(f"{name} is up after {format_seconds(time.monotonic() - started)}{slowly}")
            base_url = f"http://{address}:{self.port}{f'/{prefix}' if prefix else ''}/v1"
            yield Endpoint(base_url, name, self.keys[0] if self.keys else None)
        finally:
            if prefix:  # one that is alone ends with the instance
                serve.delete(application)

    def _deploy(self, application: str, route_prefix: str, folder: Path, name: str, engine_cpus: float) -> str:
        """Start engines and gateway, and wait until they answer; returns the engine's way of decoding."""
        import ray
        from ray import serve
        from ray.exceptions import RayError

        from evolcoder.serve.replicas import EngineReplica, GatewayReplica

        settings = self.settings
        gpu = ray.cluster_resources().get("GPU", 0) > 0
        engine = EngineReplica.options(  # type: ignore[attr-defined]
            num_replicas=settings.replicas,
            ray_actor_options={"num_gpus": 1, "num_cpus": 1} if gpu else {"num_cpus": engine_cpus},
            # The gateway counts requests. Ray's own limits must lie above its, or calls would wait in Ray's queues, unseen; the
            # rest is for /health, /metrics, and answers that are being cancelled.
            max_ongoing_requests=settings.max_concurrency + 8,
        ).bind(settings.engine, str(folder), settings.max_batch_size, settings.max_model_len, 1 if gpu else settings.replicas)
        gateway = GatewayReplica.options(  # type: ignore[attr-defined]
            max_ongoing_requests=settings.max_concurrency + 64
        ).bind(engine, name, self.keys, settings)
        try:
            serve.run(gateway, name=application, route_prefix=route_prefix, logging_config=_QUIET)
            handle = serve.get_deployment_handle("EngineReplica", application)
            reason = handle.load_error.remote().result(timeout_s=60)
            if reason is None:
                return str(handle.stats.remote().result(timeout_s=60).decoding)
        except (RuntimeError, RayError, TimeoutError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]  # the last one of a traceback says why
            raise ModelError(f"{folder} could not be served: {lines[-1] if lines else type(error).__name__}") from error
        raise ModelError(reason)


@contextmanager
def serve_instance(settings: ServeSettings, port: int | None = None) -> Iterator[ServeInstance]:
    """Ray Serve on ``settings.host`` while the block lasts.

    Args:
        port: None takes a free one.

    Raises:
        SettingsError: the host, the port or the key file cannot be used as they are.
        ClusterError: Serve could not start.
    """
    keys = keys_for(settings)
    port = _checked_port(settings.host, port)
    import ray
    from ray import serve

    for noisy in ("ray.serve", "ray"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
    # ``serve.start`` would silently join an instance that runs already, and keep its host and port.
    try:
        ray.get_actor(SERVE_CONTROLLER, namespace=SERVE_NAMESPACE)
    except ValueError:  # there is no such actor
        serve.start(proxy_location="HeadOnly", http_options={"host": settings.host, "port": port}, logging_config=_QUIET)
    else:
        raise ClusterError("Ray Serve already runs on this cluster; use its endpoint, or end it with `serve shutdown`.")
    try:
        yield ServeInstance(settings, port, keys)
    finally:
        serve.shutdown()


@contextmanager
def serving(
    model_folder: Path, name: str, settings: ServeSettings, *, port: int | None = None, reporter: Reporter
) -> Iterator[Endpoint]:
    """Serve one model; see ``serve_instance`` and ``ServeInstance.model`` for what is raised."""
    with serve_instance(settings, port) as instance, instance.model(model_folder, name, reporter) as served:
        yield served


def wait_while_serving() -> None:
    """Return on SIGINT (Ctrl-C) or SIGTERM."""
    told = threading.Event()
    previous = {number: signal.signal(number, lambda *_: told.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        while not told.wait(1.0):
            pass
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _checked_port(host: str, port: int | None) -> int:
    """The port, or a free one, after a trial bind: Serve's proxy would report a port in use only in its logs.

    Another process may take it between this check and the proxy's own bind; then Serve fails to start.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port or 0))
            return int(probe.getsockname()[1])
    except OSError as error:
        reason = error.strerror or str(error)
        raise SettingsError(
            f"Nothing can listen on {host}:{port} ({reason}); set serve.port or serve.host to another."
        ) from None
