"""One answer while it is generated: its sampler, its text so far, when it ends, and to whom its pieces go.

A row belongs to the engine's decode thread; ``deliver`` alone crosses over to the event loop of the request.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from evolcoder.serve.engines.base import EngineError, FinishReason, Piece, SamplingParams, TokenLogprob
from evolcoder.serve.engines.sampling import RowSampler
from evolcoder.serve.engines.text import StopScanner, TokenDecoder, TokenNames

Delivery = Piece | EngineError


@dataclass(eq=False)
class ReplyChannel:
    """From the decode thread to the event loop that awaits one request's rows.

    ``closed`` is set by the loop when nobody waits any more, and polled by the thread between two steps. A lone bool that is
    written once needs no lock; at worst the thread decodes one more token.
    """

    loop: asyncio.AbstractEventLoop
    deliveries: asyncio.Queue[Delivery] = field(default_factory=asyncio.Queue)
    closed: bool = False


@dataclass(eq=False, kw_only=True)
class Row:
    """One answer.

    Args:
        prompt: what the model reads.
        follows: the tokens that the answer's text follows: the prompt, or an encoder-decoder's start tokens.
        decode: tokens to text, special tokens left out.
        names: of all tokens, for log probabilities.
        stop_ids: tokens that end the answer.
        streamed: deliver as the text grows; else once, at the end.
    """

    index: int
    prompt: list[int]
    follows: list[int]
    sampling: SamplingParams
    max_tokens: int
    decode: Callable[[list[int]], str]
    names: TokenNames
    stop_ids: Collection[int]
    channel: ReplyChannel
    streamed: bool

    def __post_init__(self) -> None:
        # The most tokens that its keys and values can come to: reserved at admission, so a running row never lacks memory.
        self.reserved_tokens = len(self.prompt) + self.max_tokens
        # Each of n answers has a sequence of its own; a request's seed alone would make them all alike.
        seed = None if self.sampling.seed is None else f"{self.sampling.seed} {self.index}"
        self.sampler = RowSampler(self.sampling, random.Random(seed))
        self.token = -1
        self.ended = False
        self._text = TokenDecoder(self.decode, self.follows)
        self._stops = StopScanner(self.sampling.stop)
        self._generated = 0
        # Characters of the answer: decoded so far, of those not held back, and those that its tokens have at least begun.
        self._decoded = self._shown = self._begun = 0
        self._offset = 0  # where its last token begins
        self._unsent = Piece(self.index, "", 0)
        self._logprobs: list[TokenLogprob] = []  # of tokens whose text is not shown yet

    def add_token(self, token: int, logprobs: list[tuple[int, float]] | None) -> Piece | None:
        """Append a token.

        Args:
            logprobs: the token and its alternatives, each with its log probability; None: they were not asked for.

        Returns:
            The piece to deliver now. None while its text is held back (a stop string or a character may be incomplete), or
            the request is not streamed; what is held back counts towards the next piece.
        """
        self.token = token
        self._generated += 1
        ended, before = token in self.stop_ids, self._decoded
        shown, reason = self._new_text(token, ended)
        self.ended = reason is not None
        self._shown += len(shown)
        if logprobs is not None and not ended:
            (own, value), *others = [(self.names[one], value) for one, value in logprobs]
            # Which character the token begins with is told by its bytes: those of 10xxxxxx go on with one that has begun.
            begins = sum(not 0x80 <= byte < 0xC0 for byte in own.data)
            goes_on = 0x80 <= next(iter(own.data), 0) < 0xC0
            offset = self._begun - goes_on
            if self._decoded == before:
                self._begun += begins
            else:  # what was decoded is whole: bytes that are no character, and were counted otherwise, no longer matter
                offset, self._begun = max(offset, self._decoded - begins - goes_on), self._decoded
            self._offset = max(self._offset, offset)
            self._logprobs.append(TokenLogprob(own, value, tuple(others), self._offset))
        # A token is shown with its text. Those that stand behind a stop string have no text in the answer, which ends there;
        # any others that are left at the end are tokens without text.
        all_of_them = reason is not None and not self._stops.stopped
        entries = tuple(entry for entry in self._logprobs if all_of_them or entry.offset < self._shown)
        self._logprobs = self._logprobs[len(entries) :]
        unsent = self._unsent
        piece = Piece(self.index, unsent.text + shown, unsent.tokens + 1, reason, unsent.logprobs + entries)
        if reason is None and not (self.streamed and piece.text):
            self._unsent = piece
            return None
        self._unsent = Piece(self.index, "", 0)
        return piece

    def _new_text(self, token: int, ended: bool) -> tuple[str, FinishReason | None]:
        shown = ""
        if not ended:
            decoded = self._text.feed(token)
            self._decoded += len(decoded)
            shown = self._stops.feed(decoded)
            if self._stops.stopped:
                return shown, "stop"
            if self._generated < self.max_tokens:
                return shown, None
        # What was held back may hold a stop string that only now is certain.
        shown += self._stops.feed(self._text.feed(None), final=True)
        return shown, "stop" if ended or self._stops.stopped else "length"


def deliver(deliveries: Iterable[tuple[Row, Delivery]]) -> None:
    """Hand deliveries over to the event loops that wait for them.

    Called from the decode thread; ``asyncio.Queue`` is not thread-safe, so the loop itself puts them in. One
    ``call_soon_threadsafe`` per loop and step, not per row: each of them writes to the loop's wake-up socket.
    """
    by_loop: dict[Any, list[tuple[Row, Delivery]]] = {}
    for row, delivery in deliveries:
        by_loop.setdefault(row.channel.loop, []).append((row, delivery))
    for loop, batch in by_loop.items():
        # One that is closed, be it at this moment, has nobody who waits; the others are still to hear of theirs.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_put, batch)


def _put(batch: list[tuple[Row, Delivery]]) -> None:
    for row, delivery in batch:
        row.channel.deliveries.put_nowait(delivery)
