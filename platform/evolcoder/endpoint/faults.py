"""From whatever a request ends with to the fault's name, and what follows from it. Pure: sends and waits for nothing."""

from __future__ import annotations

import asyncio
import email.utils
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass

from evolcoder.endpoint.transport import StatusError
from evolcoder.errors import EndpointError

LONGEST_RETRY_AFTER_SECONDS = 600.0
_TRANSIENT_STATUS = frozenset({408, 409, 425})
_MESSAGE_CHARACTERS = 200


class Fault(Exception):  # noqa: N818 - named as the table in client.py names it
    """Why one attempt brought no reply.

    ``maybe_billed``: the server may have made a reply, and charged for it, before the fault.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        retryable: bool = True,
        maybe_billed: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message
        self.retryable = retryable
        self.maybe_billed = maybe_billed
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True)
class _Refusal:
    """An HTTP status of 400 or more, whoever raised it."""

    status: int
    headers: Mapping[str, str]
    body: object
    message: str


def _refusal(error: Exception) -> _Refusal | None:
    import openai

    if isinstance(error, openai.APIStatusError):
        return _Refusal(error.status_code, error.response.headers, error.body, error.message)
    if isinstance(error, StatusError):
        return _Refusal(error.status, error.headers, error.text, error.text)
    return None


def fault_of(error: Exception) -> Fault:
    """The fault that an exception of the openai package, of aiohttp or of the operating system stands for."""
    import aiohttp

    refusal = _refusal(error)
    if refusal is not None:
        return fault_of_status(refusal.status, refusal.headers, status_message(refusal.body, refusal.message))
    chain = _chain(error)
    text = " ".join(str(chain[-1]).split())[:_MESSAGE_CHARACTERS] or type(chain[-1]).__name__
    if any(isinstance(e, aiohttp.ClientConnectorError | aiohttp.InvalidURL) for e in chain):
        return Fault("unreachable", text)
    if any(isinstance(e, aiohttp.ServerTimeoutError | asyncio.TimeoutError) for e in chain):
        return Fault("timeout", "no whole reply in time", maybe_billed=True)
    return Fault("dropped", text, maybe_billed=True)


def fault_of_status(status: int, headers: Mapping[str, str], message: str) -> Fault:
    """The fault that an HTTP status stands for."""
    if status == 429:
        return Fault("rate_limited", f"429 {message}", retry_after_seconds=retry_after_seconds(headers, time.time()))
    if status in _TRANSIENT_STATUS or status >= 500:
        return Fault("server_error", f"{status} {message}")
    return Fault("rejected", f"{status} {message}", retryable=False)


def run_wide_error(error: Exception, base_url: str, model: str) -> EndpointError | None:
    """The error that stops the run, where the endpoint will refuse every request alike; else None."""
    refusal = _refusal(error)
    if refusal is None:
        return None
    message = status_message(refusal.body, refusal.message)
    code = _error_object(refusal.body).get("code")
    if refusal.status == 401:
        return EndpointError(f"The endpoint {base_url} refuses the API key (401: {message}); set the variable that holds it.")
    if refusal.status == 403:
        return EndpointError(f"The endpoint {base_url} forbids this (403: {message}); use a key that may use {model}.")
    if refusal.status == 402 or (refusal.status == 429 and code == "insufficient_quota"):
        return EndpointError(f"The account at {base_url} has no quota left ({message}); add credit, then run this again.")
    if refusal.status == 404 or code == "model_not_found":
        return EndpointError(
            f"The endpoint {base_url} does not know the model {model!r}, or has no such address ({message}); correct either."
        )
    return None


def status_message(body: object, fallback: str) -> str:
    """What an error reply says, in one short line."""
    text = _error_object(body).get("message") or (body if isinstance(body, str) else fallback)
    return " ".join(str(text).split())[:_MESSAGE_CHARACTERS]


def _error_object(body: object) -> Mapping[str, object]:
    """The ``error`` object of OpenAI's shape; replies fetched as text carry it undecoded."""
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return {}
    if not isinstance(body, Mapping):
        return {}
    inner = body.get("error")
    return inner if isinstance(inner, Mapping) else body


def retry_after_seconds(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait as the reply's headers ask (``retry-after-ms``, or ``retry-after`` as seconds or a date).

    Args:
        now: seconds since the epoch, against which a date counts.
    """
    milliseconds, after = headers.get("retry-after-ms"), headers.get("retry-after")
    try:
        if milliseconds is not None:
            seconds = float(milliseconds) / 1000
        elif after is not None and after.strip()[:1].isalpha():
            seconds = email.utils.parsedate_to_datetime(after).timestamp() - now
        elif after is not None:
            seconds = float(after)
        else:
            return None
    except ValueError:
        return None
    if seconds != seconds:
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_SECONDS)


def _chain(error: BaseException) -> list[BaseException]:
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    return chain
