"""Replies, the names and consequences of refusals, and Retry-After in all its forms."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.replies import LONGEST_RETRY_AFTER_SECONDS, failure_of_status, parse_reply, retry_after_seconds
from evolcoder.endpoint.requests import Endpoint, RequestFailed, TeacherReply

ENDPOINT = Endpoint("http://x/v1", "m")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:01:30 GMT"}, 30.0),
        ({"retry-after": "-5"}, 0.0),
        ({"retry-after": "1e9"}, LONGEST_RETRY_AFTER_SECONDS),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=60.0) == seconds


@given(st.text(max_size=20))
def test_no_header_breaks_the_reading(value: str) -> None:
    seconds = retry_after_seconds({"retry-after": value}, now=0.0)
    assert seconds is None or 0 <= seconds <= LONGEST_RETRY_AFTER_SECONDS


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(429, "rate_limited", True), (500, "server_error", True), (408, "server_error", True), (400, "rejected", False)],
)
def test_a_status_has_its_fault(status: int, kind: str, retryable: bool) -> None:
    failure = failure_of_status(status, {}, None, ENDPOINT)
    assert (failure.kind, failure.retryable, failure.maybe_billed, failure.endpoint_error) == (kind, retryable, False, None)


@pytest.mark.parametrize(
    ("status", "body", "word"),
    [
        (401, {"message": "Incorrect API key"}, "API key"),
        (402, {"message": "Insufficient balance"}, "credit"),
        (403, None, "forbids"),
        (404, '{"error": {"message": "no such model"}}', "no such model"),
        (429, {"code": "insufficient_quota"}, "quota"),
        (400, {"error": {"code": "model_not_found"}}, "model"),
    ],
)
def test_what_every_request_would_meet_stops_the_run(status: int, body: Any, word: str) -> None:
    error = failure_of_status(status, {}, body, ENDPOINT).endpoint_error
    assert error is not None
    assert word in error.message


@pytest.mark.parametrize("status", [400, 429])
def test_what_one_request_meets_does_not(status: int) -> None:
    assert failure_of_status(status, {}, {"error": {"code": "other"}}, ENDPOINT).endpoint_error is None


@pytest.mark.parametrize("body", [{"detail": "no"}, "no", ["no"], '{"error": "no"}', {"error": {"message": "no"}}])
def test_a_refusal_says_what_the_endpoint_said(body: Any) -> None:
    assert "no" in failure_of_status(400, {}, body, ENDPOINT).message


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["choices", "message", "content", "usage"]), inner)
    ),
    max_leaves=8,
)


@given(st.text() | _json.map(json.dumps))
def test_any_body_is_a_reply_or_garbage(text: str) -> None:
    try:
        outcome: TeacherReply | str = parse_reply(text)
    except RequestFailed as failure:
        outcome = failure.kind
    assert isinstance(outcome, TeacherReply) or outcome == "garbage"


def test_usage_and_content_may_be_missing() -> None:
    reply = parse_reply('{"choices":[{"message":{"role":"assistant","content":null},"finish_reason":null}]}')
    assert reply == TeacherReply("", "", 0, 0)
