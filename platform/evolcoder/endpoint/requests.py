"""What is asked of an OpenAI-compatible endpoint, and what comes back: plain data. Sends and reads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from evolcoder.errors import EndpointError

TransportName = Literal["openai", "aiohttp"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who answers. Picklable; the key is in no repr. ``base_url`` ends in ``/v1`` for most servers."""

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_seconds: float = 600.0
    max_attempts: int = 6
    transport: TransportName = "openai"


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the endpoint is to draw its answer. ``stop`` and ``seed`` are sent only when set."""

    temperature: float
    top_p: float
    max_tokens: int
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class TeacherReply:
    """One answer. Token counts are the server's; both are 0 when it reports no usage. ``text`` may be empty."""

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(eq=False)
class RequestFailed(Exception):  # noqa: N818 - not an error of the run: one row ends with this as its reason
    """Why one attempt, or in the end the request, got no reply; ``kind`` is a name of the table in ``client.py``.

    ``maybe_billed``: the server may have made a reply, and charged for it, before the failure. ``endpoint_error``: the
    endpoint will refuse every request alike, and this says why.
    """

    kind: str
    message: str
    retryable: bool = True
    maybe_billed: bool = False
    retry_after_seconds: float | None = None
    endpoint_error: EndpointError | None = None

    def __str__(self) -> str:
        return f"{self.kind}: {self.message}"


def request_body(model: str, content: Mapping[str, Any], sampling: SamplingSettings) -> dict[str, Any]:
    """The JSON body of a request: it decides the reply, so that its hash can stand for it."""
    body: dict[str, Any] = {
        "model": model,
        **content,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
    }
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if sampling.seed is not None:
        body["seed"] = sampling.seed
    return body
