"""The embedded model behind Ray Serve, as its users reach it; and what is refused before Ray is asked."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import openai
import pytest
import requests

from evolcoder.console import Reporter
from evolcoder.embedded import EMBEDDED_MODEL_NAME, embedded_model_folder
from evolcoder.endpoint.requests import Endpoint
from evolcoder.errors import ModelError, SettingsError
from evolcoder.serve.launch import SERVE_CONTROLLER, SERVE_NAMESPACE, serving
from evolcoder.settings.run import ServeSettings

KEY = "sk-test"


@pytest.fixture(scope="module")
def served(local_ray: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text(f"{KEY}\nanother\n")
    settings = ServeSettings(api_key_file=str(keys))
    with serving(embedded_model_folder(), EMBEDDED_MODEL_NAME, settings, reporter=Reporter("plain")) as model:
        yield model


@pytest.fixture(scope="module")
def client(served: Endpoint) -> openai.OpenAI:
    return openai.OpenAI(base_url=served.base_url, api_key=served.api_key)


def engine_total(served: Endpoint, name: str) -> float:
    page = requests.get(served.base_url.replace("/v1", "/metrics"), headers={"Authorization": f"Bearer {KEY}"}, timeout=60).text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith(name))


def test_a_port_in_use_is_said_at_once() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(SettingsError, match=f"Nothing can listen on 127.0.0.1:{port} .*serve.port"),
            serving(Path("unused"), "m", ServeSettings(), port=port, reporter=Reporter("plain")),
        ):
            pass


def test_an_open_host_without_keys_is_refused_at_once() -> None:
    with (
        pytest.raises(SettingsError, match="lets other machines in"),
        serving(Path("unused"), "m", ServeSettings(host="0.0.0.0"), reporter=Reporter("plain")),
    ):
        pass


def test_the_names_of_serves_controller_are_as_they_were_read() -> None:
    from ray.serve._private import constants

    found = (constants.SERVE_CONTROLLER_NAME, constants.SERVE_NAMESPACE)
    assert found == (SERVE_CONTROLLER, SERVE_NAMESPACE), "Ray Serve is not as in 2.60.0: change these names in serve/launch.py"


def test_every_engine_that_the_settings_allow_is_there(tmp_path: Path) -> None:
    """A replica of an engine that it has gets as far as looking at the folder; others are refused by name."""
    from evolcoder.serve.replicas import EngineReplica

    def load_error(engine: str) -> str | None:
        return asyncio.run(EngineReplica.func_or_class(engine, str(tmp_path), 1, None, 1).load_error())  # type: ignore[attr-defined, no-any-return]

    for engine in get_args(ServeSettings.model_fields["engine"].annotation):
        assert "has no config.json" in (load_error(engine) or "")
    assert "serve.engine=vllm is not an engine that this version has" in (load_error("vllm") or "")


def test_what_a_replica_meets_is_said_of_the_request_unless_it_is_gone() -> None:
    from ray.exceptions import ActorDiedError, RayTaskError

    from evolcoder.serve.engines.base import EngineError
    from evolcoder.serve.replicas import _engine_error

    def said(cause: Exception) -> str:
        return str(_engine_error(RayTaskError("answer", "", cause)))

    assert said(EngineError("out of memory")) == "out of memory"
    assert said(TypeError("no\nsuch thing")) == "This request could not be answered (TypeError: no such thing)."
    assert str(_engine_error(ActorDiedError())) == "The engine has stopped; it is being started again."


@pytest.mark.slow
def test_a_model_that_cannot_be_loaded_is_one_sentence(local_ray: None, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "llama"}')
    with (
        pytest.raises(ModelError, match="has no weights"),
        serving(tmp_path, "broken", ServeSettings(), reporter=Reporter("plain")),
    ):
        pass


@pytest.mark.slow
def test_the_openai_client_chats(served: Endpoint, client: openai.OpenAI) -> None:
    (model,) = client.models.list().data
    assert model.id == EMBEDDED_MODEL_NAME
    assert model.model_extra is not None
    assert model.model_extra["max_model_len"] == 8192
    question = [{"role": "user", "content": "What is the capital of France? Answer in one word."}]
    whole = client.chat.completions.create(model=model.id, messages=question, temperature=0, max_tokens=30)  # type: ignore[arg-type]
    assert "Paris" in (whole.choices[0].message.content or "")
    assert whole.choices[0].finish_reason == "stop", "the end-of-turn token must end the answer"
    stream = client.chat.completions.create(model=model.id, messages=question, temperature=0, max_tokens=30, stream=True)  # type: ignore[call-overload]
    pieces = [chunk.choices[0].delta.content or "" for chunk in stream]
    assert "".join(pieces) == whole.choices[0].message.content
    assert len([piece for piece in pieces if piece]) > 1


@pytest.mark.slow
def test_curl_completes(served: Endpoint) -> None:
    body = {"model": served.model, "prompt": "def add(a, b):\n    return", "max_tokens": 4, "temperature": 0, "stop": "\n"}
    shown = subprocess.run(
        ["curl", "-s", f"{served.base_url}/completions", "-H", f"Authorization: Bearer {KEY}", "-d", json.dumps(body)],
        capture_output=True,
        check=True,
    )
    reply = json.loads(shown.stdout)
    assert reply["choices"][0]["text"].startswith(" a")
    assert reply["usage"]["completion_tokens"] <= 4


@pytest.mark.slow
def test_a_suffix_needs_a_model_with_such_tokens(served: Endpoint, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="no fill-in-the-middle tokens"):
        client.completions.create(model=served.model, prompt="def f(", suffix="return x")


@pytest.mark.slow
def test_a_prompt_beyond_the_context_is_refused(served: Endpoint, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model=served.model, prompt="a b" * 9000)
    assert caught.value.code == "context_length_exceeded"


@pytest.mark.slow
def test_requests_at_once_share_steps(served: Endpoint, client: openai.OpenAI) -> None:
    def ask(number: int) -> int:
        reply = client.completions.create(
            model=served.model, prompt=f"x = {number}\n", max_tokens=24, extra_body={"ignore_eos": True}
        )
        assert reply.usage is not None
        return reply.usage.completion_tokens

    before = engine_total(served, 'evolcoder_engine_total{what="steps"}')
    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [24] * 16
    steps = engine_total(served, 'evolcoder_engine_total{what="steps"}') - before
    assert steps < 16 * 24 / 2


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_leaves_ends_its_answer(served: Endpoint, stream: bool) -> None:
    before = engine_total(served, 'evolcoder_engine_total{what="cancelled"}')
    body = {"prompt": "x", "max_tokens": 8000, "ignore_eos": True, "stream": stream}
    headers = {"Authorization": f"Bearer {KEY}"}
    try:
        requests.post(f"{served.base_url}/completions", json=body, headers=headers, stream=stream, timeout=2).close()
    except requests.Timeout:
        assert not stream
    while engine_total(served, 'evolcoder_engine_total{what="cancelled"}') == before:
        time.sleep(0.1)
    assert engine_total(served, "evolcoder_engine_batch_size") == 0


@pytest.mark.slow
def test_without_the_key_there_is_no_answer(served: Endpoint) -> None:
    assert requests.get(f"{served.base_url}/models", timeout=60).status_code == 401
    assert requests.get(served.base_url.replace("/v1", "/health"), timeout=60).status_code == 200
    assert KEY not in repr(served)
