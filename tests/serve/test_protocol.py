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
        ({"prompt": "a", "top_p": -0.1}, "top_p: Input should be greater than or equal to 0", "top_p"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1", "max_tokens"),
        ({"prompt": "a", "n": 0}, "n: Input should be greater than or equal to 1", "n"),
        ({"prompt": {"a": 1}}, "prompt: must be a string, a list of strings, a list of tokens", "prompt"),
        ({"prompt": ["a", [1]]}, "prompt: must be a string, a list of strings, a list of tokens", "prompt"),
        ({"prompt": [1, "a"]}, "prompt: must be a string, a list of strings, a list of tokens", "prompt"),
        ({"prompt": [[1, True]]}, "prompt: must be a string, a list of strings, a list of tokens", "prompt"),
        ({"prompt": "a", "echo": True, "max_tokens": 0, "logprobs": 1}, "echo: the prompt is not repeated here", "echo"),
        ({"prompt": "a", "best_of": 3}, "best_of: a value other than that of n", "best_of"),
        ({"prompt": "a", "best_of": 3, "n": 2}, "best_of: a value other than that of n", "best_of"),
        ({"prompt": ["a", "b"], "suffix": "c"}, "suffix: it needs a prompt that is one string", "suffix"),
        ({"prompt": [1], "suffix": "c"}, "suffix: it needs a prompt that is one string", "suffix"),
        ({"prompt": ["a"] * 200, "n": 2}, "more than 256 answers", "prompt"),
        ({"prompt": ["a"] * 257}, "more than 256 answers", "prompt"),
        ({"prompt": "a", "logit_bias": {"5": 1}}, "logit_bias: this is not supported here", "logit_bias"),
        ({"prompt": "a", "guided_json": {"type": "object"}}, "guided_json: this is not supported here", "guided_json"),
        ({"prompt": "a", "stop": "x" * 300}, "stop[0]: String should have at most 256 characters", "stop"),
        ({"prompt": "a", "stop": ["y", "x" * 300]}, "stop[1]: String should have at most 256 characters", "stop"),
        ({"prompt": "a", "stop": ["y"] * 65}, "stop: List should have at most 64 items", "stop"),
        ({"prompt": "a", "stop": 5}, "stop: Input should be a valid list", "stop"),
        ({"prompt": "a", "stream_options": {"include_usage": 7}}, "stream_options.include_usage: ", "stream_options"),
    ],
)
def test_wrong_completions_are_refused_by_name(fields: dict[str, Any], words: str, param: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        completion(**fields).generation_request()
    assert words in caught.value.message
    assert (caught.value.status, caught.value.param) == (400, param)


def _content(content: object) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": content}]}


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"messages": []}, "messages: List should have at least 1 item"),
        ({"messages": None}, "messages: Field required"),
        ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role: Input should be 'system'"),
        (_content([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "data:"}}]),
         "messages[1].content: part 1 has the type image_url, and the model reads text alone"),
        (_content([{"type": "input_audio", "input_audio": {}}]), "messages[1].content: part 0 has the type input_audio"),
        (_content([{"type": "text"}]), "messages[1].content: part 0 has no text"),
        (_content(["a"]), "messages[1].content: must be a string or a list of text parts"),
        (_content({"type": "text", "text": "a"}), "messages[1].content: must be a string or a list of text parts"),
        (_content(5), "messages[1].content: must be a string or a list of text parts"),
        ({"tools": [{"type": "function"}]}, "tools: tools are not supported here; leave them out, or set tool_choice to none"),
        ({"functions": [{"name": "f"}]}, "functions: functions are not supported here"),
        ({"response_format": {"type": "json_object"}}, "response_format: answers other than text"),
        ({"modalities": ["text", "audio"]}, "modalities: answers other than text"),
        ({"continue_final_message": True}, "continue_final_message: "),
        ({"add_generation_prompt": False}, "add_generation_prompt: "),
        ({"top_logprobs": 2}, "top_logprobs: it needs logprobs to be true"),
        ({"max_completion_tokens": 0}, "max_completion_tokens: Input should be greater than or equal to 1"),
        ({"max_tokens": -1}, "max_tokens: Input should be greater than or equal to 1"),
    ],
)  # fmt: skip
def test_wrong_chats_are_refused_by_name(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(RequestError) as caught:
        chat(**fields).generation_request()
    assert words in caught.value.message
    assert caught.value.message.startswith(f"{caught.value.param}")


def test_what_asks_for_nothing_is_no_reason_to_refuse() -> None:
    harmless = {
        "tools": [{"type": "function"}], "tool_choice": "none", "functions": [{}], "function_call": "none", "logit_bias": {},
        "response_format": {"type": "text"}, "modalities": ["text"], "add_generation_prompt": True, "audio": None,
    }  # fmt: skip
    assert chat(**harmless).generation_request() == chat().generation_request()
    assert completion(prompt="a", echo=False, best_of=1).generation_request() == completion(prompt="a").generation_request()
    assert completion(prompt="a", best_of=2, n=2).generation_request().n == 2


@pytest.mark.parametrize(
    ("kind", "body", "field"),
    [
        (CompletionRequest, '{"prompt": "x \\ude00 y"}', "prompt"),
        (CompletionRequest, '{"prompt": ["a", "\\ud83d"]}', "prompt[1]"),
        (CompletionRequest, '{"prompt": "a", "suffix": "\\ud83dx"}', "suffix"),
        (CompletionRequest, '{"prompt": "a", "stop": ["\\uD83D"]}', "stop[0]"),
        (CompletionRequest, '{"prompt": "a", "model": "\\uD83D"}', "model"),
        (CompletionRequest, '{"prompt": "\\ude00\\ud83d"}', "prompt"),
        (CompletionRequest, '{"prompt": "a", "user": {"\\ud83d": 1}}', "user.\\ud83d"),
        (ChatRequest, '{"messages": [{"role": "user", "content": "cut \\ud83d"}]}', "messages[0].content"),
        (ChatRequest, '{"messages": [{"role": "\\ud83d", "content": ""}]}', "messages[0].role"),
        (ChatRequest, '{"messages": [{"role": "user", "content": [{"type": "text", "text": "\\ud83d"}]}]}',
         "messages[0].content[0].text"),
    ],
)  # fmt: skip
def test_half_a_surrogate_pair_is_refused_by_field(kind: Any, body: str, field: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse_request(kind, body.encode())
    assert caught.value.message == f"{field}: it holds half of a surrogate pair, which is no character; send whole characters."
    assert caught.value.param == field.partition(".")[0].partition("[")[0]


def test_whole_pairs_and_a_byte_order_mark_are_fine() -> None:
    body = b'\xef\xbb\xbf{"prompt": "\\ud83d\\ude00\\u0000"}'
    assert parse_request(CompletionRequest, body).generation_request().prompts == (TextPrompt("\U0001f600\0"),)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100000, b'{"prompt": "\xed\xa0\xbd"}', b"1" * 5000])
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="not valid JSON"):
        parse_request(CompletionRequest, body)


@pytest.mark.parametrize("body", [b"[]", b"5", b'"a"', b"null"])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="not a JSON object"):
        parse_request(CompletionRequest, body)


def test_top_p_may_be_zero() -> None:
    assert completion(prompt="a", top_p=0).generation_request().sampling.top_p == 0


TEXT = st.text(max_size=5) | st.text(st.characters(exclude_categories=[]), max_size=5)
"""The second may hold halves of surrogate pairs."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*CompletionRequest.model_fields, "messages", "other"]), JSON, max_size=5) | JSON)
def test_any_json_is_a_request_or_an_error_in_openais_shape(body: Any) -> None:
    for kind in (CompletionRequest, ChatRequest):
        request, refused = _parsed(kind, body)
        if refused is not None:
            assert (refused.status, bool(refused.message.encode())) == (400, True)
        else:
            assert 0 <= request.sampling.temperature <= 2
            assert 1 <= len(request.prompts) * request.n <= 256


def _parsed(kind: Any, body: Any) -> tuple[Any, RequestError | None]:
    try:
        return parse_request(kind, json.dumps(body).encode()).generation_request(), None
    except RequestError as error:
        return None, error
