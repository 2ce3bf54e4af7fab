"""Incremental detokenisation: whole characters only, and nothing from a stop string on; and each token's own bytes. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from evolcoder.serve.engines.base import Token

CONTEXT_TOKENS = 6
"""How many prompt tokens are decoded along with the first new ones: some tokenizers drop a leading space otherwise."""

_INCOMPLETE = "\ufffd"
"""What tokenizers decode bytes to that are no whole character (yet)."""


class StopScanner:
    """Passes text on until a stop string is complete, and holds back what may be the beginning of one.

    A stop string may be spread over several tokens, and what was sent to a client cannot be taken back. The stop that is
    complete first counts (of several, the longest), so the result does not depend on how the text is cut into pieces.
    Neither the stop string nor anything after it is passed on.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def feed(self, text: str, final: bool = False) -> str:
        """The text that may be sent now; ``final``: no more comes, so what was held back is sent too."""
        if self.stopped or not self._stops:
            return "" if self.stopped else text
        held = self._held + text
        # By end, then by start: the first to be complete, and of those that end together the longest.
        found = [(held.index(stop) + len(stop), held.index(stop)) for stop in self._stops if stop in held]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)[1]]
        # Only an end of the text can still grow into a stop; all before it is safe to send.
        beginnings = [stop[:length] for stop in self._stops for length in range(1, min(len(stop), len(held) + 1))]
        keep = 0 if final else max((len(beginning) for beginning in beginnings if held.endswith(beginning)), default=0)
        shown, self._held = held[: len(held) - keep], held[len(held) - keep :]
        return shown


class TokenDecoder:
    """Decodes one token after the other; a character that takes several tokens comes with its last one.

    Tokens cannot be decoded one by one: spaces and multi-byte characters depend on neighbours. So the last tokens are decoded
    with and without the new ones, and the difference is the new text. Only a short window is decoded, which keeps the cost of
    a token independent of the length of the answer.

    Args:
        decode: a tokenizer's tokens to text.
        prompt_tokens: what the new tokens follow.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt_tokens: Sequence[int]) -> None:
        self._decode = decode
        context = list(prompt_tokens[-CONTEXT_TOKENS:])
        # A prompt that ends within a character is no context: what the answer adds could not be told from it.
        self._tokens = [] if decode(context).endswith(_INCOMPLETE) else context
        # Tokens [start, shown) are context whose text was sent; tokens from ``shown`` on are not sent yet.
        self._start = 0
        self._shown = len(self._tokens)

    def feed(self, token: int | None) -> str:
        """The text that is whole now. None: no more tokens come, so incomplete characters are given too (as U+FFFD)."""
        if token is not None:
            self._tokens.append(token)
        if self._shown == len(self._tokens):
            return ""
        before = self._decode(self._tokens[self._start : self._shown])
        after = self._decode(self._tokens[self._start :])
        # An end of U+FFFD may become a character with the next token. A model may also write U+FFFD itself: it is then held
        # back until the next token, which costs a moment and loses nothing.
        if (after.endswith(_INCOMPLETE) and token is not None) or len(after) <= len(before):
            return ""
        self._start, self._shown = self._shown, len(self._tokens)
        return after[len(before) :]


class TokenNames(dict[int, Token]):
    """The name and the own bytes of each token of a tokenizer.

    Decoding one token alone would not do: SentencePiece drops its leading space, and of half a character U+FFFD is left.
    """

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = dict(tokenizer.added_tokens_decoder)
        self._special = {*tokenizer.all_special_ids, *(number for number, token in self._added.items() if token.special)}
        self._decoder = repr(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", None))
        # GPT-2's alphabet, in which byte-level tokens are written: printable bytes stand for themselves, and the others for
        # the characters from 256 on, in their order.
        printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
        others = [byte for byte in range(256) if byte not in printable]
        self._bytes = {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}

    def __missing__(self, number: int) -> Token:
        written = self._tokenizer.convert_ids_to_tokens(number) or ""
        data = b"" if number in self._special else self._data(number, written)
        try:
            name = data.decode() or written
        except UnicodeDecodeError:
            name = "bytes:" + "".join(f"\\x{byte:02x}" for byte in data)
        self[number] = Token(number, name, data)
        return self[number]

    def _data(self, number: int, written: str) -> bytes:
        if number in self._added:
            return str(self._added[number].content).encode()
        if "ByteLevel" in self._decoder and all(letter in self._bytes for letter in written):
            return bytes(self._bytes[letter] for letter in written)
        if "ByteFallback" in self._decoder and re.fullmatch("<0x[0-9A-F]{2}>", written):
            return bytes([int(written[3:5], 16)])
        if "▁" in self._decoder:
            return written.replace("▁", " ").encode()
        return str(self._tokenizer.decode([number])).encode("utf-8", "replace")
