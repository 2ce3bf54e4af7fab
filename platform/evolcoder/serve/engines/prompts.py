"""From a request's prompt to the model's tokens: raw text, tokens, chat messages, fill-in-the-middle.

Takes a Hugging Face tokenizer, but loads none. What training shows as well is rendered by ``evolcoder.text.rendering``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from evolcoder.serve.engines.base import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from evolcoder.text.rendering import chat_tokens, leading, words


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

    ``ends``: tokens that end a middle, though perhaps no other answer. ``marks``: the three special tokens as text.
    """

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
        return InfillLayout(before, between, after, frozenset({before, between, after, *ends}), named, marks.spaces_first)
    return None


class PromptError(ValueError):
    """The prompt does not suit this model; ``param`` is the field at fault."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def encode_prompt(tokenizer: Any, prompt: Prompt, infill: InfillLayout | None, vocabulary: int, encoder: bool) -> list[int]:
    """The tokens of a prompt, at least one.

    Args:
        vocabulary: how many tokens the model can read.
        encoder: an encoder reads the prompt, which then ends as the tokenizer ends a text; else the answer is to follow it.

    Raises:
        PromptError: the model does not support such prompts, or a token is not in its vocabulary.
    """
    field = "messages" if isinstance(prompt, ChatPrompt) else "prompt"
    if isinstance(prompt, TextPrompt):
        tokens = list(tokenizer.encode(prompt.text, add_special_tokens=encoder))
        tokens = tokens if encoder else [*leading(tokenizer), *tokens]
    elif isinstance(prompt, TokenPrompt):
        tokens = list(prompt.tokens)
    elif isinstance(prompt, ChatPrompt):
        if not tokenizer.chat_template:
            raise PromptError("This model has no chat template; use /v1/completions.", field)
        try:
            tokens = chat_tokens(tokenizer, prompt.messages)
        except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise PromptError(f"The model's chat template refuses these messages: {error}", field) from error
    elif infill is None:
        raise PromptError("This model has no fill-in-the-middle tokens, so it cannot use `suffix`; leave it out.", "suffix")
    else:
        (prefix,) = words(tokenizer, [prompt.prefix], infill.marks)
        suffix = _suffix_tokens(tokenizer, prompt.suffix, infill)
        tokens = [*leading(tokenizer), infill.before, *prefix, infill.between, *suffix, infill.after]
    last = min(vocabulary, len(tokenizer)) - 1
    if any(not 0 <= token <= last for token in tokens):
        raise PromptError(f"{field} holds a token that is not between 0 and {last}.", field)
    if tokens:
        return tokens
    # An empty prompt: a model without BOS was trained on texts separated by EOS, so a text may follow that.
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise PromptError(f"{field} is empty, and this model has no token to start from.", field)
    return [start]


def _suffix_tokens(tokenizer: Any, suffix: str, infill: InfillLayout) -> list[int]:
    """CodeLlama's tokenizer puts a space before every text, and a suffix must not get one.

    So the suffix is encoded after a line break, and the tokens of the line break are cut off again.
    """
    plain, anchor, joined = words(tokenizer, [suffix, "\n", "\n" + suffix], infill.marks)
    return joined[len(anchor) :] if infill.spaces_first and joined[: len(anchor)] == anchor else plain
