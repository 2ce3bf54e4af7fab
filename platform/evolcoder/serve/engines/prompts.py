"""From a request's prompt to the model's tokens: raw text, tokens, chat templates, fill-in-the-middle.

Takes a Hugging Face tokenizer, but loads none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from evolcoder.serve.engines.base import ChatPrompt, Prompt, TextPrompt, TokenPrompt


@dataclass(frozen=True, slots=True)
class _InfillFamily:
    """The special tokens of one family of models: before the prefix, the suffix and the middle; and those that end a middle.

    ``spaces_first``: its tokenizer puts a space before every text.
    """

    prefix: str
    suffix: str
    middle: str
    ends: tuple[str, ...] = ()
    spaces_first: bool = False


_INFILL_FAMILIES = (
    # StarCoder, StarCoder2, Granite
    _InfillFamily("<fim_prefix>", "<fim_suffix>", "<fim_middle>", ("<|endoftext|>", "<file_sep>")),
    _InfillFamily("<fim-prefix>", "<fim-suffix>", "<fim-middle>", ("<|endoftext|>",)),  # SantaCoder
    # Qwen2.5-Coder, CodeGemma
    _InfillFamily(
        "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
        ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>"),
    ),
    _InfillFamily("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>", ("<｜end▁of▁sentence｜>",)),  # DeepSeek-Coder
    _InfillFamily("▁<PRE>", "▁<SUF>", "▁<MID>", ("▁<EOT>",), spaces_first=True),  # CodeLlama
    _InfillFamily("<PRE>", "<SUF>", "<MID>", ("<EOT>",), spaces_first=True),  # CodeLlama's, as others write them
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class InfillLayout:
    """How one model lays out fill-in-the-middle, in its own token ids.

    ``leading``: what comes first (BOS, or nothing). ``ends``: tokens that end a middle, though perhaps no other answer.
    ``marks``: the three special tokens as text.
    """

    leading: tuple[int, ...]
    before: int
    between: int
    after: int
    ends: frozenset[int]
    marks: tuple[str, ...]
    spaces_first: bool


def find_infill(tokenizer: Any) -> InfillLayout | None:
    """The layout of the first family whose three tokens are all in the tokenizer's vocabulary, or None."""
    vocabulary = tokenizer.get_vocab()
    for marks in _INFILL_FAMILIES:
        named = (marks.prefix, marks.suffix, marks.middle)
        if not all(mark in vocabulary for mark in named):
            continue
        before, between, after = (vocabulary[mark] for mark in named)
        ends = {vocabulary[end] for end in marks.ends if end in vocabulary}
        return InfillLayout(
            _leading(tokenizer), before, between, after, frozenset({before, between, after, *ends}), named, marks.spaces_first
        )
    return None


class PromptError(ValueError):
    """The prompt does not suit this model; ``param`` is the field at fault."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def encode_prompt(tokenizer: Any, prompt: Prompt, infill: InfillLayout | None, vocabulary: int) -> list[int]:
    """The tokens of a prompt, at least one.

    Args:
        vocabulary: how many tokens the model can read.

    Raises:
        PromptError: the model does not support such prompts, or a token is not in its vocabulary.
    """
    if isinstance(prompt, TextPrompt):
        tokens = list(tokenizer.encode(prompt.text))
    elif isinstance(prompt, TokenPrompt):
        tokens = list(prompt.tokens)
    elif isinstance(prompt, ChatPrompt):
        tokens = _encode_chat(tokenizer, prompt)
    elif infill is None:
        raise PromptError("This model has no fill-in-the-middle tokens, so it cannot use `suffix`; leave it out.", "suffix")
    else:
        prefix = _encode_plain(tokenizer, prompt.prefix, infill.marks)
        suffix = _encode_suffix(tokenizer, prompt.suffix, infill)
        tokens = [*infill.leading, infill.before, *prefix, infill.between, *suffix, infill.after]
    last = min(vocabulary, len(tokenizer)) - 1
    if any(not 0 <= token <= last for token in tokens):
        raise PromptError(f"prompt holds a token that is not between 0 and {last}.", "prompt")
    if tokens:
        return tokens
    # An empty prompt: a model without BOS was trained on texts separated by EOS, so a text may follow that.
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise PromptError("prompt is empty, and this model has no token to start from.", "prompt")
    return [start]


def _encode_chat(tokenizer: Any, prompt: ChatPrompt) -> list[int]:
    from jinja2 import TemplateError

    if not tokenizer.chat_template:
        raise PromptError("This model has no chat template; use /v1/completions.", "messages")
    try:
        text = tokenizer.apply_chat_template([dict(m) for m in prompt.messages], tokenize=False, add_generation_prompt=True)
    except (TemplateError, TypeError) as error:
        raise PromptError(f"The model's chat template refuses these messages: {error}", "messages") from error
    return list(tokenizer.encode(text, add_special_tokens=False))  # the template wrote BOS where the model wants it


def _encode_plain(tokenizer: Any, text: str, marks: Iterable[str]) -> list[int]:
    """Tokens of a user's file. A mark in it is text like any other: it is split in two, and the parts encoded apart.

    Else a file that mentions ``<fim_suffix>`` (this one does) would end its own prefix.
    """
    within = "|".join(f"(?<={re.escape(mark[:2])})(?={re.escape(mark[2:])})" for mark in marks)
    return [token for part in re.split(within, text) for token in tokenizer.encode(part, add_special_tokens=False)]


def _encode_suffix(tokenizer: Any, suffix: str, infill: InfillLayout) -> list[int]:
    """CodeLlama's tokenizer puts a space before every text, and a suffix must not get one.

    So the suffix is encoded after a line break, and the tokens of the line break are cut off again.
    """
    if not infill.spaces_first:
        return _encode_plain(tokenizer, suffix, infill.marks)
    anchor = _encode_plain(tokenizer, "\n", ())
    joined = _encode_plain(tokenizer, "\n" + suffix, infill.marks)
    return joined[len(anchor) :] if joined[: len(anchor)] == anchor else _encode_plain(tokenizer, suffix, infill.marks)


def _leading(tokenizer: Any) -> tuple[int, ...]:
    """What the tokenizer itself puts before a text, usually BOS or nothing: found by encoding one with and without."""
    bare = tokenizer.encode("a", add_special_tokens=False)
    full = tokenizer.encode("a")
    places = range(len(full) - len(bare) + 1)
    return tuple(full[: next((place for place in places if full[place : place + len(bare)] == bare), 0)])
