"""The names and consequences of refusals, in the words of many servers, and Retry-After in all its forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.endpoint.refusals import (
    LONGEST_RETRY_AFTER_SECONDS,
    failure_in_reply,
    failure_of_status,
    retry_after_seconds,
)
from evolcoder.endpoint.requests import Endpoint

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
        (400, [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}], "API key"),
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


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": "content_filter", "message": "The response was filtered.", "param": "prompt", "status": 400}}),
        (400, {"error": {"code": None, "innererror": {"code": "ResponsibleAIPolicyViolation"}, "message": "No."}}),
        (
            400,
            {
                "error": {
                    "message": "Invalid prompt: your prompt was flagged as violating our usage policy.",
                    "code": "invalid_prompt",
                }
            },
        ),
        (403, {"error": {"code": 403, "message": "Flagged.", "metadata": {"reasons": ["violence"], "flagged_input": "x"}}}),
        (400, {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}),
        (400, {"error": {"code": "1301", "message": "Input or output may contain unsafe or sensitive content."}}),
        (400, {"error": {"code": 400, "message": "Provider returned error", "metadata": {"raw": "blocked by content filter"}}}),
        (451, "unavailable"),
    ],
)
def test_a_filter_or_a_policy_refuses_one_request_for_ever(status: int, body: Any) -> None:
    failure = failure_of_status(status, {}, body, ENDPOINT)
    assert (failure.kind, failure.retryable, failure.endpoint_error) == ("refused", False, None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": "context_length_exceeded", "param": "messages", "message": "maximum context length is 4096"}}),
        (400, {"object": "error", "message": "This model's maximum context length is 4096 tokens. However, you requested 20000 "
               "tokens (18000 in the messages, 2000 in the completion).", "code": 400}),
        (400, {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 2048. This model's maximum context "
                         "length is 4096 tokens and your request has 3000 input tokens"}}),
        (400, {"error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
        (400, {"error": {"message": "The input token count (9000) exceeds the maximum number of tokens allowed (8192)."}}),
        (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096: prompt is too long"}),
        (422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."}),
        (429, {"error": {"message": "Request too large for m on tokens per min: Limit 6000, Requested 9000.",
                         "code": "rate_limit_exceeded"}}),
        (413, "Request Entity Too Large"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_model_is_too_long(status: int, body: Any) -> None:
    failure = failure_of_status(status, {}, body, ENDPOINT)
    assert (failure.kind, failure.retryable, failure.endpoint_error) == ("too_long", False, None)


@pytest.mark.parametrize(
    ("body", "advice"),
    [
        ({"error": {"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
                    "'max_completion_tokens' instead.", "param": "max_tokens", "code": "unsupported_parameter"}},
         "set teacher.max_tokens_field=max_completion_tokens"),
        ({"error": {"message": "Unsupported value: 'temperature' does not support 0.5 with this model.", "param": "temperature",
                    "code": "unsupported_value"}}, "teacher.temperature=null"),
        ({"error": {"message": "invalid temperature: only 1 is allowed for this model"}}, "teacher.temperature"),
        ({"error": {"message": "`temperature` and `top_p` cannot both be specified for this model."}}, "teacher.temperature"),
        ({"error": {"message": "This model only supports stream mode, please enable the stream parameter."}},
         "set teacher.stream=true"),
        ({"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]},
         "teacher.extra_body.seed=null"),
        ({"error": {"message": "Unrecognized request argument supplied: seed"}}, "teacher.extra_body.seed=null"),
        ({"error": {"message": "property 'top_k' is unsupported", "param": "top_k"}}, "teacher.extra_body.top_k=null"),
        ({"error": {"message": "max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
                    "param": "max_tokens"}}, "lower teacher.max_tokens"),
        ({"message": "This model's maximum context length is 4096 tokens. However, you requested 4396 tokens (300 in the "
          "messages, 4096 in the completion)."}, "lower teacher.max_tokens"),
        ({"message": "litellm.UnsupportedParamsError: m does not support parameters: ['seed']"}, "extra_body.seed=null"),
        ({"message": "'max_tokens' is too large: 8192. This model's maximum context length is 4096 tokens and your request has "
          "30 input tokens"}, "lower teacher.max_tokens"),
    ],
)  # fmt: skip
def test_a_field_that_is_not_taken_stops_the_run_with_the_setting_to_change(body: Any, advice: str) -> None:
    error = failure_of_status(400, {}, body, ENDPOINT).endpoint_error
    assert error is not None
    assert advice in error.message


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"error": {"message": "Rate limit exceeded: free-models-per-min.", "code": 429}}, "rate_limited"),
        ({"error": {"message": "Provider returned error", "code": 502}}, "server_error"),
        ({"error": {"message": "Overloaded", "type": "overloaded_error"}}, "server_error"),
        ({"error": "upstream went away"}, "server_error"),
        ({"error": {"message": "No credit.", "code": 402}}, "closed"),
        ({"error": {"message": "Insufficient balance", "code": "1113"}}, "closed"),
        ({"object": "error", "message": "The prompt is too long.", "code": 400}, "too_long"),
        ({"base_resp": {"status_code": 1002, "status_msg": "rate limit"}}, "rate_limited"),
        ({"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, "rate_limited"),
    ],
)
def test_an_error_inside_a_reply_is_read_as_the_error_that_it_is(body: Any, kind: str) -> None:
    failure = failure_in_reply(body, ENDPOINT)
    assert (failure.kind, failure.maybe_billed) == (kind, False)


_words = st.sampled_from(["error", "errors", "message", "detail", "code", "loc", "msg", "max_tokens", "429", "not supported"])
_body = st.recursive(
    st.none() | st.booleans() | st.integers() | _words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_words, inner, max_size=3),
    max_leaves=8,
)


@given(st.integers(400, 599), _body)
def test_any_error_has_a_name(status: int, body: Any) -> None:
    failure = failure_of_status(status, {}, body, ENDPOINT)
    assert (failure.kind == "closed") == (failure.endpoint_error is not None)
    assert failure.message


def test_what_a_server_says_can_be_written_down() -> None:
    failure = failure_of_status(400, {}, '{"error": {"message": "a \\ud83d\\nb"}}', ENDPOINT)
    assert failure.message == "400 a \ufffd b"


@pytest.mark.parametrize(
    "said",
    ["This is not allowed; please stop.", "The seed of doubt must be planted elsewhere.", "Messages must be a list.", "No."],
)
def test_other_words_name_no_setting(said: str) -> None:
    failure = failure_of_status(400, {}, {"error": {"message": said}}, ENDPOINT)
    assert (failure.kind, failure.endpoint_error) == ("rejected", None)


@pytest.mark.parametrize(
    ("status", "body", "seconds"),
    [
        (429, {"error": {"message": "Rate limit reached. Please try again in 6ms.", "code": "rate_limit_exceeded"}}, 0.006),
        (429, [{"error": {"code": 429, "message": "You exceeded your current quota. Please retry in 26.5s."}}], 26.5),
        (429, "slow down", None),
        (400, {"__type": "x", "code": "ThrottlingException", "message": "Too fast."}, None),
    ],
)
def test_a_limit_may_say_how_long_it_lasts(status: int, body: Any, seconds: float | None) -> None:
    failure = failure_of_status(status, {}, body, ENDPOINT)
    assert (failure.kind, failure.retry_after_seconds) == ("rate_limited", seconds)
