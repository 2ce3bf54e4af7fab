"""Names and consequences of faults, and Retry-After in all its forms."""

from __future__ import annotations

from typing import Any

import httpx2
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.faults import LONGEST_RETRY_AFTER_SECONDS, fault_of, retry_after_seconds, run_wide_error


def status_error(status: int, body: Any = None, headers: dict[str, str] | None = None) -> openai.APIStatusError:
    response = httpx2.Response(status, request=httpx2.Request("POST", "http://x/v1"), headers=headers)
    return openai.APIStatusError("it went wrong", response=response, body=body)


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
    fault = fault_of(status_error(status))
    assert (fault.kind, fault.retryable, fault.maybe_billed) == (kind, retryable, False)


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
    error = run_wide_error(status_error(status, body), "http://x/v1", "m")
    assert error is not None
    assert word in error.message


def test_what_one_request_meets_does_not() -> None:
    assert run_wide_error(status_error(400), "http://x/v1", "m") is None
    assert run_wide_error(status_error(429), "http://x/v1", "m") is None
    assert run_wide_error(ConnectionResetError(), "http://x/v1", "m") is None
