"""The interface between gateway and engine: plain data that travels between Ray processes. No torch here.

An engine answers a ``GenerationRequest`` with one ``Accepted`` and then ``Piece`` after ``Piece``, or with one ``Rejected``.
Not streamed, there is one piece for each answer. Closing the iterator stops the generation; ``EngineError`` breaks it off.
It has ``answer``, ``stats`` and ``is_alive``, and is made and called by ``replicas.EngineReplica`` alone.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from typing import Literal

FinishReason = Literal["stop", "length"]


@dataclass(frozen=True, slots=True)
class TextPrompt:
    """Raw text; special tokens written in it are encoded as special tokens."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenPrompt:
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class InfillPrompt:
    """Code before and after a gap that the model is to fill."""

    prefix: str
    suffix: str


@dataclass(frozen=True, slots=True)
class ChatPrompt:
    """Messages as ``{"role": ..., "content": ...}``, for the model's own chat template."""

    messages: tuple[Mapping[str, str], ...]


Prompt = TextPrompt | TokenPrompt | InfillPrompt | ChatPrompt


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How tokens are sampled. ``max_tokens`` None: as many as the context still holds.

    A ``temperature`` or a ``top_p`` of 0 is greedy. ``logprobs`` asks for each token's log probability and that many of the
    likeliest alternatives; the numbers are the model's own, before temperature and penalties. ``ignore_eos`` goes on after an
    end token, for measurements.
    """

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logprobs: int | None = None
    ignore_eos: bool = False


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """Prompts to be answered ``n`` times each; the answer to prompt p, choice c has the index p x n + c."""

    prompts: tuple[Prompt, ...]
    sampling: SamplingParams
    n: int = 1


@dataclass(frozen=True, slots=True)
class Accepted:
    """Sent before the first piece: the tokens of all prompts together, each counted once."""

    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Rejected:
    """The request does not suit this model; ``code`` and ``param`` are those of OpenAI's errors."""

    message: str
    code: str | None = None
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Token:
    """A token as log probabilities show it.

    ``data`` are the bytes that it adds to the text: perhaps part of a character, and none for a special token, which is not
    shown. ``name`` is its text; of bytes that are no text ``bytes:\\xf0\\x9f``, as OpenAI writes them.
    """

    id: int
    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """``offset``: at which character of the answer the token begins."""

    token: Token
    logprob: float
    alternatives: tuple[tuple[Token, float], ...]
    offset: int


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of one answer. ``tokens`` were generated since its last piece; the last piece has a ``finish_reason``."""

    index: int
    text: str
    tokens: int
    finish_reason: FinishReason | None = None
    logprobs: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True)
class EngineStats:
    """One moment of an engine, its totals since it started, and what it is.

    ``decoding`` says how answers are decoded side by side; ``sequential`` means that they are not batched.
    """

    running: int
    waiting: int
    steps: int
    generated_tokens: int
    prompt_tokens: int
    cancelled: int
    max_model_len: int
    decoding: str


Events = AsyncGenerator[Accepted | Rejected | Piece, None]


class EngineError(Exception):
    """An engine could not go on with an answer, e.g. out of memory; asking again may work."""

    @classmethod
    def of(cls, fault: BaseException) -> EngineError:
        """Whatever a request met, said of that request."""
        if isinstance(fault, cls):
            return fault
        return cls(f"This request could not be answered ({type(fault).__name__}: {' '.join(str(fault).split())[:300]}).")
