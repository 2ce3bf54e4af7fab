"""The journal: every paid reply on disk, under the hash of its request, before anything counts it.

    journal/epoch                               which run may send; a newer run fences off what is left of an older one
    journal/token                               a name for this journal, by which batches at an endpoint are known again
    journal/<part>/<epoch>-<writer>.jsonl       local storage: one growing segment per writer, flushed reply by reply
    journal/<part>/<epoch>-<writer>-<n>.jsonl   elsewhere: a new segment about every second, for nothing can be appended

    journal/<part>/compacted-<id>.jsonl         all segments of a finished part in one; its first line names those it replaces

A line that a kill cut short is not counted: its request is sent again. Requests are looked up within one part (a round),
so that a worker's index grows with the round and not with the run. Under a budget, a reservation of a request's upper bound is
written before it is sent, and released once its reply is here or it is known to have cost nothing: one that is left after a
kill counts as spent. The journal decides nothing about what is sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from evolcoder.endpoint.requests import TeacherReply
from evolcoder.storage.hashes import stable_hash

_KEY_START = b'{"key":"'
_KEY_LENGTH = 20


def request_key(path: str, body: Mapping[str, Any]) -> str:
    """What stands for a request: a hash of all that decides its reply."""
    return stable_hash(path, json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


class _Line:
    """One line of a segment. The fields are its keys, and the first of them says which line it is."""

    __slots__ = ()

    def line(self) -> bytes:
        data = asdict(self)  # type: ignore[call-overload]
        return json.dumps(data, separators=(",", ":")).encode("ascii") + b"\n"


@dataclass(frozen=True, slots=True)
class Entry(_Line):
    """A paid reply under the key of its request."""

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @classmethod
    def of(cls, key: str, reply: TeacherReply) -> Entry:
        return cls(key, reply.text, reply.finish_reason, reply.prompt_tokens, reply.completion_tokens)


@dataclass(frozen=True, slots=True)
class Reservation(_Line):
    """Says that a request is about to be sent, and the most that it may use."""

    mark: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Release(_Line):
    """Says that a reservation counts no longer."""

    withdrawn: str


@dataclass(frozen=True, slots=True)
class Spent(_Line):
    """Says what lines that are left out of a compacted segment had cost."""

    spent: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True)
class Replaces(_Line):
    """The first line of a compacted segment: the names of the segments that count no longer, a space between them."""

    replaces: str


Item = Entry | Reservation | Release | Spent | Replaces
_KINDS: dict[str, type[Item]] = {
    "key": Entry, "mark": Reservation, "withdrawn": Release, "spent": Spent, "replaces": Replaces,
}  # fmt: skip


def parse_line(line: bytes) -> Item | None:
    """What a whole line holds; None for a line that is cut short or holds nothing known."""
    if not line.endswith(b"\n"):
        return None
    try:
        data = json.loads(line)
        kind = _KINDS[next(iter(data))]
        item: Item = kind(**data)
    except (ValueError, TypeError, LookupError, StopIteration, RecursionError):
        return None
    good = all(type(value).__name__ == kind.__annotations__[name] for name, value in data.items())
    return item if good else None


def key_of(line: bytes) -> str | None:
    """The key of a whole entry, without parsing the text that it holds; None for any other line."""
    start, end = len(_KEY_START), len(_KEY_START) + _KEY_LENGTH
    if not line.startswith(_KEY_START) or line[end : end + 1] != b'"' or not line.endswith(b"}\n"):
        return None
    return line[start:end].decode("ascii", "replace")
