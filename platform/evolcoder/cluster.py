"""Reaching Ray: join the cluster that ``RAY_ADDRESS`` names (as every submitted job has it), else start one here.

The code that was submitted travels to every worker, so that a cluster runs this version and not the one in its image.
This module decides nothing about what runs on the cluster.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from evolcoder.errors import ClusterError
from evolcoder.storage.cache import cache_folder

LOCAL_OBJECT_STORE_BYTES = 600_000_000
_CONNECT_SECONDS = 10.0
_kept: ContextVar[ExitStack | None] = ContextVar("kept", default=None)
"""Within ``ray_kept``: what ends the sessions that were started there."""
_ENVIRONMENT = {
    # Many small tasks share a CPU. By default Ray ends each worker that was idle for a second, and starts another, which
    # takes seconds of CPU time, for the next task.
    "RAY_idle_worker_killing_time_threshold_ms": "30000",
    "RAY_USAGE_STATS_ENABLED": "0",
    # A thread that is still at work when the session ends must not start another Ray.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_DEDUP_LOGS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    # Serve's controller is killed while others still wait for it; Ray reports that each time.
    "RAY_DEDUP_LOGS_SKIP_REGEX": r"Task ServeController\.\w+ failed",
}


@contextmanager
def ray_session() -> Iterator[None]:
    """Connect to Ray for the length of a verb; does nothing when this process is already connected.

    Raises:
        ClusterError: the cluster that ``RAY_ADDRESS`` names does not answer, or Ray could not start here.
    """
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    address = os.environ.get("RAY_ADDRESS") or "local"
    if address == "local":
        _use_own_token()
    import ray

    if ray.is_initialized():
        yield
        return
    options: dict[str, object] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address == "local":
        options |= {"object_store_memory": LOCAL_OBJECT_STORE_BYTES, "include_dashboard": False}
    else:
        options["runtime_env"] = {"py_modules": [str(Path(__file__).parent)]}
    try:
        host, separator, port = address.removeprefix("ray://").rpartition(":")
        if separator and port.isdigit():  # look whether anything listens there: Ray itself would try for minutes
            socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
        with _native_stderr_aside():
            ray.init(address=address, **options)
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        what = "Ray could not start here" if address == "local" else f"The Ray cluster at {address} does not answer"
        raise ClusterError(
            f"{what}: {' '.join(str(error).split())[:300]} (check RAY_ADDRESS, or unset it to run on this machine alone)."
        ) from error
    with ExitStack() as session:
        (_kept.get() or session).callback(ray.shutdown)
        yield


def beside_the_driver() -> Any:
    """The scheduling strategy of an actor that the driver cannot do without: a node that is lost takes both, or neither."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)


def _use_own_token() -> None:
    """Guard a Ray of our own with a token of our own, unless the user's environment says how to authenticate.

    Ray would write one to the home folder by itself, and from then on ``ray start`` would ask for it too, while
    ``ray job submit`` would not send it: running a verb must not change how the user's own clusters behave.
    """
    told = any(name in os.environ for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if told or "ray" in sys.modules:  # Ray reads these when it is imported
        return
    token = cache_folder() / "ray_auth_token"
    if not token.exists():
        token.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=token.parent) as file:  # readable by its owner alone
            file.write(secrets.token_hex(32))
            file.flush()
            with suppress(FileExistsError):  # another process was first: its token counts
                os.link(file.name, token)
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}


@contextmanager
def _native_stderr_aside() -> Iterator[None]:
    """Keep what Ray's native code says while it starts off the screen; it is shown when the start fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as aside:
        os.dup2(aside.fileno(), 2)
        try:
            yield
        except BaseException:
            aside.seek(0)
            os.write(kept, aside.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


@contextmanager
def ray_kept() -> Iterator[None]:
    """Let all sessions inside share the Ray that the first of them starts; one that was there before stays."""
    with ExitStack() as sessions:
        outer = _kept.set(_kept.get() or sessions)
        try:
            yield
        finally:
            _kept.reset(outer)


def machines() -> list[Mapping[str, float]]:
    """The resources of each machine that the cluster has now; call it inside ``ray_session()``."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def machine_count() -> int:
    """How many machines the cluster has now; call it inside ``ray_session()``."""
    import ray

    return len({node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]})
