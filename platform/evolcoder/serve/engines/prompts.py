"""From a request's prompt to the model's tokens: raw text, tokens, chat templates, fill-in-the-middle.

Needs a tokenizer in Hugging Face's form, but loads none.
"""

from __future__ import annotations

from typing import Any

from evolcoder.serve.engines.base import ChatPrompt, InfillPrompt, Prompt, TextPrompt, TokenPrompt

FILL_IN_TOKENS = (
    ("<fim_prefix>", "<fim_suffix>", "<fim_middle>"),  # StarCoder, StarCoder2, Granite
    ("<fim-prefix>", "<fim-suffix>", "<fim-middle>"),  # SantaCoder
    ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>"),  # Qwen2.5-Coder, CodeGemma
    ("<｜fim▁begin｜>", "<｜fim▁hole｜>", "<｜fim▁end｜>"),  # DeepSeek-Coder
)
"""What stands before the prefix, before the suffix, and before the middle that the model is to write."""


class PromptError(ValueError):
    """The prompt does not suit this model; ``param`` is the field at fault."""

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message)
        self.param = param


def encode_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """The tokens of a prompt, at least one.

    Raises:
        PromptError: the model has no such prompts, or a token is none of its.
    """
    if isinstance(prompt, TextPrompt):
        return list(tokenizer.encode(prompt.text)) or _start(tokenizer)
    if isinstance(prompt, TokenPrompt):
        if any(not 0 <= token < len(tokenizer) for token in prompt.tokens):
            raise PromptError(f"prompt holds a token that is not between 0 and {len(tokenizer) - 1}.", "prompt")
        return list(prompt.tokens) or _start(tokenizer)
    if isinstance(prompt, ChatPrompt):
        return _encode_chat(tokenizer, prompt)
    return _encode_infill(tokenizer, prompt)


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
    return list(tokenizer.encode(text, add_special_tokens=False)) or _start(tokenizer)


def _encode_infill(tokenizer: Any, prompt: InfillPrompt) -> list[int]:
    added = tokenizer.get_added_vocab()
    for marks in FILL_IN_TOKENS:
        if all(mark in added for mark in marks):
            before, between, after = (added[mark] for mark in marks)
            # Text and marks are encoded apart, so that a mark within the user's file is only text to the layout.
            prefix = tokenizer.encode(prompt.prefix, add_special_tokens=False)
            suffix = tokenizer.encode(prompt.suffix, add_special_tokens=False)
            return [before, *prefix, between, *suffix, after]
    raise PromptError("This model has no fill-in-the-middle tokens, so it cannot use `suffix`; leave it out.", "suffix")
