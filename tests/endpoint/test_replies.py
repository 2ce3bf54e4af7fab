"""Replies in all the shapes in which they come: whole or as a stream, with thinking beside them, cut, refused, broken off."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.replies import parse_reply
from evolcoder.endpoint.requests import Endpoint, RequestFailed, SamplingSettings, TeacherReply, request_body, sent_body

ENDPOINT = Endpoint("http://x/v1", "m")


def parsed(data: Any) -> TeacherReply:
    return parse_reply(data if isinstance(data, str) else json.dumps(data), ENDPOINT)


def completion(message: dict[str, Any], finish_reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    return {"choices": [{"message": message, "finish_reason": finish_reason}], **more}


def stream(*events: Any, end: str = "data: [DONE]\n\n") -> str:
    return "".join(f"data: {json.dumps(event)}\n\n" for event in events) + end


def piece(content: str | None = None, finish_reason: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": {"content": content, **delta}, "finish_reason": finish_reason}]}


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage"]), inner)
    ),
    max_leaves=8,
)


@given(st.text() | _json.map(json.dumps) | _json.map(lambda data: stream(data)))
def test_any_body_is_a_reply_or_garbage(text: str) -> None:
    try:
        outcome: TeacherReply | str = parsed(text)
    except RequestFailed as failure:
        outcome = failure.kind
    assert isinstance(outcome, TeacherReply) or outcome in ("garbage", "dropped")


def test_usage_and_content_may_be_missing() -> None:
    reply = parsed('{"choices":[{"message":{"role":"assistant","content":null},"finish_reason":null}]}')
    assert reply == TeacherReply("", "", 0, 0)


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_thinking_in_a_field_of_its_own_is_no_part_of_the_text_and_its_tokens_count(field: str) -> None:
    usage = {"prompt_tokens": 5, "completion_tokens": 90}
    reply = parsed(completion({"content": "Answer.", field: "Let me think."}, usage=usage))
    assert reply == TeacherReply("Answer.", "stop", 5, 90)
    assert parsed(completion({field: "Let me"}, "length", usage=usage)) == TeacherReply("", "length", 5, 90)


def test_content_in_parts_is_the_text_of_those_that_are_text() -> None:
    thinking = [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "reasoning", "text": "Hm."}]
    parts = [*thinking, {"type": "text", "text": "Answer."}]
    assert parsed(completion({"content": parts})).text == "Answer."


def test_a_refusal_in_place_of_content_is_named() -> None:
    reply = parsed(completion({"role": "assistant", "refusal": "I cannot."}))
    assert (reply.text, reply.finish_reason) == ("I cannot.", "refusal")


def test_a_reply_that_was_withheld_may_lack_its_content() -> None:
    assert parsed(completion({"role": "assistant"}, "content_filter: RECITATION")) == TeacherReply(
        "", "content_filter: RECITATION", 0, 0
    )


def test_half_a_pair_is_replaced_and_counted() -> None:
    reply = parsed('{"choices":[{"message":{"content":"a \\ud83d b"},"finish_reason":"stop"}]}')
    assert (reply.text, reply.replaced_characters) == ("a \ufffd b", 1)


@pytest.mark.parametrize(
    ("body", "kind", "maybe_billed"),
    [
        ({"error": {"message": "Rate limit exceeded: free-models-per-min.", "code": 429}}, "rate_limited", False),
        ({"error": {"code": 502, "message": "no"}, "choices": [{"message": {"content": ""}}]}, "server_error", True),
        ({"success": False, "errors": [{"code": 7000, "message": "No capacity"}]}, "server_error", False),
        ({"status": "error", "message": "Model is overloaded"}, "server_error", False),
        ({"choices": [{"error": {"code": 502, "message": "no"}, "message": {"content": "half"}}]}, "server_error", True),
        (completion({"content": "half"}, "error"), "server_error", True),
        (completion({"content": "half"}, "insufficient_system_resource"), "server_error", True),
        (stream(piece("ha"), {"error": {"message": "Overloaded", "code": 503}}), "server_error", False),
        (stream(piece("ha"), end=""), "dropped", True),
        (stream(piece("ha"), end='data: {"choi'), "garbage", True),
    ],
)
def test_an_error_under_status_200_is_no_reply(body: Any, kind: str, maybe_billed: bool) -> None:
    with pytest.raises(RequestFailed) as caught:
        parsed(body)
    assert (caught.value.kind, caught.value.maybe_billed, caught.value.retryable) == (kind, maybe_billed, True)


def test_a_stream_is_the_reply_that_it_makes_together() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}
    pieces = [piece(None, role="assistant", reasoning_content="Hm."), piece("a \ud83d"), piece("\ude00 b"), piece(None, "stop")]
    reply = parsed(": OPENROUTER PROCESSING\n\n" + stream(*pieces, usage))
    assert reply == TeacherReply("a \N{GRINNING FACE} b", "stop", 3, 4)
    assert parsed(stream(piece("a"), piece(None, "length"), end="")).finish_reason == "length"
    text = stream({"choices": [{"text": "a"}]}, {"choices": [{"text": "b", "finish_reason": "stop"}]})
    assert parsed(text.replace("\n", "\r\n")).text == "ab"


BODY = request_body("m", {"messages": []}, SamplingSettings(1.0, 0.9, 100, seed=1))


def test_an_endpoint_is_asked_in_its_own_words() -> None:
    assert sent_body(BODY, ENDPOINT) == BODY
    other = sent_body(BODY, Endpoint("http://x/v1", "m", max_tokens_field="max_completion_tokens", stream=True))
    assert "max_tokens" not in other
    assert (other["max_completion_tokens"], other["stream"], other["stream_options"]) == (100, True, {"include_usage": True})
    assert "stream" not in sent_body(BODY, Endpoint("http://x/v1", "m", stream=True), batch=True)


def test_what_is_none_is_not_sent() -> None:
    sampling = SamplingSettings(
        None, None, 100, seed=1, extra_body={"seed": None, "stream_options": None, "reasoning_effort": "low"}
    )
    body = request_body("m", {"messages": []}, sampling)
    sent = sent_body(body, Endpoint("http://x/v1", "m", stream=True))
    assert sent == {"model": "m", "messages": [], "max_tokens": 100, "reasoning_effort": "low", "stream": True}
