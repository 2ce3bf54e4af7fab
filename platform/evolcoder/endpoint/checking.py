"""Whether an endpoint is there, takes the key and serves the model: asked once, before any work begins."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import replace

from evolcoder.endpoint.refusals import failure_of_status, short_line
from evolcoder.endpoint.requests import Endpoint, RequestFailed
from evolcoder.endpoint.transport import failures_named, reply_text, session_to
from evolcoder.errors import EndpointError

CHECK_TIMEOUT_SECONDS = 15.0


def api_key_from_environment(variable: str) -> str | None:
    """The key that the variable holds; None when it is unset or empty."""
    return os.environ.get(variable, "").strip() or None


def check_endpoint(endpoint: Endpoint) -> None:
    """Ask once whether the endpoint is there, takes the key and serves the model; in seconds, without trying again.

    A server that lists no models, or fails to, is taken at its word: the first request will tell.

    Raises:
        EndpointError: it is unreachable, refuses the key, or serves other models.
    """
    try:
        with failures_named(endpoint):
            status, headers, text = asyncio.run(_get_models(replace(endpoint, timeout_seconds=CHECK_TIMEOUT_SECONDS)))
    except (RequestFailed, ValueError) as failure:  # the latter for what is no URL at all
        said = failure.message if isinstance(failure, RequestFailed) else short_line(failure)
        raise EndpointError(
            f"The endpoint {endpoint.base_url} does not answer ({said}); start it, or correct the base URL."
        ) from None
    if status in (401, 402, 403):
        refusal = failure_of_status(status, headers, text, endpoint)
        raise refusal.endpoint_error or EndpointError(f"The endpoint {endpoint.base_url} says: {refusal.message}.")
    if status >= 400:
        return
    try:
        data = json.loads(text)
    except ValueError:
        raise EndpointError(
            f"{endpoint.base_url} answers, but not as an OpenAI-compatible API does; correct the base URL (most end in /v1)."
        ) from None
    entries = data.get("data") if isinstance(data, dict) else None
    served = [short_line(entry["id"]) for entry in entries or [] if isinstance(entry, dict) and "id" in entry]
    if served and not any(name == endpoint.model or name.endswith("/" + endpoint.model) for name in served):
        known = ", ".join(served[:8]) + (", ..." if len(served) > 8 else "")
        raise EndpointError(
            f"The endpoint {endpoint.base_url} does not serve a model {endpoint.model!r}; name one that it serves: {known}."
        )


async def _get_models(endpoint: Endpoint) -> tuple[int, Mapping[str, str], str]:
    """Status, headers and text of the endpoint's list of models."""
    address = endpoint.base_url.rstrip("/") + "/models"
    async with session_to(endpoint) as session, session.get(address) as response:
        return response.status, response.headers, reply_text(await response.read())
