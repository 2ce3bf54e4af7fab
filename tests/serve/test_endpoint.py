"""Small random models of several architectures behind the whole HTTP side: what their users ask and get."""

from __future__ import annotations

import io
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
import torch
from starlette.testclient import TestClient
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, AutoTokenizer

from evolcoder.console import Reporter
from evolcoder.serve.engines.base import Accepted, EngineStats, GenerationRequest, Piece, Rejected
from evolcoder.serve.engines.transformers import TransformersEngine
from evolcoder.serve.gateway import Gateway
from evolcoder.serve.launch import serving
from evolcoder.settings.run import ServeSettings

TinyModel = Callable[[str], Path]


class LocalEngine:
    """Asks an engine in this process, where Ray would ask one in another."""

    def __init__(self, engine: TransformersEngine) -> None:
        self.engine = engine

    def answer(self, request: GenerationRequest, streamed: bool) -> AsyncGenerator[Accepted | Rejected | Piece, None]:
        return self.engine.answer(request, streamed)

    async def stats(self) -> EngineStats:
        return self.engine.stats()


@contextmanager
def served(folder: Path) -> Iterator[TestClient]:
    engine = TransformersEngine(folder, max_batch_size=4, threads=1, dtype=torch.float32)
    try:
        yield TestClient(Gateway(LocalEngine(engine), "m", (), ServeSettings()).app())
    finally:
        engine.close()


def complete(client: TestClient, **fields: Any) -> dict[str, Any]:
    reply = client.post("/v1/completions", json={"temperature": 0, "max_tokens": 12, "ignore_eos": True, **fields})
    assert reply.status_code == 200, reply.text
    return reply.json()  # type: ignore[no-any-return]


def chunks(client: TestClient, route: str, **fields: Any) -> list[dict[str, Any]]:
    body = {"temperature": 0, "max_tokens": 12, "ignore_eos": True, "stream": True, **fields}
    events = client.post(f"/v1/{route}", json=body).text.strip().split("\n\n")
    assert events.pop() == "data: [DONE]"
    return [json.loads(event.removeprefix("data: ")) for event in events]


def generated(folder: Path, text: str, count: int = 12) -> str:
    """What plain ``generate`` answers, greedily."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    seq2seq = "t5" in json.loads((folder / "config.json").read_text("utf-8"))["model_type"]
    model = (AutoModelForSeq2SeqLM if seq2seq else AutoModelForCausalLM).from_pretrained(folder, dtype=torch.float32)
    model.generation_config.eos_token_id = None
    prompt = tokenizer(text, return_tensors="pt")
    (ids,) = model.generate(prompt["input_ids"], attention_mask=prompt["attention_mask"], do_sample=False, max_new_tokens=count)
    return tokenizer.decode(ids[1 if seq2seq else prompt["input_ids"].shape[1] :], skip_special_tokens=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize("kind", ["gpt_bigcode", "codegen", "llama", "t5"])
def test_completions_and_chats_are_what_generate_gives(tiny_model: TinyModel, kind: str) -> None:
    folder = tiny_model(kind)
    with served(folder) as client:
        whole = complete(client, prompt=["def f(", "x = 1\n"])
        assert [choice["text"] for choice in whole["choices"]] == [generated(folder, "def f("), generated(folder, "x = 1\n")]
        assert whole["usage"] == {"prompt_tokens": 12, "completion_tokens": 24, "total_tokens": 36}
        streamed = chunks(client, "completions", prompt="def f(")
        assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == whole["choices"][0]["text"]
        assert streamed[-1]["choices"][0]["finish_reason"] == "length"
        talk = chunks(client, "chat/completions", messages=[{"role": "user", "content": "hi"}])
        said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in talk)
        assert said == generated(folder, "<|user|>user: hi\n")


def test_a_suffix_is_laid_out_by_the_server(tiny_model: TinyModel) -> None:
    folder = tiny_model("gpt_bigcode")
    with served(folder) as client:
        filled = complete(client, prompt="def f(", suffix="return x")["choices"][0]["text"]
        assert filled == generated(folder, "<fim_prefix>def f(<fim_suffix>return x<fim_middle>")
        streamed = chunks(client, "completions", prompt="def f(", suffix="return x")
        assert "".join(chunk["choices"][0]["text"] for chunk in streamed) == filled
        plain = generated(folder, "def f(")
        assert plain != filled
        for suffix in (None, ""):
            assert complete(client, prompt="def f(", suffix=suffix)["choices"][0]["text"] == plain


def test_a_suffix_for_a_model_without_such_tokens_is_a_400(tiny_model: TinyModel, tmp_path: Path) -> None:
    from shutil import copytree

    folder = Path(copytree(tiny_model("codegen"), tmp_path / "codegen"))
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    for token in tokenizer["added_tokens"]:
        token["content"] = token["content"].replace("fim_", "")
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    settings = (folder / "tokenizer_config.json").read_text("utf-8")
    (folder / "tokenizer_config.json").write_text(settings.replace("fim_", ""))
    with served(folder) as client:
        for stream in (False, True):
            reply = client.post("/v1/completions", json={"prompt": "def f(", "suffix": "return x", "stream": stream})
            assert reply.status_code == 400
            assert reply.json() == {
                "error": {
                    "message": "This model has no fill-in-the-middle tokens, so it cannot use `suffix`; leave it out.",
                    "type": "invalid_request_error",
                    "param": "suffix",
                    "code": None,
                }
            }


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt_bigcode", "codegen", "t5", "mamba"])
def test_through_ray_as_well(local_ray: None, tiny_model: TinyModel, kind: str) -> None:
    folder = tiny_model(kind)
    said = io.StringIO()
    with serving(folder, "tiny", ServeSettings(), reporter=Reporter("plain", said)) as model:
        assert ("one answer after the other" in said.getvalue()) == (kind == "mamba")
        client = openai.OpenAI(base_url=model.base_url, api_key="unused")
        more = {"temperature": 0.0, "max_tokens": 12, "extra_body": {"ignore_eos": True}}
        reply = client.completions.create(model="tiny", prompt=["def f(", "x = 1\n" * 5], **more)  # type: ignore[call-overload]
        assert [choice.index for choice in reply.choices if choice.text] == [0, 1]
        whole = client.completions.create(model="tiny", prompt="def f(", **more)  # type: ignore[call-overload]
        stream = client.completions.create(model="tiny", prompt="def f(", stream=True, **more)  # type: ignore[call-overload]
        assert "".join(chunk.choices[0].text for chunk in stream) == whole.choices[0].text
