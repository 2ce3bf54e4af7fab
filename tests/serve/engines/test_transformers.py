"""The decode loop on small random models of several architectures."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    DynamicCache,
    EncoderDecoderCache,
)
from transformers.cache_utils import CacheLayerMixin

from evolcoder.errors import ModelError
from evolcoder.serve.engines import transformers
from evolcoder.serve.engines.base import (
    Accepted,
    ChatPrompt,
    EngineError,
    GenerationRequest,
    InfillPrompt,
    Piece,
    Prompt,
    Rejected,
    SamplingParams,
    TextPrompt,
    TokenPrompt,
)
from evolcoder.serve.engines.cache import SlotCache
from evolcoder.serve.engines.decoders import SlotDecoder
from evolcoder.serve.engines.rows import Row, deliver
from evolcoder.serve.engines.transformers import TransformersEngine

TinyModel = Callable[[str], Path]


def make_engine(folder: Path, **options: Any) -> TransformersEngine:
    return TransformersEngine(folder, threads=1, **{"dtype": torch.float32, "max_batch_size": 4, **options})


@pytest.fixture(scope="module")
def engine(tiny_model: TinyModel) -> Iterator[TransformersEngine]:
    made = make_engine(tiny_model("llama"))
    yield made
    made.close()


async def ask(
    engine: TransformersEngine, prompt: Prompt, streamed: bool = True, delay: float = 0.0, n: int = 1, **sampling: Any
) -> list[Piece]:
    await asyncio.sleep(delay)
    request = GenerationRequest((prompt,), SamplingParams(**{"temperature": 0.0, "max_tokens": 12, **sampling}), n)
    first, *pieces = [item async for item in engine.answer(request, streamed)]
    assert isinstance(first, Accepted)
    return [piece for piece in pieces if isinstance(piece, Piece)]


def run(*asked: Awaitable[list[Piece]]) -> list[list[Piece]]:
    async def together() -> list[list[Piece]]:
        return await asyncio.gather(*asked)

    return asyncio.run(together())


def first_word(engine: TransformersEngine, prompt: Prompt) -> object:
    async def first() -> object:
        return await anext(engine.answer(GenerationRequest((prompt,), SamplingParams()), False))

    return asyncio.run(first())


def text(pieces: list[Piece]) -> str:
    return "".join(piece.text for piece in pieces)


def generated(folder: Path, prompt: list[int], count: int) -> str:
    """What ``generate`` makes of one prompt alone."""
    maker = AutoModelForSeq2SeqLM if AutoConfig.from_pretrained(folder).is_encoder_decoder else AutoModelForCausalLM
    model = maker.from_pretrained(folder, dtype=torch.float32).eval()
    model.generation_config.eos_token_id = None
    with torch.inference_mode():
        ids = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=count,
        )
    new = ids[0, 1:] if model.config.is_encoder_decoder else ids[0, len(prompt) :]
    return AutoTokenizer.from_pretrained(folder).decode(new, skip_special_tokens=True)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("kind", "decoding"),
    [
        ("llama", "slots"),
        ("mistral", "slots"),
        ("qwen2", "slots"),
        ("gpt2", "slots"),
        ("gpt_bigcode", "slots"),
        ("gpt_bigcode_mha", "slots"),
        ("codegen", "slots"),
        ("bloom", "left-padded"),
        ("starcoder2", "left-padded"),
        ("gpt_neo", "left-padded"),
        ("t5", "left-padded"),
        ("mamba", "sequential"),
    ],
)
def test_rows_that_come_and_go_answer_as_if_alone(tiny_model: TinyModel, kind: str, decoding: str) -> None:
    folder = tiny_model(kind)
    engine = make_engine(folder)
    assert engine.stats().decoding == decoding
    chance = random.Random(kind)
    shapes = [(chance.randrange(1, 40), chance.randrange(1, 40), chance.random() * 0.05) for _ in range(10)]
    prompts = [[chance.randrange(32, 120) for _ in range(length)] for length, _, _ in shapes]
    answers = run(
        *(
            ask(engine, TokenPrompt(tuple(prompt)), delay=delay, max_tokens=count, ignore_eos=True)
            for prompt, (_, count, delay) in zip(prompts, shapes, strict=True)
        )
    )
    (single,) = run(ask(engine, TokenPrompt(tuple(prompts[0])), max_tokens=shapes[0][1], ignore_eos=True))
    engine.close()
    alone = [generated(folder, prompt, count) for prompt, (_, count, _) in zip(prompts, shapes, strict=True)]
    assert [text(answer) for answer in answers] == alone
    assert text(single) == alone[0]
    assert [sum(piece.tokens for piece in answer) for answer in answers] == [count for _, count, _ in shapes]
    assert len(set(alone)) > 5, "the answers are too alike to show anything"


def test_an_answers_forced_beginning_is_there(tiny_model: TinyModel, tmp_path: Path) -> None:
    """BART's generation settings may force the first token; it is no token that the model made."""
    folder = shutil.copytree(tiny_model("bart"), tmp_path / "bart")
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    (folder / "generation_config.json").write_text(json.dumps({**settings, "forced_bos_token_id": 65}))
    engine = make_engine(folder)
    (pieces,) = run(ask(engine, TextPrompt("def f("), max_tokens=9, ignore_eos=True))
    engine.close()
    assert engine.stats().decoding == "sequential"
    forced = AutoTokenizer.from_pretrained(folder).decode([65])
    assert forced + text(pieces) == generated(folder, AutoTokenizer.from_pretrained(folder).encode("def f("), 10)


def test_prompt_and_answer_of_an_encoder_decoder_have_a_context_each(tiny_model: TinyModel) -> None:
    engine = make_engine(tiny_model("t5"), max_model_len=64)
    (pieces,) = run(ask(engine, TextPrompt("x" * 64), max_tokens=None, ignore_eos=True))
    assert sum(piece.tokens for piece in pieces) == 63, "the token that the decoder starts from takes a place"
    rejected = first_word(engine, TextPrompt("x" * 65))
    engine.close()
    assert isinstance(rejected, Rejected)
    assert rejected.code == "context_length_exceeded"


def test_in_bfloat16_a_model_is_still_found_right(tiny_model: TinyModel) -> None:
    for kind, decoding in (("gpt_bigcode", "slots"), ("codegen", "slots"), ("t5", "left-padded")):
        engine = make_engine(tiny_model(kind), dtype=torch.bfloat16)
        engine.close()
        assert engine.stats().decoding == decoding


def test_a_model_that_no_way_of_decoding_gets_right_is_refused(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A BERT that is said to be a causal model: each token sees those after it."""
    shutil.copytree(tiny_model("bert"), tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps({**config, "architectures": ["BertLMHeadModel"]}))
    with pytest.raises(ModelError, match=r"bert.* cannot be served by the transformers engine"):
        make_engine(tmp_path)


def test_a_context_longer_than_the_models_is_refused(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelError, match=r"serve.max_model_len=4096 is more than the 128"):
        make_engine(tiny_model("llama"), max_model_len=4096)


def test_streamed_and_whole_answers_are_the_same(engine: TransformersEngine) -> None:
    streamed, whole = run(ask(engine, TextPrompt("def f(")), ask(engine, TextPrompt("def f("), streamed=False))
    assert len(streamed) > 1
    assert len(whole) == 1
    assert text(streamed) == text(whole)
    assert sum(piece.tokens for piece in streamed) == whole[0].tokens == 12
    assert whole[0].finish_reason == "length"


def test_a_stop_string_of_several_tokens_cuts_the_text_before_it(engine: TransformersEngine) -> None:
    ((whole,),) = run(ask(engine, TextPrompt("x"), streamed=False))
    stop = whole.text[4:7]
    expected = whole.text[: whole.text.index(stop)]
    (pieces,) = run(ask(engine, TextPrompt("x"), stop=(stop,)))
    assert text(pieces) == expected
    assert pieces[-1].finish_reason == "stop"
    assert sum(piece.tokens for piece in pieces) < 12


def test_every_end_token_of_the_generation_settings_ends_the_answer(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = tiny_model("llama")
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    first = tokenizer.encode(generated(folder, tokenizer.encode("x"), 1))[0]
    model.generation_config.eos_token_id = [tokenizer.eos_token_id, first]
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    engine = make_engine(tmp_path)
    ended, ignored = run(ask(engine, TextPrompt("x")), ask(engine, TextPrompt("x"), ignore_eos=True, max_tokens=3))
    engine.close()
    assert [(piece.text, piece.tokens, piece.finish_reason) for piece in ended] == [("", 1, "stop")]
    assert ignored[-1].finish_reason == "length"


def test_seeds_repeat_and_choices_differ(engine: TransformersEngine) -> None:
    warm = {"temperature": 2.0, "seed": 5, "streamed": False, "n": 3}
    one, two = run(ask(engine, TextPrompt("x"), **warm), ask(engine, TextPrompt("x"), **warm))
    first, second = ({piece.index: piece.text for piece in pieces} for pieces in (one, two))
    assert first == second
    assert sorted(first) == [0, 1, 2]
    assert len(set(first.values())) == 3


def test_logprobs_name_the_tokens_and_alternatives(engine: TransformersEngine) -> None:
    ((piece,),) = run(ask(engine, TextPrompt("x"), streamed=False, logprobs=2, max_tokens=4))
    assert len(piece.logprobs) == 4
    for entry in piece.logprobs:
        assert entry.alternatives[0] == (entry.token, pytest.approx(entry.logprob))
        assert entry.alternatives[1][1] <= entry.logprob <= 0


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("stop", [(), ("t", "\ufffd"), ("a", "b", "c", "\n")])
def test_logprobs_are_those_of_the_text(engine: TransformersEngine, streamed: bool, stop: tuple[str, ...]) -> None:
    """The tokens' bytes joined are the text, though a character may take several of them; offsets lie within the text."""
    warm = {"temperature": 2.0, "max_tokens": 40, "ignore_eos": True, "logprobs": 3, "stop": stop, "streamed": streamed}
    answers = run(*(ask(engine, TextPrompt("\u00e9" * seed), seed=seed, **warm) for seed in range(1, 13)))
    for pieces in answers:
        shown, entries = "", []
        for piece in pieces:
            shown += piece.text
            entries += piece.logprobs
            assert all(entry.offset <= len(shown) for entry in piece.logprobs)
        joined = b"".join(entry.token.data for entry in entries).decode("utf-8", "replace")
        assert joined == shown if pieces[-1].finish_reason == "length" else joined.startswith(shown)
        assert [entry.offset for entry in entries] == sorted(entry.offset for entry in entries)
        for entry in entries:
            assert len(entry.alternatives) == 3
            if entry.token.data.isascii() and entry.token.data:
                assert shown[entry.offset :].startswith(entry.token.name)
        if not stop:
            assert len(entries) == 40


def test_an_end_token_is_no_part_of_the_text(tiny_model: TinyModel, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model("llama"), tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    said = tokenizer.encode(generated(folder, tokenizer.encode("x"), 3))
    settings = json.loads((folder / "generation_config.json").read_text("utf-8"))
    (folder / "generation_config.json").write_text(json.dumps({**settings, "eos_token_id": said[2]}))
    engine = make_engine(folder)
    ((piece,),) = run(ask(engine, TextPrompt("x"), streamed=False, logprobs=0))
    engine.close()
    assert piece.tokens == 3
    assert [entry.token.id for entry in piece.logprobs] == said[:2]
    assert piece.finish_reason == "stop"


def test_without_max_tokens_the_answer_may_fill_the_context(engine: TransformersEngine) -> None:
    (pieces,) = run(ask(engine, TextPrompt("x" * 100), max_tokens=None, ignore_eos=True))
    assert sum(piece.tokens for piece in pieces) == engine.max_model_len - 100
    assert pieces[-1].finish_reason == "length"


@pytest.mark.parametrize(
    ("prompt", "code", "param", "words"),
    [
        (TextPrompt("x" * 128), "context_length_exceeded", "prompt", "128 tokens"),
        (ChatPrompt(({"role": "user", "content": "x" * 128},)), "context_length_exceeded", "messages", "tokens"),
        (TokenPrompt((1, 100000)), None, "prompt", "not between 0"),
        (ChatPrompt(({"role": "tool", "content": "x"},)), None, "messages", "no tools here"),
    ],
)
def test_prompts_that_cannot_be_are_rejected(
    engine: TransformersEngine, prompt: Prompt, code: str | None, param: str, words: str
) -> None:
    rejected = first_word(engine, prompt)
    assert isinstance(rejected, Rejected)
    assert (rejected.code, rejected.param) == (code, param)
    assert words in rejected.message


def test_an_infill_prompt_is_laid_out_with_the_models_tokens(engine: TransformersEngine, tiny_model: TinyModel) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_model("llama"))
    laid_out = TokenPrompt(tuple(tokenizer.encode("<fim_prefix>def f(<fim_suffix>return x<fim_middle>")))
    infill, raw = run(ask(engine, InfillPrompt("def f(", "return x")), ask(engine, laid_out))
    assert text(infill) == text(raw)


def test_a_filled_in_middle_ends_where_such_middles_end(tiny_model: TinyModel, tmp_path: Path) -> None:
    """At the token that ends the family's middles, be it no end of other answers: a chat model's answers end otherwise."""
    folder = Path(shutil.copytree(tiny_model("llama"), tmp_path / "llama"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    prompt = tokenizer.encode("<fim_prefix>def f(<fim_suffix>return x<fim_middle>")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = model.generate(torch.tensor([prompt]), do_sample=False, max_new_tokens=4, eos_token_id=None)[0].tolist()
    mark = tokenizer.convert_tokens_to_ids("<fim_prefix>")
    with torch.inference_mode():  # now it says a mark where it said its fourth token
        weight = model.lm_head.weight
        weight[mark], weight[ids[-1]] = weight[ids[-1]].clone(), weight[mark].clone()
    model.save_pretrained(folder)
    engine = make_engine(folder)
    infill, raw, ignored = run(
        ask(engine, InfillPrompt("def f(", "return x"), streamed=False),
        ask(engine, TokenPrompt(tuple(prompt)), streamed=False),
        ask(engine, InfillPrompt("def f(", "return x"), streamed=False, ignore_eos=True),
    )
    engine.close()
    assert (infill[0].tokens, infill[0].finish_reason) == (4, "stop")
    assert (raw[0].tokens, ignored[0].tokens) == (12, 12)


def test_chat_is_laid_out_by_the_models_template(engine: TransformersEngine) -> None:
    chat, raw = run(
        ask(engine, ChatPrompt(({"role": "user", "content": "hi"},))), ask(engine, TextPrompt("<|user|>user: hi\n"))
    )
    assert text(chat) == text(raw)


def test_who_leaves_is_no_longer_worked_for(engine: TransformersEngine) -> None:
    async def leave() -> int:
        before = engine.stats().cancelled
        events = engine.answer(GenerationRequest((TextPrompt("x"),), SamplingParams(max_tokens=100, ignore_eos=True)), True)
        assert isinstance(await anext(events), Accepted)
        assert isinstance(await anext(events), Piece)
        await events.aclose()
        while engine.stats().running:
            await asyncio.sleep(0.01)
        return engine.stats().cancelled - before

    generated_before = engine.stats().generated_tokens
    assert asyncio.run(leave()) == 1
    assert engine.stats().generated_tokens - generated_before < 100


def test_more_rows_than_the_batch_holds_wait_their_turn(engine: TransformersEngine) -> None:
    answers = run(*(ask(engine, TextPrompt(f"{number}"), streamed=False) for number in range(11)))
    assert all(answer[-1].finish_reason for answer in answers)


@pytest.mark.parametrize("fault", [RuntimeError("out of memory"), KeyError("out of memory")])
def test_a_failing_step_fails_its_answers_and_no_others(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    def fail(decoder: SlotDecoder, tokens: list[int]) -> torch.Tensor:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(SlotDecoder, "step", fail)
        with pytest.raises(EngineError, match="out of memory"):
            run(ask(engine, TextPrompt("x")))
    assert len(text(run(ask(engine, TextPrompt("x")))[0])) > 0


class Panic(BaseException):
    """As the tokenizers library raises where its Rust code panics: no Exception."""


def test_a_prompt_that_cannot_be_encoded_fails_alone(engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*args: Any) -> list[int]:
        raise Panic("byte index 1 is not a char boundary")

    with monkeypatch.context() as patch:
        patch.setattr(transformers, "encode_prompt", panic)
        with pytest.raises(EngineError, match=r"This request could not be answered \(Panic: byte index 1"):
            run(ask(engine, TextPrompt("x")))
    assert run(ask(engine, TextPrompt("x")))


def test_an_answer_that_cannot_be_put_into_text_fails_alone(
    engine: TransformersEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_token = Row.add_token

    def fail(row: Row, token: int, logprobs: Any) -> Piece | None:
        if len(row.prompt) == 3:
            raise Panic("no such token")
        return add_token(row, token, logprobs)

    async def together() -> list[Any]:
        asked = [ask(engine, TextPrompt("x")), ask(engine, TextPrompt("xyz")), ask(engine, TextPrompt("xx"))]
        return await asyncio.gather(*asked, return_exceptions=True)

    alone = run(ask(engine, TextPrompt("x")), ask(engine, TextPrompt("xx")))
    monkeypatch.setattr(Row, "add_token", fail)
    first, failed, last = asyncio.run(together())
    assert str(failed) == "This request could not be answered (Panic: no such token)."
    assert [text(first), text(last)] == [text(answer) for answer in alone]
    assert engine.is_alive()


def test_a_closed_engine_says_so(tiny_model: TinyModel) -> None:
    engine = make_engine(tiny_model("llama"))
    engine.close()
    assert not engine.is_alive()
    with pytest.raises(EngineError, match="stopped"):
        run(ask(engine, TextPrompt("x")))


def test_a_request_that_comes_while_the_engine_ends_is_told_so(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the thread has taken its last arrivals, and before it is gone."""
    drained, asked = threading.Event(), threading.Event()

    def deliver_late(deliveries: Any) -> None:
        drained.set()
        asked.wait(60)
        deliver(deliveries)

    engine = make_engine(tiny_model("llama"))
    monkeypatch.setattr(transformers, "deliver", deliver_late)
    closing = threading.Thread(target=engine.close)
    closing.start()
    assert drained.wait(60)
    with pytest.raises(EngineError, match="stopped"):
        run(ask(engine, TextPrompt("x")))
    assert engine.is_alive()
    asked.set()
    closing.join()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_wherever_the_decode_thread_ends_nobody_waits_for_it(tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(threads: int) -> None:
        if threading.current_thread().name == "decode":
            raise RuntimeError("no threads")

    monkeypatch.setattr(torch, "set_num_threads", fail)
    engine = make_engine(tiny_model("llama"))
    with pytest.raises(EngineError, match="stopped"):
        run(ask(engine, TextPrompt("x")))


def test_cache_layers_of_transformers_are_as_they_were_read() -> None:
    changed = "transformers' cache layers are not those of 5.23.0: read them again, then change cache.py and decoders.py"
    methods = {"lazy_initialization", "update", "get_mask_sizes", "get_seq_length", "get_max_length"}
    assert CacheLayerMixin.__abstractmethods__ == methods, changed
    cache = DynamicCache()
    cache.update(torch.ones(2, 3, 5, 4), torch.zeros(2, 3, 5, 4), 0)
    (layer,) = cache.layers
    assert (layer.keys.shape, layer.values.shape) == ((2, 3, 5, 4), (2, 3, 5, 4)), changed
    both = EncoderDecoderCache(cache, DynamicCache())
    assert both.self_attention_cache is cache, changed
    slots = SlotCache()
    assert slots.get_seq_length() == 0, changed
    slots.join(cache, [2, 4])
    slots.lengths = [3, 5]  # this step's tokens are counted
    assert slots.layers[0].get_mask_sizes(1) == (5, 0), changed
    slots.clear()
    assert (slots.layers[0].keys, slots.layers[0].is_initialized, slots.lengths) == (None, False, []), changed
