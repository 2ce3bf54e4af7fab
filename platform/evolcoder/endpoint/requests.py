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
    max_tokens_field: str = "max_tokens"
    """By which name it takes the limit of a reply's tokens."""
    stream: bool = False
    """Whether replies are asked for as server-sent events."""
    settings_section: str = "teacher"
    """The section of the settings that messages tell the user to change."""


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """How the endpoint is to draw its answer. What is None or empty is not sent.

    ``extra_body`` holds further fields of the request; one that is None keeps a field from being sent.
    """

    temperature: float | None
    top_p: float | None
    max_tokens: int
    stop: tuple[str, ...] = ()
    seed: int | None = None
    extra_body: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TeacherReply:
    """One answer. Token counts are the server's; both are 0 when it reports no usage. ``text`` may be empty.

    ``replaced_characters``: how many could not be encoded, and are U+FFFD in ``text``.
    """

    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    replaced_characters: int = 0


FOR_EVER = frozenset({"refused", "too_long"})
"""Kinds of failures that no other try can mend."""


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
    settings = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_tokens,
        "stop": list(sampling.stop) or None,
        "seed": sampling.seed,
    }
    given = {name: value for name, value in settings.items() if value is not None}
    return {"model": model, **content, **given, **sampling.extra_body}


def sent_body(body: Mapping[str, Any], endpoint: Endpoint, batch: bool = False) -> dict[str, Any]:
    """The same request in the words of one endpoint. The journal's key does not depend on them."""
    sent = dict(body)
    sent[endpoint.max_tokens_field] = sent.pop("max_tokens")
    if endpoint.stream and not batch:
        sent = {"stream_options": {"include_usage": True}} | sent | {"stream": True}
    return {name: value for name, value in sent.items() if value is not None}
