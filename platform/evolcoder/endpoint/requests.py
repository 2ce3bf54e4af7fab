"""What is asked of an OpenAI-compatible endpoint, and what comes back: plain data and its JSON form. Sends nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from evolcoder.endpoint.faults import Fault
from evolcoder.endpoint.transport import TransportName


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


class RequestFailed(Exception):  # noqa: N818 - not an error of the run: one row ends with this as its reason
    """One request got no reply: all attempts are used up, or the endpoint refuses this very request."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(kind, message)
        self.kind = kind
        self.message = message

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


def parse_reply(text: str) -> TeacherReply:
    """The reply in a chat completion's or a completion's JSON.

    Raises:
        Fault: ``garbage``, for whatever is no such JSON.
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
        raise Fault("garbage", "the reply's content is no text", maybe_billed=True)
    return TeacherReply(content or "", reason, max(prompt, 0), max(completion, 0))


def _garbage(text: str) -> Fault:
    return Fault("garbage", f"the reply is no completion: {' '.join(text.split())[:80]!r}", maybe_billed=True)
