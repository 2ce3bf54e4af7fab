"""Whether an endpoint is there, takes the key and serves the model: asked once, before any work begins."""

from __future__ import annotations

import json
import os

from evolcoder.endpoint.refusals import failure_of_status, short_line
from evolcoder.endpoint.requests import Endpoint
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
    import openai

    client = openai.OpenAI(
        base_url=endpoint.base_url, api_key=endpoint.api_key or "none", max_retries=0, timeout=CHECK_TIMEOUT_SECONDS
    )
    try:
        with client:
            data = json.loads(client.get("/models", cast_to=str))
    except openai.APIStatusError as error:
        if error.status_code in (401, 402, 403):
            failure = failure_of_status(error.status_code, error.response.headers, error.body, endpoint)
            raise failure.endpoint_error or failure from None
        return
    except json.JSONDecodeError:
        raise EndpointError(
            f"{endpoint.base_url} answers, but not as an OpenAI-compatible API does; correct the base URL (most end in /v1)."
        ) from None
    except (openai.APIError, OSError, ValueError) as error:
        innermost: BaseException = error
        while innermost.__cause__ is not None:
            innermost = innermost.__cause__
        said = short_line(innermost) or type(innermost).__name__
        raise EndpointError(
            f"The endpoint {endpoint.base_url} does not answer ({said}); start it, or correct the base URL."
        ) from None
    entries = data.get("data") if isinstance(data, dict) else None
    served = [short_line(entry["id"]) for entry in entries or [] if isinstance(entry, dict) and "id" in entry]
    if served and not any(name == endpoint.model or name.endswith("/" + endpoint.model) for name in served):
        known = ", ".join(served[:8]) + (", ..." if len(served) > 8 else "")
        raise EndpointError(
            f"The endpoint {endpoint.base_url} does not serve a model {endpoint.model!r}; name one that it serves: {known}."
        )
