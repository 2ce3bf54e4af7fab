"""From what an endpoint sent with status 200 to a reply, or to the failure that it stands for. Pure: sends nothing.

A reply may be one JSON object or server-sent events, a chat completion or a completion of raw text. It passes through
``encodable`` here, and nowhere else. How it ended has many names, which ``ending`` reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from evolcoder.endpoint.refusals import failure_in_reply
from evolcoder.endpoint.requests import Endpoint, RequestFailed, TeacherReply
from evolcoder.text.encodable import encodable_text

_NATURAL = {
    "stop", "eos", "eos_token", "eos_found", "end_turn", "stop_sequence", "stop_token", "end", "complete", "completed",
    "finish", "finished", "done", "none", "null",
}  # fmt: skip
_CUT = {
    "length", "max_tokens", "max_length", "max_output_tokens", "max_completion_tokens", "model_length", "token_limit",
    "context_length", "model_context_window_exceeded",
}  # fmt: skip
_FILTERED = {
    "content_filter", "content_filtered", "content_policy", "safety", "image_safety", "recitation", "sensitive", "refusal",
    "prohibited_content", "blocklist", "spii", "guardrail", "guardrail_intervened",
}  # fmt: skip
_BROKEN_OFF = {
    "error", "network_error", "insufficient_system_resource", "abort", "aborted", "cancelled", "canceled", "timeout",
}  # fmt: skip
"""Reasons to finish that another try may mend."""
_MAY_STAND_FOR_CONTENT = {"content", "refusal", "reasoning_content", "reasoning", "tool_calls", "function_call"}
"""A message without text may be all thinking, a refusal, or a call that nobody asked for."""


def ending(finish_reason: str) -> str:
    """``whole``, ``cut`` (at the limit of tokens), ``filtered`` (withheld in part or whole), or any other reason's own name.

    An endpoint that gives no reason is taken to have ended by itself.
    """
    if not finish_reason.strip():
        return "whole"
    name = re.sub(r"[^a-z0-9]+", "_", finish_reason.lower().rpartition(".")[2]).strip("_").removeprefix("finish_reason_")
    if name in _NATURAL:
        return "whole"
    if name in _CUT:
        return "cut"
    # Some add what was found: `content_filter: RECITATION`.
    return "filtered" if name.startswith(tuple(_FILTERED)) else name[:40] or "other"


def parse_reply(text: str, endpoint: Endpoint) -> TeacherReply:
    """The reply in the text that came with status 200.

    Raises:
        RequestFailed: ``garbage``, for whatever is no reply; ``dropped``, for one that broke off; or what the error in it says.
    """
    try:
        data = _joined(text, endpoint) if re.match(r"\s*(?:data|event|id|retry)?:", text) else json.loads(text)
        return reply_of(data, endpoint)
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise _garbage(text) from None


def reply_of(data: Any, endpoint: Endpoint) -> TeacherReply:
    """The reply in a decoded completion. Raises as ``parse_reply`` does."""
    try:
        choices = data.get("choices")
        named = data.get("errors") or data.get("base_resp") or data.get("detail") or data.get("object") == "error"
        told = any(isinstance(data.get(key), str) for key in ("message", "msg"))
        told = told and bool({"code", "status", "statusCode", "success", "type"} & set(data))
        if data.get("error") or (not choices and (named or told)):
            raise replace(failure_in_reply(data, endpoint), maybe_billed=bool(choices))
        choice = choices[0]
        if choice.get("error"):
            raise replace(failure_in_reply(choice, endpoint), maybe_billed=True)
        message = choice["message"] if "message" in choice else {"content": choice["text"]}
        content = message.get("content")
        usage = data.get("usage") or {}
        prompt, completion = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
        reason = str(choice.get("finish_reason") or "")
        if ending(reason) == "whole" and not _MAY_STAND_FOR_CONTENT & set(message):
            raise KeyError("content")
        if not content and message.get("refusal"):
            content, reason = str(message["refusal"]), "refusal"
    except (ValueError, LookupError, TypeError, AttributeError):
        raise _garbage(str(data)) from None
    if reason.lower() in _BROKEN_OFF:
        raise RequestFailed("server_error", f"the reply ended with finish_reason {reason}", maybe_billed=True)
    if content is not None and not isinstance(content, str | list):
        raise RequestFailed("garbage", "the reply's content is no text", maybe_billed=True)
    text, replaced = encodable_text(_text_of(content))
    return TeacherReply(text, encodable_text(reason)[0], max(prompt, 0), max(completion, 0), replaced)


def _joined(text: str, endpoint: Endpoint) -> dict[str, Any]:
    """The completion that server-sent events make together, as if it had come in one piece."""
    contents: list[str] = []
    refusals: list[str] = []
    whole: dict[str, Any] = {"finish_reason": None}
    usage: Any = None
    ended = False
    for line in re.split(r"\r\n|\r|\n", text):
        name, _, value = line.partition(":")
        if name != "data" or not value.strip():
            continue
        if value.strip() == "[DONE]":
            ended = True
            break
        event = json.loads(value)
        if event.get("error"):
            raise failure_in_reply(event, endpoint)
        usage = event.get("usage") or usage
        for choice in event.get("choices") or ():
            if choice.get("error"):
                raise failure_in_reply(choice, endpoint)
            if choice.get("index"):
                continue
            delta = choice.get("delta") or choice.get("message") or choice
            contents.append(_text_of(delta.get("content") if delta is not choice else choice.get("text")))
            refusals.append(str(delta.get("refusal") or ""))
            whole["finish_reason"] = choice.get("finish_reason") or whole["finish_reason"]
    if not ended and whole["finish_reason"] is None:
        raise RequestFailed("dropped", "the stream ended before the reply did", maybe_billed=True)
    message = {"content": "".join(contents) or None, "refusal": "".join(refusals)}
    return {"choices": [whole | {"message": message}], "usage": usage}


def _text_of(content: Any) -> str:
    """Content is text, or a list of parts of which some are text (others are thinking, or pictures)."""
    if isinstance(content, list):
        parts = [part for part in content if isinstance(part, Mapping) and part.get("type", "text") in ("text", "output_text")]
        return "".join(str(part.get("text") or "") for part in parts)
    return content if isinstance(content, str) else ""


def _garbage(text: str) -> RequestFailed:
    return RequestFailed("garbage", f"the reply is no completion: {' '.join(text.split())[:80]!r}", maybe_billed=True)
