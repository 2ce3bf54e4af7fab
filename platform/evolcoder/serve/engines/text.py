"""From tokens to text as it grows: whole characters only, and cut before a stop string. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

CONTEXT_TOKENS = 6
"""How many prompt tokens are decoded along with the first new ones: some tokenizers drop a leading space otherwise."""

_INCOMPLETE = "\ufffd"


class StopScanner:
    """Passes text on until a stop string is complete; holds back what may be the beginning of one.

    The stop that is complete first counts (of several, the longest), so the result does not depend on how the text is
    cut into pieces. Nothing of it, and nothing after, is passed on.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stop for stop in stops if stop)
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """The text that may be shown now."""
        if self.stopped or not self._stops:
            return "" if self.stopped else text
        held = self._held + text
        found = [(held.index(stop) + len(stop), held.index(stop)) for stop in self._stops if stop in held]
        if found:
            self.stopped, self._held = True, ""
            return held[: min(found)[1]]
        keep = max((_overlap(held, stop) for stop in self._stops), default=0)
        shown, self._held = held[: len(held) - keep], held[len(held) - keep :]
        return shown

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``stop``."""
    for length in range(min(len(text), len(stop) - 1), 0, -1):
        if text.endswith(stop[:length]):
            return length
    return 0


class TokenDecoder:
    """Decodes one token after the other; a character that needs several tokens comes with its last one.

    Args:
        decode: a tokenizer's tokens to text.
        prompt_tokens: what the new tokens follow.
    """

    def __init__(self, decode: Callable[[list[int]], str], prompt_tokens: Sequence[int]) -> None:
        self._decode = decode
        self._tokens = list(prompt_tokens[-CONTEXT_TOKENS:])
        self._start = 0
        self._shown = len(self._tokens)

    def feed(self, token: int) -> str:
        self._tokens.append(token)
        return self._new_text(final=False)

    def flush(self) -> str:
        """What is left when no more tokens come, broken characters included."""
        return self._new_text(final=True)

    def _new_text(self, final: bool) -> str:
        if self._shown == len(self._tokens):
            return ""
        before = self._decode(self._tokens[self._start : self._shown])
        after = self._decode(self._tokens[self._start :])
        if (after.endswith(_INCOMPLETE) and not final) or len(after) <= len(before):
            return ""
        self._start, self._shown = self._shown, len(self._tokens)
        return after[len(before) :]
