"""What is used of the openai package beyond its documented calls is still there, as it was read."""

from __future__ import annotations

import asyncio
import json
from importlib.metadata import version

import openai
import pytest
from tests.ports import free_port

from evolcoder.endpoint import transport
from evolcoder.endpoint.requests import Endpoint, RequestFailed
from evolcoder.endpoint.scripted.server import Script, scripted_teacher
from evolcoder.endpoint.transport import AioHttpTransport, OpenAITransport, failures_named

BODY = {"model": Script.model, "messages": [{"role": "user", "content": "q"}]}


def post(endpoint: Endpoint, kind: type[OpenAITransport] | type[AioHttpTransport] = OpenAITransport) -> str:
    async def act() -> str:
        one = kind(endpoint)
        try:
            with failures_named(endpoint):
                return await one.post("/chat/completions", BODY)
        finally:
            await one.close()

    return asyncio.run(act())


def test_a_reply_comes_as_text_and_exceptions_hold_what_faults_are_named_by() -> None:
    hint = f"openai {version('openai')} differs from the version named in {transport.__name__}: mend that module"
    with scripted_teacher() as teacher:
        text = post(Endpoint(teacher.base_url, Script.model))
        assert isinstance(text, str), hint
        assert json.loads(text)["choices"], hint
        with pytest.raises(RequestFailed) as refused:
            post(Endpoint(f"{teacher.base_url}/nowhere", Script.model))
    assert isinstance(refused.value.__cause__, openai.APIStatusError), hint
    script = Script(faults={"retry_after": 1.0}, retry_after_seconds=7)
    with scripted_teacher(script) as teacher, pytest.raises(RequestFailed) as limited:
        post(Endpoint(teacher.base_url, Script.model))
    assert (limited.value.kind, limited.value.retry_after_seconds) == ("rate_limited", 7.0), hint
    with pytest.raises(RequestFailed) as gone:
        post(Endpoint(f"http://127.0.0.1:{free_port()}/v1", Script.model))
    assert gone.value.kind == "unreachable", hint


@pytest.mark.parametrize("kind", [OpenAITransport, AioHttpTransport])
def test_requests_go_by_the_proxy_that_the_environment_names(
    kind: type[OpenAITransport] | type[AioHttpTransport], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with scripted_teacher() as teacher:  # any server reads the path of a request to a proxy
        monkeypatch.setenv("http_proxy", teacher.base_url.removesuffix("/v1"))
        assert json.loads(post(Endpoint("http://teacher.invalid/v1", Script.model), kind))["choices"]
        monkeypatch.setenv("no_proxy", "teacher.invalid")
        with pytest.raises(RequestFailed, match="unreachable"):
            post(Endpoint("http://teacher.invalid/v1", Script.model), kind)
