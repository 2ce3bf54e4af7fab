"""One answer while it is generated: what it has drawn, how far its text is, when it ends, and who waits for it.

Belongs to the engine's thread; pieces are handed to the asker's event loop.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from evolcoder.serve.engines.base import EngineError, FinishReason, Piece, Sampling, TokenLogprob
from evolcoder.serve.engines.sampling import Drawer
from evolcoder.serve.engines.text import StopScanner, TokenDecoder

Delivery = Piece | EngineError


@dataclass(eq=False)
class Asker:
    """Who waits for the rows of one question. ``left`` is set when nobody does any more."""

    loop: asyncio.AbstractEventLoop
    deliveries: asyncio.Queue[Delivery] = field(default_factory=asyncio.Queue)
    left: bool = False


class Row:
    """One answer.

    Args:
        prompt: what the model reads.
        follows: the tokens that the answer's text goes on from: the prompt, or a decoder's own start.
        decode: tokens to text, special tokens left out.
        stop_ids: tokens that end the answer.
        streamed: deliver as it grows; else once, at the end.
    """

    def __init__(
        self,
        index: int,
        prompt: list[int],
        follows: list[int],
        sampling: Sampling,
        max_tokens: int,
        decode: Callable[[list[int]], str],
        stop_ids: Collection[int],
        asker: Asker,
        streamed: bool,
    ) -> None:
        self.index, self.prompt, self.max_tokens, self.asker = index, prompt, max_tokens, asker
        seed = None if sampling.seed is None else f"{sampling.seed} {index}"
        self.drawer = Drawer(sampling, random.Random(seed))
        self.token = -1
        self._decode, self._stop_ids, self._streamed = decode, stop_ids, streamed
        self._text = TokenDecoder(decode, follows)
        self._stops = StopScanner(sampling.stop)
        self._generated = 0
        self._unsent = Piece(index, "", 0)

    @property
    def reserved_tokens(self) -> int:
        """The most that its keys and values can come to."""
        return len(self.prompt) + self.max_tokens

    def take(self, token: int, logprobs: list[tuple[int, float]] | None) -> Piece | None:
        """Count a new token in; returns what is to be delivered now, if anything."""
        self.token = token
        self._generated += 1
        shown, reason = self._show(token)
        entry = () if logprobs is None else (self._logprob(logprobs),)
        unsent = self._unsent
        piece = Piece(self.index, unsent.text + shown, unsent.tokens + 1, reason, unsent.logprobs + entry)
        if reason is None and not (self._streamed and (piece.text or piece.logprobs)):
            self._unsent = piece
            return None
        self._unsent = Piece(self.index, "", 0)
        return piece

    def _show(self, token: int) -> tuple[str, FinishReason | None]:
        if token in self._stop_ids:
            return self._rest(), "stop"
        shown = self._stops.feed(self._text.feed(token))
        if self._stops.stopped:
            return shown, "stop"
        if self._generated == self.max_tokens:
            shown += self._rest()
            return shown, "stop" if self._stops.stopped else "length"
        return shown, None

    def _rest(self) -> str:
        shown = self._stops.feed(self._text.flush())
        return shown + self._stops.flush()

    def _logprob(self, pairs: list[tuple[int, float]]) -> TokenLogprob:
        named = [(self._decode([token]), value) for token, value in pairs]
        return TokenLogprob(named[0][0], named[0][1], tuple(named[1:]))


def deliver(deliveries: Iterable[tuple[Row, Delivery]]) -> None:
    """Hand pieces over, waking each event loop once."""
    by_loop: dict[Any, list[tuple[Row, Delivery]]] = {}
    for row, delivery in deliveries:
        by_loop.setdefault(row.asker.loop, []).append((row, delivery))
    for loop, batch in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_put, batch)


def _put(batch: list[tuple[Row, Delivery]]) -> None:
    for row, delivery in batch:
        row.asker.deliveries.put_nowait(delivery)
