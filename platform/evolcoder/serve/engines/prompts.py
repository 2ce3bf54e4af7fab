"""From a request's prompt to the model's tokens: raw text, tokens, chat messages, fill-in-the-middle.

Takes a Hugging Face tokenizer, but loads none. What training shows as well is rendered by ``evolcoder.text.rendering``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from evolcoder.serve.engines.base import ChatPrompt, Prompt, TextPrompt, TokenPrompt
from evolcoder.text.rendering import chat_tokens, leading, words

_INFILL_FAMILIES = (
    # StarCoder, StarCoder2, Granite
    (("<fim_prefix>", "<fim_suffix>", "<fim_middle>"), ("<|endoftext|>", "<file_sep>"), False),
    (("<fim-prefix>", "<fim-suffix>", "<fim-middle>"), ("<|endoftext|>",), False),  # SantaCoder
    # Qwen2.5-Coder, CodeGemma
    (("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),
     ("<|endoftext|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<|file_separator|>"), False),
    (("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"), ("<｜end▁of▁sentence｜>",), False),  # DeepSeek-Coder
    (("▁<PRE>", "▁<SUF>", "▁<MID>"), ("▁<EOT>",), True),  # CodeLlama
    (("<PRE>", "<SUF>", "<MID>"), ("<EOT>",), True),  # CodeLlama's, as others write them
)  # fmt: skip
"""The special tokens of each family of models: before the prefix, the suffix and the middle; then those that end a middle; and
whether its tokenizer puts a space before every text."""


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
    for marks, ends, spaces_first in _INFILL_FAMILIES:
        if all(mark in vocabulary for mark in marks):
            before, between, after = (vocabulary[mark] for mark in marks)
            known = {vocabulary[end] for end in ends if end in vocabulary}
            return InfillLayout(before, between, after, frozenset({before, between, after, *known}), marks, spaces_first)
    return None


@dataclass(eq=False)
class PromptError(Exception):
    """The prompt does not suit this model; ``param`` is the field at fault."""

    message: str
    param: str


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
        texts = [prompt.prefix, prompt.suffix, "\n", "\n" + prompt.suffix]
        prefix, suffix, line_end, line_and_suffix = words(tokenizer, texts, infill.marks)
        # CodeLlama's tokenizer puts a space before every text, and a suffix must not get one. So it is encoded after a line
        # break, and the tokens of that are cut off again.
        if infill.spaces_first and line_and_suffix[: len(line_end)] == line_end:
            suffix = line_and_suffix[len(line_end) :]
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
