"""Requests as clients send them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evolcoder.serve.engines.base import ChatPrompt, InfillPrompt, TextPrompt, TokenPrompt
from evolcoder.serve.protocol import ChatRequest, CompletionRequest, RequestError, parse_request

MESSAGES = [{"role": "user", "content": "hi"}]


def completion(**fields: Any) -> CompletionRequest:
    return parse_request(CompletionRequest, json.dumps(fields).encode())


def chat(**fields: Any) -> ChatRequest:
    return parse_request(ChatRequest, json.dumps({"messages": MESSAGES, **fields}).encode())


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("a", (TextPrompt("a"),)),
        (["a", "b"], (TextPrompt("a"), TextPrompt("b"))),
        ([1, 2], (TokenPrompt((1, 2)),)),
        ([[1], [2, 3]], (TokenPrompt((1,)), TokenPrompt((2, 3)))),
    ],
)
def test_the_four_kinds_of_prompt(prompt: Any, expected: Any) -> None:
    assert completion(prompt=prompt).generation_request().prompts == expected


@pytest.mark.parametrize("suffix", [None, ""])
def test_no_suffix_is_no_infilling(suffix: str | None) -> None:
    assert completion(prompt="a", suffix=suffix).generation_request().prompts == (TextPrompt("a"),)


def test_a_suffix_asks_for_infilling() -> None:
    assert completion(prompt="a", suffix="b").generation_request().prompts == (InfillPrompt("a", "b"),)


def test_defaults_are_openais() -> None:
    text, talk = completion(prompt="a").generation_request(), chat().generation_request()
    assert (text.sampling.max_tokens, talk.sampling.max_tokens) == (16, None)
    assert (text.sampling.temperature, text.sampling.top_p, text.n) == (1.0, 1.0, 1)
    assert text.sampling.logprobs is None


def test_null_counts_as_absent() -> None:
    names = ["n", "temperature", "top_p", "seed", "stop", "stream", "logprobs", "max_tokens", "presence_penalty", "logit_bias"]
    assert completion(prompt="a", **dict.fromkeys(names)).generation_request() == completion(prompt="a").generation_request()


def test_unknown_fields_are_ignored() -> None:
    assert completion(prompt="a", user="me", wormhole=[1]).generation_request() == completion(prompt="a").generation_request()


def test_stop_may_be_one_or_many() -> None:
    assert completion(prompt="a", stop="x").generation_request().sampling.stop == ("x",)
    assert completion(prompt="a", stop=["x", "", "y"]).generation_request().sampling.stop == ("x", "y")


def test_chat_content_may_be_in_parts_and_developers_are_the_system() -> None:
    messages = [{"role": "developer", "content": [{"type": "text", "text": "be "}, {"type": "text", "text": "brief"}]}]
    assert chat(messages=messages).generation_request().prompts == (ChatPrompt(({"role": "system", "content": "be brief"},)),)


def test_max_completion_tokens_is_the_newer_name() -> None:
    assert chat(max_tokens=5, max_completion_tokens=7).generation_request().sampling.max_tokens == 7


def test_chat_logprobs() -> None:
    assert chat(logprobs=True, top_logprobs=3).generation_request().sampling.logprobs == 3
    assert chat(logprobs=True).generation_request().sampling.logprobs == 0
    assert chat(logprobs=False).generation_request().sampling.logprobs is None


@pytest.mark.parametrize(
    ("fields", "words", "param"),
    [
        ({"prompt": "a", "temperature": 3}, "temperature: Input should be less than or equal to 2", "temperature"),
        ({"prompt": "a", "top_p": 0}, "top_p: Input should be greater than 0", "top_p"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens", "max_tokens"),
        ({"prompt": "a", "n": 0}, "n: ", "n"),
        ({"prompt": {"a": 1}}, "prompt: the value has none of the types", "prompt"),
        ({"prompt": "a", "echo": True}, "Echo=true is not supported", None),
        ({"prompt": "a", "best_of": 3}, "Best_of other than n", None),
        ({"prompt": ["a", "b"], "suffix": "c"}, "Suffix needs a prompt that is one string", None),
        ({"prompt": ["a"] * 200, "n": 2}, "more than 256 answers", None),
        ({"prompt": "a", "logit_bias": {"5": 1}}, "Logit_bias is not supported", None),
    ],
)
def test_wrong_completions_are_refused_by_name(fields: dict[str, Any], words: str, param: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        completion(**fields)
    assert words in caught.value.message
    assert (caught.value.status, caught.value.param) == (400, param)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
        ({"tools": [{"type": "function"}]}, "ools are not supported"),
        ({"response_format": {"type": "json_object"}}, "esponse_format other than text"),
        ({"top_logprobs": 2}, "op_logprobs needs logprobs"),
    ],
)
def test_wrong_chats_are_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError) as caught:
        chat(**fields)
    assert words in caught.value.message


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100000])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="not valid JSON"):
        parse_request(CompletionRequest, body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*CompletionRequest.model_fields, "messages", "other"]), JSON, max_size=5) | JSON)
def test_any_json_is_a_request_or_an_error_in_openais_shape(body: Any) -> None:
    for kind in (CompletionRequest, ChatRequest):
        request, refused = _parsed(kind, body)
        if refused is not None:
            assert (refused.status, bool(refused.message)) == (400, True)
        else:
            assert 0 <= request.sampling.temperature <= 2
            assert 1 <= len(request.prompts) * request.n <= 256


def _parsed(kind: Any, body: Any) -> tuple[Any, RequestError | None]:
    try:
        return parse_request(kind, json.dumps(body).encode()).generation_request(), None
    except RequestError as error:
        return None, error
