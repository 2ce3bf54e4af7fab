"""Prompts as tokens; above all how each family of models lays out fill-in-the-middle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from evolcoder.serve.engines.base import ChatPrompt, InfillPrompt, TextPrompt, TokenPrompt
from evolcoder.serve.engines.prompts import PromptError, encode_prompt, find_infill

DEEPSEEK = ["<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", "<｜end▁of▁sentence｜>"]
QWEN = ["<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_pad|>", "<|endoftext|>", "<|file_sep|>"]


def bytes_tokenizer(specials: Sequence[str], added: Sequence[str] = (), bos: str | None = None) -> Any:
    """A token for each byte. ``added`` are tokens that are not special; ``bos`` is put first, as some tokenizers do."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    core.add_special_tokens([*specials, *([bos] if bos else [])])
    core.add_tokens([AddedToken(name, special=False, normalized=False) for name in added])
    if bos:
        core.post_processor = processors.TemplateProcessing(single=f"{bos} $A", special_tokens=[(bos, core.token_to_id(bos))])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token=bos, clean_up_tokenization_spaces=False)


def llama_tokenizer(specials: Sequence[str]) -> Any:
    """As SentencePiece's: a space is put before every text, and BOS before that."""
    letters = ["<s>", *"▁\nabcdefxyz", "▁x"]
    core = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[("▁", "x")]))
    core.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    core.decoder = decoders.Metaspace(prepend_scheme="first", split=False)
    core.add_special_tokens(["<s>", *specials])
    core.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=core, bos_token="<s>", clean_up_tokenization_spaces=False)


def laid_out(tokenizer: Any, prefix: str, suffix: str) -> list[str]:
    """The tokens of an infill prompt, by name."""
    tokens = encode_prompt(tokenizer, InfillPrompt(prefix, suffix), find_infill(tokenizer), len(tokenizer), False)
    return list(tokenizer.convert_ids_to_tokens(tokens))


@pytest.mark.parametrize(
    ("tokenizer", "expected"),
    [
        (
            bytes_tokenizer(["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"]),
            ["<fim_prefix>", "a", "b", "<fim_suffix>", "x", "y", "<fim_middle>"],
        ),
        (
            bytes_tokenizer(["<|endoftext|>", "<fim-prefix>", "<fim-middle>", "<fim-suffix>"]),
            ["<fim-prefix>", "a", "b", "<fim-suffix>", "x", "y", "<fim-middle>"],
        ),
        (
            bytes_tokenizer([], QWEN),
            ["<|fim_prefix|>", "a", "b", "<|fim_suffix|>", "x", "y", "<|fim_middle|>"],
        ),
        (
            bytes_tokenizer(QWEN[:3], bos="<bos>"),
            ["<bos>", "<|fim_prefix|>", "a", "b", "<|fim_suffix|>", "x", "y", "<|fim_middle|>"],
        ),
        (
            bytes_tokenizer([], DEEPSEEK, bos="<｜begin▁of▁sentence｜>"),
            ["<｜begin▁of▁sentence｜>", DEEPSEEK[0], "a", "b", DEEPSEEK[1], "x", "y", DEEPSEEK[2]],
        ),
        (
            llama_tokenizer(["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"]),
            ["<s>", "▁<PRE>", "▁", "a", "b", "▁<SUF>", "x", "y", "▁<MID>"],
        ),
        (
            llama_tokenizer(["<PRE>", "<SUF>", "<MID>", "<EOT>"]),
            ["<s>", "<PRE>", "▁", "a", "b", "<SUF>", "x", "y", "<MID>"],
        ),
    ],
    ids=["starcoder", "santacoder", "qwen2.5-coder", "codegemma", "deepseek-coder", "codellama", "codellama-like"],
)
def test_each_family_has_its_layout(tokenizer: Any, expected: list[str]) -> None:
    assert laid_out(tokenizer, "ab", "xy") == expected


def test_a_suffix_that_begins_with_a_space_keeps_the_one_it_has() -> None:
    assert laid_out(llama_tokenizer(["▁<PRE>", "▁<SUF>", "▁<MID>"]), "a", " x")[-3:] == ["▁<SUF>", "▁x", "▁<MID>"]


@pytest.mark.parametrize(
    ("tokenizer", "ends"),
    [
        (bytes_tokenizer(["<|endoftext|>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>"]), {"<|endoftext|>"}),
        (bytes_tokenizer([], QWEN), {"<|endoftext|>", "<|fim_pad|>", "<|file_sep|>"}),
        (bytes_tokenizer([], DEEPSEEK), {"<｜end▁of▁sentence｜>"}),
        (llama_tokenizer(["▁<PRE>", "▁<SUF>", "▁<MID>", "▁<EOT>"]), {"▁<EOT>"}),
    ],
)
def test_the_middle_ends_at_the_familys_end_and_at_another_mark(tokenizer: Any, ends: set[str]) -> None:
    infill = find_infill(tokenizer)
    assert infill is not None
    assert set(tokenizer.convert_ids_to_tokens(list(infill.ends))) == ends | set(infill.marks)


def test_a_model_without_such_tokens_says_so() -> None:
    tokenizer = bytes_tokenizer(["<fim_prefix>", "<fim_suffix>"])
    assert find_infill(tokenizer) is None
    with pytest.raises(PromptError, match="no fill-in-the-middle tokens") as caught:
        laid_out(tokenizer, "a", "b")
    assert caught.value.param == "suffix"


MARKED = st.lists(
    st.sampled_from(["<fim_prefix>", "<|fim_suffix|>", "<|fim_middle|>", "<|fim_prefix|>", "<|", "|>", "é", "a\n"])
)


@pytest.mark.parametrize("special", [True, False])
@given(before=MARKED.map("".join), after=MARKED.map("".join))
def test_marks_in_a_users_file_are_text(special: bool, before: str, after: str) -> None:
    tokenizer = bytes_tokenizer(QWEN, []) if special else bytes_tokenizer([], QWEN)
    infill = find_infill(tokenizer)
    assert infill is not None
    tokens = encode_prompt(tokenizer, InfillPrompt(before, after), infill, len(tokenizer), False)
    between = tokens.index(infill.between)
    assert (tokens[0], tokens[-1]) == (infill.before, infill.after)
    assert not {infill.before, infill.between, infill.after} & {*tokens[1:between], *tokens[between + 1 : -1]}
    assert tokenizer.decode(tokens[1:between]) == before
    assert tokenizer.decode(tokens[between + 1 : -1]) == after


def test_special_tokens_in_a_raw_prompt_count_as_such() -> None:
    tokenizer = bytes_tokenizer(["<fim_prefix>", "<fim_middle>", "<fim_suffix>"])
    tokens = encode_prompt(tokenizer, TextPrompt("<fim_prefix>a<fim_suffix>b<fim_middle>"), None, len(tokenizer), False)
    assert tokens == encode_prompt(tokenizer, InfillPrompt("a", "b"), find_infill(tokenizer), len(tokenizer), False)


def test_an_eos_behind_every_text_is_put_behind_what_an_encoder_reads_alone() -> None:
    """The answer follows a prompt; a text that an encoder reads ends as the tokenizer ends it."""
    tokenizer = bytes_tokenizer(["<eos>", "<fim_prefix>", "<fim_middle>", "<fim_suffix>"], bos="<bos>")
    ids = [(name, tokenizer.convert_tokens_to_ids(name)) for name in ("<bos>", "<eos>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ids)

    def names(prompt: TextPrompt | InfillPrompt | ChatPrompt, encoder: bool) -> list[str]:
        tokens = encode_prompt(tokenizer, prompt, find_infill(tokenizer), len(tokenizer), encoder)
        return list(tokenizer.convert_ids_to_tokens(tokens))

    assert names(TextPrompt("ab"), False) == ["<bos>", "a", "b"]
    assert names(TextPrompt(""), False) == ["<bos>"]
    assert names(TextPrompt("ab"), True) == ["<bos>", "a", "b", "<eos>"]
    assert names(InfillPrompt("a", "b"), False) == ["<bos>", "<fim_prefix>", "a", "<fim_suffix>", "b", "<fim_middle>"]
    assert names(InfillPrompt("<eos>", "b"), False).count("<eos>") == 0
    tokenizer.chat_template = "{{ bos_token }}{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert names(ChatPrompt(({"role": "user", "content": "ab"},)), False) == ["<bos>", "a", "b"]


@pytest.mark.parametrize("prompt", [TextPrompt("a<new>"), TokenPrompt((3, 256)), TokenPrompt((-1,)), TokenPrompt((10**9,))])
def test_a_token_that_the_model_cannot_read_is_refused(prompt: TextPrompt | TokenPrompt) -> None:
    """A tokenizer may have been given tokens that the model was not."""
    tokenizer = bytes_tokenizer(["<new>"])
    with pytest.raises(PromptError, match="not between 0 and 255"):
        encode_prompt(tokenizer, prompt, None, 256, False)


def test_an_empty_prompt_is_the_token_that_texts_begin_with() -> None:
    tokenizer = bytes_tokenizer([], bos="<bos>")
    assert encode_prompt(tokenizer, TokenPrompt(()), None, len(tokenizer), False) == [tokenizer.bos_token_id]
    with pytest.raises(PromptError, match="no token to start from"):
        encode_prompt(bytes_tokenizer([]), TextPrompt(""), None, 256, False)
