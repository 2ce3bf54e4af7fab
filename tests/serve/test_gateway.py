"""The HTTP side over a real socket, with an engine that follows a script."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import openai
import pytest
import requests
import uvicorn
from tests.ports import free_port

from evolcoder.serve.engines.base import (
    Accepted,
    EngineError,
    EngineStats,
    GenerationRequest,
    Piece,
    Rejected,
    TextPrompt,
    Token,
    TokenLogprob,
)
from evolcoder.serve.gateway import Gateway
from evolcoder.serve.replies import ReplyFormat
from evolcoder.settings.run import ServeSettings


class ScriptedEngine:
    """Says ``words``, one piece each; ``breaks`` at once, ``fails`` later, ``hangs`` and ``rejects`` as told.

    Notes what it was asked.
    """

    def __init__(self, words: tuple[str, ...] = ("Hel", "lo"), **script: Any) -> None:
        self.words, self.script = words, script
        self.asked: list[tuple[GenerationRequest, bool]] = []
        self.left = 0

    async def answer(self, request: GenerationRequest, streamed: bool) -> AsyncGenerator[Accepted | Rejected | Piece, None]:
        self.asked.append((request, streamed))
        if "breaks" in self.script:
            raise self.script["breaks"]
        if "rejects" in self.script:
            yield self.script["rejects"]
            return
        yield Accepted(7)
        try:
            for index in range(len(request.prompts) * request.n):
                if not streamed:
                    yield Piece(index, "".join(self.words), len(self.words), "stop")
                    continue
                for number, word in enumerate(self.words):
                    reason = "stop" if number == len(self.words) - 1 else None
                    token = Token(number, word, word.encode())
                    entry = TokenLogprob(token, -0.5, ((token, -0.5),), len("".join(self.words[:number])))
                    logprobs = (entry,) if request.sampling.logprobs is not None else ()
                    yield Piece(index, word, 1, reason, logprobs)  # type: ignore[arg-type]
                    if "fails" in self.script:
                        raise self.script["fails"]
            if "hangs" in self.script:
                await asyncio.sleep(3600)
        except (asyncio.CancelledError, GeneratorExit):
            self.left += 1
            raise

    async def stats(self) -> EngineStats:
        if "dead" in self.script:
            raise EngineError("gone")
        return EngineStats(3, 2, 1, 1, 1, 0, 2048, "slots")


@contextmanager
def gateway(engine: ScriptedEngine, keys: tuple[str, ...] = (), max_concurrency: int = 8, timeout: float = 60) -> Iterator[str]:
    """The gateway on a free port; gives its address."""
    port = free_port()
    settings = ServeSettings(max_concurrency=max_concurrency, request_timeout_seconds=timeout)
    app = Gateway(engine, "m", keys, settings).app()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()


def post(address: str, path: str = "completions", **fields: Any) -> requests.Response:
    body = fields.pop("body", None) or json.dumps({"model": "m", "prompt": "a", **fields})
    return requests.post(f"{address}/v1/{path}", data=body, timeout=30, stream=bool(fields.get("stream")))


def events(reply: requests.Response) -> list[Any]:
    """The events of a stream, which holds nothing but them and ends as it should."""
    lines = reply.text.split("\n\n")
    assert lines.pop() == ""
    assert all(line.startswith("data: ") for line in lines)
    assert lines.pop() == "data: [DONE]"
    return [json.loads(line.removeprefix("data: ")) for line in lines]


def count(address: str, name: str) -> float:
    page = requests.get(f"{address}/metrics", timeout=30).text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


def eventually(condition: Callable[[], bool]) -> None:
    while not condition():  # the suite's own time limit ends what never comes
        time.sleep(0.02)


def test_a_whole_completion() -> None:
    engine = ScriptedEngine()
    with gateway(engine) as address:
        reply = post(address, n=2).json()
        assert [choice["text"] for choice in reply["choices"]] == ["Hello", "Hello"]
        assert [choice["index"] for choice in reply["choices"]] == [0, 1]
        assert reply["usage"] == {"prompt_tokens": 7, "completion_tokens": 4, "total_tokens": 11}
        assert (reply["object"], reply["model"]) == ("text_completion", "m")
    assert engine.asked[0][0].prompts == (TextPrompt("a"),)


def test_a_streamed_chat_as_the_openai_client_reads_it() -> None:
    with gateway(ScriptedEngine()) as address:
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="unused")
        chunks = list(
            client.chat.completions.create(
                model="m",
                messages=[{"role": "user", "content": "hi"}],
                stream=True,
                logprobs=True,
                stream_options={"include_usage": True},
            )
        )
        assert chunks[0].choices[0].delta.role == "assistant"
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Hello"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[1].choices[0].logprobs is not None
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.total_tokens == 9
        assert len({chunk.id for chunk in chunks}) == 1


def test_as_many_alternatives_as_were_asked_for_whatever_their_names() -> None:
    half, other, end = Token(1, r"bytes:\xf0", b"\xf0"), Token(2, r"bytes:\xf0", b"\xf0"), Token(3, "<|end|>", b"")
    entry = TokenLogprob(half, -0.1, ((half, -0.1), (other, -0.2), (end, -0.3)), 5)
    text = ReplyFormat(False, "m").chunk(Piece(0, "\U0001f600", 1, None, (entry,)))["choices"][0]["logprobs"]
    assert text == {
        "tokens": [r"bytes:\xf0"],
        "token_logprobs": [-0.1],
        "top_logprobs": [{r"bytes:\xf0": -0.1, "token_id:2": -0.2, "<|end|>": -0.3}],
        "text_offset": [5],
    }
    chat = ReplyFormat(True, "m").chunk(Piece(0, "\U0001f600", 1, None, (entry,)))["choices"][0]["logprobs"]
    assert chat["content"][0]["bytes"] == [0xF0]
    assert [top["bytes"] for top in chat["content"][0]["top_logprobs"]] == [[0xF0], [0xF0], []]


def test_a_stream_is_events_and_nothing_else() -> None:
    with gateway(ScriptedEngine()) as address:
        reply = post(address, stream=True, logprobs=1)
        assert reply.headers["content-type"].startswith("text/event-stream")
        chunks = events(reply)
        assert [chunk["choices"][0]["text"] for chunk in chunks] == ["Hel", "lo"]
        assert [chunk["choices"][0]["logprobs"]["text_offset"] for chunk in chunks] == [[0], [3]]
        assert not any("usage" in chunk for chunk in chunks)


@pytest.mark.parametrize(
    ("fields", "status", "code", "param"),
    [
        ({"model": "other"}, 404, "model_not_found", "model"),
        ({"temperature": -1}, 400, None, "temperature"),
        ({"body": "{"}, 400, None, None),
        ({"body": "x" * (17 * 2**20)}, 413, None, None),
    ],
)
def test_errors_are_in_openais_shape(fields: dict[str, Any], status: int, code: str | None, param: str | None) -> None:
    with gateway(ScriptedEngine()) as address:
        reply = post(address, **fields)
        assert reply.status_code == status
        error = reply.json()["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert (error["code"], error["param"]) == (code, param)
        assert count(address, f'evolcoder_requests_total{{route="/v1/completions",status="{status}"}}') == 1


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_engine_rejects_is_a_400(stream: bool) -> None:
    engine = ScriptedEngine(rejects=Rejected("too long", "context_length_exceeded", "prompt"))
    with gateway(engine) as address:
        reply = post(address, stream=stream)
        assert reply.status_code == 400
        assert reply.json()["error"]["code"] == "context_length_exceeded"


def test_an_unknown_route_is_a_404_in_openais_shape() -> None:
    with gateway(ScriptedEngine()) as address:
        reply = post(address, "embeddings")
        assert (reply.status_code, reply.json()["error"]["message"]) == (404, "POST /v1/embeddings: Not Found.")


def test_without_the_key_only_health_answers() -> None:
    with gateway(ScriptedEngine(), keys=("secret",)) as address:
        for path in ("/v1/models", "/v1/models/m", "/metrics"):
            assert requests.get(address + path, timeout=30).status_code == 401
        assert post(address, body="{").status_code == 401
        assert requests.get(f"{address}/health", timeout=30).status_code == 200
        client = openai.OpenAI(base_url=f"{address}/v1", api_key="secret")
        assert client.completions.create(model="m", prompt="a").choices[0].text == "Hello"
        with pytest.raises(openai.AuthenticationError, match="Incorrect API key"):
            openai.OpenAI(base_url=f"{address}/v1", api_key="wrong").models.list()


def test_models_tell_their_context_length() -> None:
    with gateway(ScriptedEngine()) as address:
        (model,) = requests.get(f"{address}/v1/models", timeout=30).json()["data"]
        assert (model["id"], model["max_model_len"]) == ("m", 2048)
        assert requests.get(f"{address}/v1/models/m", timeout=30).json() == model
        assert requests.get(f"{address}/v1/models/other", timeout=30).status_code == 404


def test_more_than_the_limit_are_sent_away_with_a_429() -> None:
    engine = ScriptedEngine(hangs=True)
    with gateway(engine, max_concurrency=1) as address:
        first = post(address, stream=True)
        second = post(address)
        assert second.status_code == 429
        assert second.headers["retry-after"] == "1"
        assert second.json()["error"]["code"] == "rate_limit_exceeded"
        first.close()
        eventually(lambda: count(address, "evolcoder_requests_in_flight") == 0)


def test_who_leaves_is_no_longer_worked_for() -> None:
    engine = ScriptedEngine(hangs=True)
    with gateway(engine) as address:
        post(address, stream=True).close()
        eventually(lambda: engine.left == 1)
        eventually(lambda: count(address, 'evolcoder_requests_total{route="/v1/completions",status="499"}') == 1)


def test_an_answer_that_takes_too_long_is_ended() -> None:
    engine = ScriptedEngine(hangs=True)
    with gateway(engine, timeout=0.2) as address:
        assert post(address).status_code == 408
        streamed = post(address, stream=True).text
        assert '"code": "timeout"' in streamed
        assert "[DONE]" not in streamed
        assert engine.left == 2


@pytest.mark.parametrize("fault", [EngineError("out of memory"), ValueError("out of memory"), KeyError("out of memory")])
def test_a_failing_engine_is_said_to_fail(fault: Exception) -> None:
    with gateway(ScriptedEngine(fails=fault)) as address:
        reply = post(address, stream=True)
        assert "out of memory" in reply.text
        assert "[DONE]" not in reply.text
        assert count(address, 'evolcoder_requests_total{route="/v1/completions",status="500"}') == 1


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_that_meets_the_unexpected_fails_alone_and_frees_its_place(stream: bool) -> None:
    engine = ScriptedEngine(breaks=TypeError("no such thing"))
    with gateway(engine, max_concurrency=1) as address:
        for _ in range(2):
            reply = post(address, stream=stream)
            assert reply.status_code == 500
            assert reply.json()["error"]["message"] == "This request could not be answered (TypeError: no such thing)."
        engine.script.clear()
        assert post(address).status_code == 200
        assert count(address, "evolcoder_requests_in_flight") == 0
        assert count(address, 'evolcoder_requests_total{route="/v1/completions",status="500"}') == 2


class Panic(BaseException):
    """As the tokenizers library raises where its Rust code panics: no Exception."""


@pytest.mark.parametrize("when", ["breaks", "fails"])
@pytest.mark.parametrize("stream", [False, True])
def test_no_kind_of_end_keeps_a_place(stream: bool, when: str) -> None:
    """Not even one that no handler of exceptions is made for."""
    engine = ScriptedEngine(**{when: Panic("no such thing")})
    with gateway(engine, max_concurrency=1) as address:
        with suppress(requests.RequestException):
            assert post(address, stream=stream).text is not None
        engine.script.clear()
        eventually(lambda: count(address, "evolcoder_requests_in_flight") == 0)
        assert post(address).status_code == 200


def test_health_and_metrics_when_the_engine_is_dead() -> None:
    with gateway(ScriptedEngine(dead=True)) as address:
        assert requests.get(f"{address}/health", timeout=30).status_code == 503
        assert requests.get(f"{address}/metrics", timeout=30).status_code == 200


def test_metrics_count_requests_and_tokens() -> None:
    with gateway(ScriptedEngine()) as address:
        post(address)
        assert events(post(address, stream=True))
        assert count(address, 'evolcoder_requests_total{route="/v1/completions",status="200"}') == 2
        assert count(address, "evolcoder_prompt_tokens_total") == 14
        assert count(address, "evolcoder_completion_tokens_total") == 4
        assert count(address, "evolcoder_engine_batch_size") == 3
        assert count(address, "evolcoder_engine_queue") == 2
