"""From what an endpoint sent to a reply, or to the failure that it stands for. Pure: sends and waits for nothing."""

from __future__ import annotations

import contextlib
import email.utils
import json
import time
from collections.abc import Mapping
from typing import Any

from evolcoder.endpoint.requests import Endpoint, RequestFailed, TeacherReply
from evolcoder.errors import EndpointError

LONGEST_RETRY_AFTER_SECONDS = 600.0
_TRANSIENT_STATUS = frozenset({408, 409, 425})
_MESSAGE_CHARACTERS = 200


def parse_reply(text: str) -> TeacherReply:
    """The reply in a chat completion's or a completion's JSON.

    Raises:
        RequestFailed: ``garbage``, for whatever is no such JSON.
    """
    try:
        return reply_of(json.loads(text))
    except (ValueError, RecursionError):
        raise _garbage(text) from None


def reply_of(data: Any) -> TeacherReply:
    """The reply in a decoded completion. Raises as ``parse_reply`` does."""
    try:
        choice = data["choices"][0]
        content = choice["message"]["content"] if "message" in choice else choice["text"]
        usage = data.get("usage") or {}
        prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        reason = str(choice.get("finish_reason") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _garbage(str(data)) from None
    if isinstance(content, list):
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if content is not None and not isinstance(content, str):
        raise RequestFailed("garbage", "the reply's content is no text", maybe_billed=True)
    return TeacherReply(content or "", reason, max(prompt, 0), max(completion, 0))


def _garbage(text: str) -> RequestFailed:
    return RequestFailed("garbage", f"the reply is no completion: {' '.join(text.split())[:80]!r}", maybe_billed=True)


def failure_of_status(status: int, headers: Mapping[str, str], body: object, endpoint: Endpoint) -> RequestFailed:
    """What an HTTP status of 400 or more stands for; ``body`` is decoded JSON, or text."""
    if isinstance(body, str):
        with contextlib.suppress(ValueError):
            body = json.loads(body)
    error = body.get("error", body) if isinstance(body, Mapping) else body
    code = error.get("code") if isinstance(error, Mapping) else None
    said = (error.get("message") if isinstance(error, Mapping) else error) or body or "no reason given"
    message = " ".join(str(said).split())[:_MESSAGE_CHARACTERS]
    sentence = _refusal_of_all(status, code, message, endpoint)
    if sentence is not None:
        return RequestFailed("closed", sentence, endpoint_error=EndpointError(sentence))
    message = f"{status} {message}"
    if status == 429:
        return RequestFailed("rate_limited", message, retry_after_seconds=retry_after_seconds(headers, time.time()))
    if status in _TRANSIENT_STATUS or status >= 500:
        return RequestFailed("server_error", message)
    return RequestFailed("rejected", message, retryable=False)


def _refusal_of_all(status: int, code: object, message: str, endpoint: Endpoint) -> str | None:
    """The sentence for what every request would meet alike; None for what may be this one's alone."""
    base_url, model = endpoint.base_url, endpoint.model
    if status == 401:
        return f"The endpoint {base_url} refuses the API key (401: {message}); set the variable that holds it."
    if status == 403:
        return f"The endpoint {base_url} forbids this (403: {message}); use a key that may use {model}."
    if status == 402 or (status == 429 and code == "insufficient_quota"):
        return f"The account at {base_url} has no quota left ({message}); add credit, then run this again."
    if status == 404 or code == "model_not_found":
        return f"The endpoint {base_url} does not know the model {model!r}, or has no such address ({message}); correct either."
    return None


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait as the reply's headers ask (``retry-after-ms``, or ``retry-after`` as seconds or a date).

    Args:
        now: seconds since the epoch, against which a date counts.
    """
    milliseconds, after = headers.get("retry-after-ms"), headers.get("retry-after", "").strip()
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif after[:1].isalpha():
            seconds = email.utils.parsedate_to_datetime(after).timestamp() - now
        else:
            seconds = float(after)
    except ValueError:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS) if seconds == seconds else None  # NaN is no answer
