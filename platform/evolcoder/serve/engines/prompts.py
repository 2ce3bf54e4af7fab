"""From a request's prompt to the model's tokens: raw text, tokens, chat templates, fill-in-the-middle.

Needs a tokenizer in Hugging Face's form, but loads none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from evolcoder.serve.engines.base import ChatPrompt, InfillPrompt, Prompt, TextPrompt, TokenPrompt


@dataclass(frozen=True, slots=True)
class _Marks:
    """What stands before the prefix, before the suffix, and before the middle that the model writes; and what ends that."""

    prefix: str
    suffix: str
    middle: str
    ends: tuple[str, ...] = ()
    spaces_first: bool = False


_MARKS = (
    _Marks("<fim_prefix>", "<fim_suffix>", "<fim_middle>", ("<|endoftext|>", "<file_sep>")),  # StarCoder, StarCoder2, Granite
    _Marks("<fim-prefix>", "<fim-suffix>", "<fim-middle>", ("<|endoftext|>",)),  # SantaCoder
    # Qwen2.5-Coder, CodeGemma
    _Marks(
        "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
        ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>"),
    ),
    _Marks("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", ("<｜end▁of▁sentence｜>",)),  # DeepSeek-Coder
    _Marks("▁<PRE>", "▁<SUF>", "▁<MID>", ("▁<EOT>",), spaces_first=True),  # CodeLlama
    _Marks("<PRE>", "<SUF>", "<MID>", ("<EOT>",), spaces_first=True),  # CodeLlama's, as others write them
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Infill:
    """How one model lays out fill-in-the-middle. ``ends`` are tokens that end the middle, though not every answer."""

    leading: tuple[int, ...]
    before: int
    between: int
    after: int
    ends: frozenset[int]
    marks: tuple[str, ...]
    spaces_first: bool


def find_infill(tokenizer: Any) -> Infill | None:
    """The layout that the model's tokenizer has tokens for, or None."""
    vocabulary = tokenizer.get_vocab()
    for marks in _MARKS:
        named = (marks.prefix, marks.suffix, marks.middle)
        if not all(mark in vocabulary for mark in named):
            continue
        before, between, after = (vocabulary[mark] for mark in named)
        ends = {vocabulary[end] for end in marks.ends if end in vocabulary}
        return Infill(
            _leading(tokenizer), before, between, after, frozenset({before, between, after, *ends}), named, marks.spaces_first
        )
    return None


class PromptError(ValueError):
    """The prompt does not suit this model; ``param`` is the field at fault."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def encode_prompt(tokenizer: Any, prompt: Prompt, infill: Infill | None, vocabulary: int) -> list[int]:
    """The tokens of a prompt, at least one.

    Args:
        vocabulary: how many tokens the model can read.

    Raises:
        PromptError: the model has no such prompts, or a token is none of its.
    """
    if isinstance(prompt, TextPrompt):
        tokens = list(tokenizer.encode(prompt.text))
    elif isinstance(prompt, TokenPrompt):
        tokens = list(prompt.tokens)
    elif isinstance(prompt, ChatPrompt):
        tokens = _encode_chat(tokenizer, prompt)
    else:
        tokens = _encode_infill(tokenizer, prompt, infill)
    last = min(vocabulary, len(tokenizer)) - 1
    if any(not 0 <= token <= last for token in tokens):
        raise PromptError(f"prompt holds a token that is not between 0 and {last}.", "prompt")
    return tokens or _start(tokenizer)


def _start(tokenizer: Any) -> list[int]:
    token = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if token is None:
        raise PromptError("prompt is empty, and this model has no token to start from.", "prompt")
    return [token]


def _encode_chat(tokenizer: Any, prompt: ChatPrompt) -> list[int]:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise PromptError("This model has no chat template; use /v1/completions.", "messages")
    try:
        text = tokenizer.apply_chat_template([dict(m) for m in prompt.messages], tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError) as error:
        raise PromptError(f"The model's chat template refuses these messages: {error}", "messages") from error
    return list(tokenizer.encode(text, add_special_tokens=False))


def _encode_infill(tokenizer: Any, prompt: InfillPrompt, infill: Infill | None) -> list[int]:
    if infill is None:
        raise PromptError("This model has no fill-in-the-middle tokens, so it cannot use `suffix`; leave it out.", "suffix")
    prefix = _encode_plain(tokenizer, prompt.prefix, infill.marks)
    suffix = _encode_suffix(tokenizer, prompt.suffix, infill)
    return [*infill.leading, infill.before, *prefix, infill.between, *suffix, infill.after]


def _encode_plain(tokenizer: Any, text: str, marks: Iterable[str]) -> list[int]:
    """Tokens of a user's file, in which a mark is text like any other: it is encoded in two parts."""
    within = "|".join(f"(?<={re.escape(mark[:2])})(?={re.escape(mark[2:])})" for mark in marks)
    return [token for part in re.split(within, text) for token in tokenizer.encode(part, add_special_tokens=False)]


def _encode_suffix(tokenizer: Any, suffix: str, infill: Infill) -> list[int]:
    """CodeLlama's tokenizer puts a space before every text; a suffix goes on without one."""
    if not infill.spaces_first:
        return _encode_plain(tokenizer, suffix, infill.marks)
    anchor = _encode_plain(tokenizer, "\n", ())
    joined = _encode_plain(tokenizer, "\n" + suffix, infill.marks)
    return joined[len(anchor) :] if joined[: len(anchor)] == anchor else _encode_plain(tokenizer, suffix, infill.marks)


def _leading(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer itself puts before a text (BOS), as models with such a tokenizer were trained to see."""
    bare = tokenizer.encode("a", add_special_tokens=False)
    full = tokenizer.encode("a")
    places = range(len(full) - len(bare) + 1)
    return tuple(full[: next((place for place in places if full[place : place + len(bare)] == bare), 0)])
