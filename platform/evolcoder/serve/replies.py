"""An engine's pieces as OpenAI's replies: whole, or as the chunks of a stream; and errors in OpenAI's shape. Pure."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evolcoder.serve.engines.base import Piece, TokenLogprob
from evolcoder.serve.protocol import RequestError


@dataclass(slots=True)
class Usage:
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def to_json(self) -> dict[str, int]:
        total = self.prompt_tokens + self.completion_tokens
        return {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens, "total_tokens": total}


@dataclass(frozen=True, slots=True)
class Shape:
    """The head of one reply. ``chat`` tells the two kinds of reply apart."""

    chat: bool
    model: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        """A reply in one; ``pieces`` hold one whole answer each."""
        choices = [self._whole_choice(piece) for piece in sorted(pieces, key=lambda piece: piece.index)]
        return {**self._head("chat.completion"), "choices": choices, "usage": usage.to_json()}

    def opening(self, index: int) -> dict[str, Any]:
        """The chunk that a chat's stream begins with, for each answer."""
        return self._chunk(
            {"index": index, "delta": {"role": "assistant", "content": ""}, "logprobs": None, "finish_reason": None}
        )

    def chunk(self, piece: Piece, offset: int) -> dict[str, Any]:
        """One piece of a stream; ``offset`` characters of its answer came before."""
        choice: dict[str, Any] = {"index": piece.index}
        if self.chat:
            choice["delta"] = {"content": piece.text} if piece.text else {}
            choice["logprobs"] = _chat_logprobs(piece.logprobs)
        else:
            choice["text"] = piece.text
            choice["logprobs"] = _text_logprobs(piece.logprobs, offset)
        choice["finish_reason"] = piece.finish_reason
        return self._chunk(choice)

    def closing(self, usage: Usage) -> dict[str, Any]:
        """The last chunk of a stream whose client asked for the usage."""
        return {**self._head("chat.completion.chunk"), "choices": [], "usage": usage.to_json()}

    def _chunk(self, choice: dict[str, Any]) -> dict[str, Any]:
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, chat_object: str) -> dict[str, Any]:
        prefix, kind = ("chatcmpl", chat_object) if self.chat else ("cmpl", "text_completion")
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _whole_choice(self, piece: Piece) -> dict[str, Any]:
        if not self.chat:
            logprobs = _text_logprobs(piece.logprobs, 0)
            return {"index": piece.index, "text": piece.text, "logprobs": logprobs, "finish_reason": piece.finish_reason}
        return {
            "index": piece.index,
            "message": {"role": "assistant", "content": piece.text},
            "logprobs": _chat_logprobs(piece.logprobs),
            "finish_reason": piece.finish_reason,
        }


def error_reply(error: RequestError) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


def models_reply(name: str, created: int, max_model_len: int) -> dict[str, Any]:
    return {"object": "list", "data": [model_reply(name, created, max_model_len)]}


def model_reply(name: str, created: int, max_model_len: int) -> dict[str, Any]:
    """``max_model_len`` is no field of OpenAI's; editors that lay out prompts by themselves read it."""
    return {"id": name, "object": "model", "created": created, "owned_by": "evolcoder", "max_model_len": max_model_len}


def event(data: dict[str, Any] | None) -> str:
    """One server-sent event; None is the end of the stream."""
    return f"data: {'[DONE]' if data is None else json.dumps(data, ensure_ascii=False)}\n\n"


def _text_logprobs(tokens: Sequence[TokenLogprob], offset: int) -> dict[str, Any] | None:
    if not tokens:
        return None
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.token)
    return {
        "tokens": [token.token for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [dict(token.alternatives) for token in tokens],
        "text_offset": offsets,
    }


def _chat_logprobs(tokens: Sequence[TokenLogprob]) -> dict[str, Any] | None:
    if not tokens:
        return None
    return {
        "content": [
            {**_token_entry(t.token, t.logprob), "top_logprobs": [_token_entry(*pair) for pair in t.alternatives]}
            for t in tokens
        ]
    }


def _token_entry(token: str, logprob: float) -> dict[str, Any]:
    return {"token": token, "logprob": logprob, "bytes": list(token.encode("utf-8", "replace"))}
