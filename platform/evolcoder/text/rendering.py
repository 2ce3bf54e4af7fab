"""From text to the tokens that a model reads: what training shows and what serving sends, rendered in one place. Pure.

Words are words: a special token's name in what a user wrote (``<|im_end|>``) is encoded as the letters that it is, and only the
template's own special tokens are special. Takes a Hugging Face tokenizer, but loads none. The Alpaca format itself is in
``templates.py``; fill-in-the-middle is the endpoint's alone.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

from evolcoder.text.templates import ALPACA_CHAT_TEMPLATE


class Tokenizer(Protocol):
    """The part of a Hugging Face tokenizer that training's rows need."""

    eos_token_id: int | None
    bos_token_id: int | None

    def __call__(self, text: list[str], **options: Any) -> Any:
        """A mapping whose ``input_ids`` has one list of token ids for each text."""


def words(tokenizer: Tokenizer, texts: Sequence[str], marks: Collection[str] = ()) -> list[list[int]]:
    """Token ids of plain texts: a special token's name inside one is text, not the token.

    Args:
        marks: added tokens that are not special, and yet are to be text. Such a name is split in two, and the parts are
            encoded apart.
    """
    if not texts:
        return []
    if not marks:
        encoded = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)
        return [list(ids) for ids in encoded["input_ids"]]
    within = "|".join(f"(?<={re.escape(mark[:2])})(?={re.escape(mark[2:])})" for mark in marks)
    return [[token for part in words(tokenizer, re.split(within, text)) for token in part] for text in texts]


def leading(tokenizer: Tokenizer) -> list[int]:
    """What the tokenizer itself puts before a text, usually BOS or nothing: found by encoding one with and without.

    What it puts behind a text (some end each with EOS) does not belong behind a prompt, which the answer is to follow.
    """
    bare = words(tokenizer, ["a"])[0]
    full = list(tokenizer(["a"])["input_ids"][0])
    places = range(len(full) - len(bare) + 1)
    return full[: next((place for place in places if full[place : place + len(bare)] == bare), 0)]


def alpaca_chat_template(tokenizer: Any) -> str:
    """The chat template of a tuned model, which renders exactly what training showed: chat servers add no BOS of their own."""
    first = leading(tokenizer)
    if not first:
        return ALPACA_CHAT_TEMPLATE
    if first == [tokenizer.bos_token_id]:
        return "{{- bos_token -}}" + ALPACA_CHAT_TEMPLATE
    return "".join(f"{{{{- {str(name)!r} -}}}}" for name in tokenizer.convert_ids_to_tokens(first)) + ALPACA_CHAT_TEMPLATE


def chat_tokens(tokenizer: Any, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """Messages laid out by the tokenizer's chat template, up to where the answer begins.

    Raises:
        Whatever the template raises: it may refuse messages, or stumble over them.
    """
    template = str(tokenizer.chat_template)
    added = tokenizer.added_tokens_decoder.values()
    marks = [token.content for token in added if not token.special and token.content.strip() and token.content in template]
    names = [*marks, *(token.content for token in added if token.special)]
    name = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True)) or "(?!)"
    # A letter of Unicode's private area before each name that a user wrote: so they can be told from the template's own.
    written = "".join(message["content"] for message in messages)
    flag = next(letter for letter in map(chr, range(0xE000, 0xF8FF)) if letter not in written)
    flagged = [{**message, "content": re.sub(name, rf"{flag}\g<0>", message["content"])} for message in messages]
    text = tokenizer.apply_chat_template(flagged, tokenize=False, add_generation_prompt=True)
    if flag not in text and not template.endswith(ALPACA_CHAT_TEMPLATE):
        return list(tokenizer.encode(text, add_special_tokens=False))  # as the model's makers do; the template wrote BOS
    # Else as training encodes: the special tokens one by one, and each run of words between them on its own.
    tokens: list[int] = []
    for place, part in enumerate(re.split(f"(?<!{flag})({name})", text)):
        tokens += [tokenizer.convert_tokens_to_ids(part)] if place % 2 else words(tokenizer, [part.replace(flag, "")], marks)[0]
    return tokens
