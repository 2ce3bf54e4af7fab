"""An engine's pieces as OpenAI's replies: whole, or as the chunks of a stream; and errors in OpenAI's format. Pure."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from evolcoder.serve.engines.base import Piece, TokenLogprob
from evolcoder.serve.protocol import RequestError


@dataclass(slots=True)
class Usage:
    """Tokens of a request so far."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ReplyFormat:
    """Formats one reply. Its id and time are fixed at the start, as all chunks of a stream must carry the same ones.

    ``chat`` tells the two kinds of reply apart: of ``/v1/chat/completions`` and of ``/v1/completions``.
    """

    chat: bool
    model: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    created: int = field(default_factory=lambda: int(time.time()))

    def whole(self, pieces: Sequence[Piece], usage: Usage) -> dict[str, Any]:
        """A reply that is not streamed; each of ``pieces`` holds one whole answer."""
        in_order = sorted(pieces, key=lambda piece: piece.index)  # they arrive in the order in which they end
        choices = [self._choice(piece, {"message": {"role": "assistant", "content": piece.text}}) for piece in in_order]
        return self._reply("chat.completion", choices, usage)

    def opening(self, index: int) -> dict[str, Any]:
        """The first chunk of each answer in a chat's stream: it carries the role, and no text."""
        choice = self._choice(Piece(index, "", 0), {"delta": {"role": "assistant", "content": ""}})
        return self._reply("chat.completion.chunk", [choice])

    def chunk(self, piece: Piece) -> dict[str, Any]:
        """One piece of a stream."""
        choice = self._choice(piece, {"delta": {"content": piece.text} if piece.text else {}})
        return self._reply("chat.completion.chunk", [choice])

    def closing(self, usage: Usage) -> dict[str, Any]:
        """The last chunk of a stream whose client asked for the usage."""
        return self._reply("chat.completion.chunk", [], usage)

    def _choice(self, piece: Piece, in_chat: dict[str, Any]) -> dict[str, Any]:
        """A piece's entry among the choices; ``in_chat`` is how a chat puts its text."""
        said = in_chat if self.chat else {"text": piece.text}
        logprobs = (_chat_logprobs if self.chat else _text_logprobs)(piece.logprobs) if piece.logprobs else None
        return {"index": piece.index, **said, "logprobs": logprobs, "finish_reason": piece.finish_reason}

    def _reply(self, chat_object: str, choices: list[dict[str, Any]], usage: Usage | None = None) -> dict[str, Any]:
        prefix, kind = ("chatcmpl", chat_object) if self.chat else ("cmpl", "text_completion")
        head = {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}
        if usage is None:
            return {**head, "choices": choices}
        total = usage.prompt_tokens + usage.completion_tokens
        return {**head, "choices": choices, "usage": {**asdict(usage), "total_tokens": total}}


def error_reply(error: RequestError) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": error.kind, "param": error.param, "code": error.code}}


def event(data: dict[str, Any] | None) -> str:
    """One server-sent event; None is the end of the stream."""
    return f"data: {'[DONE]' if data is None else json.dumps(data, ensure_ascii=False)}\n\n"


def _text_logprobs(entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    top: list[dict[str, float]] = []
    for entry in entries:
        named: dict[str, float] = {}
        for token, logprob in entry.alternatives:  # two tokens may have one name, and each is an alternative
            named[f"token_id:{token.id}" if token.name in named else token.name] = logprob
        top.append(named)
    return {
        "tokens": [entry.token.name for entry in entries],
        "token_logprobs": [entry.logprob for entry in entries],
        "top_logprobs": top,
        "text_offset": [entry.offset for entry in entries],
    }


def _chat_logprobs(entries: Sequence[TokenLogprob]) -> dict[str, Any]:
    content = []
    for entry in entries:
        pairs = [(entry.token, entry.logprob), *entry.alternatives]
        named = [{"token": token.name, "logprob": logprob, "bytes": list(token.data)} for token, logprob in pairs]
        content.append({**named[0], "top_logprobs": named[1:]})
    return {"content": content}
