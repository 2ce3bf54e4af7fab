"""One answer while it grows: what of it is delivered when."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest
from tests.serve.engines.test_text import byte_level

from evolcoder.serve.engines.base import EngineError, Piece, SamplingParams
from evolcoder.serve.engines.rows import ReplyChannel, Row, deliver
from evolcoder.serve.engines.text import TokenNames

TOKENIZER = byte_level("a", "\u0120\u00f0\u0141", "\u0130", "\u012b", "\u010a", "b")
A, BEGINS, GOES_ON, ENDS, NEWLINE, B, END = range(7)
"""``BEGINS`` is a space and the first half of an emoji of three tokens; ``END`` is special."""


def make_row(loop: asyncio.AbstractEventLoop, max_tokens: int = 100, **sampling: Any) -> Row:
    return Row(
        index=0,
        prompt=[A],
        follows=[A],
        sampling=SamplingParams(**sampling),
        max_tokens=max_tokens,
        decode=partial(TOKENIZER.decode, skip_special_tokens=True),
        names=TokenNames(TOKENIZER),
        stop_ids={END},
        channel=ReplyChannel(loop),
        streamed=True,
    )


def answered(tokens: list[int], **sampling: Any) -> list[Piece]:
    row = make_row(asyncio.new_event_loop(), **sampling)
    pieces = [row.add_token(token, [(token, -0.5), (A, -1.0), (B, -2.0)]) for token in tokens]
    return [piece for piece in pieces if piece is not None]


@pytest.mark.parametrize(
    ("tokens", "sampling", "shown"),
    [
        ([A, BEGINS, GOES_ON, ENDS, B, END], {}, [("a", [0]), (" \U0001f389", [1, 2, 2]), ("b", [3]), ("", [])]),
        ([BEGINS, GOES_ON, END], {}, [(" \ufffd", [0, 1])]),
        ([A, B, NEWLINE], {"stop": ("\n",)}, [("a", [0]), ("b", [1]), ("", [])]),
        ([A, B, NEWLINE, B, END], {"stop": ("b\n\n",)}, [("a", [0]), ("b\n", [1, 2]), ("b", [3])]),
        ([A, B, NEWLINE], {"stop": ("b\n",)}, [("a", [0]), ("", [])]),
    ],
)
def test_a_token_is_shown_with_its_text(tokens: list[int], sampling: Any, shown: list[tuple[str, list[int]]]) -> None:
    pieces = answered(tokens, **sampling)
    assert [(piece.text, [entry.offset for entry in piece.logprobs]) for piece in pieces] == shown
    assert all(len(entry.alternatives) == 2 for piece in pieces for entry in piece.logprobs)
    joined = b"".join(entry.token.data for piece in pieces for entry in piece.logprobs).decode("utf-8", "replace")
    assert joined == "".join(piece.text for piece in pieces)
    assert pieces[-1].finish_reason == "stop"


def test_a_loop_that_ends_at_this_moment_keeps_nothing_from_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the decode thread delivers last, nobody delivers again."""
    ending, waiting = asyncio.new_event_loop(), asyncio.new_event_loop()
    rows, fault = [make_row(ending), make_row(waiting)], EngineError("The engine has stopped.")
    ending.close()
    with monkeypatch.context() as patch:
        patch.setattr(ending, "is_closed", lambda: False)  # as it was a moment ago
        deliver((row, fault) for row in rows)
    assert waiting.run_until_complete(asyncio.wait_for(rows[1].channel.deliveries.get(), 10)) is fault
    waiting.close()
