"""The journal: every paid reply on disk, under the hash of its request, before anything counts it.

    journal/epoch                               which run may send; a newer run fences off what is left of an older one
    journal/token                               a name for this journal, by which batches at an endpoint are known again
    journal/<part>/<epoch>-<writer>.jsonl       local storage: one growing segment per writer, flushed reply by reply
    journal/<part>/<epoch>-<writer>-<n>.jsonl   elsewhere: a new segment about every second, for nothing can be appended

    journal/<part>/compacted-<id>.jsonl         all segments of a finished part in one; its first line names those it replaces

A line that a kill cut short is not counted: its request is sent again. Requests are looked up within one part (a round),
so that a worker's index grows with the round and not with the run. Under a budget, a mark with its upper bound goes before
each request, and is withdrawn once its reply is here or it is known to have cost nothing: a mark that is left after a kill
counts as spent. The journal decides nothing about what is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

from evolcoder.endpoint.requests import Reply
from evolcoder.errors import RunBusyError, RunFolderError
from evolcoder.records import stable_hash
from evolcoder.runs import Folder

REMOTE_SEGMENT_SECONDS = 1.0
FSYNC_SECONDS = 1.0
COMPACTED = "compacted-"
_EPOCH = "epoch"
_TOKEN = "token"
_KEY_START = b'{"key":"'
_KEY_LENGTH = 20


def request_key(path: str, body: Mapping[str, Any]) -> str:
    """What stands for a request: a hash of all that decides its reply."""
    return stable_hash(path, json.dumps(body, sort_keys=True, ensure_ascii=False, separators=(",", ":")))


@dataclass(frozen=True)
class Epoch:
    """A run's right to send requests; it ends when a newer run claims the journal."""

    folder: Folder
    number: int
    token: str

    @classmethod
    def claim(cls, folder: Folder) -> Epoch:
        """Take over the journal; workers of older epochs stop sending."""
        current = _read_epoch(folder)
        epoch = cls(folder, int(current.get("epoch", 0)) + 1, uuid.uuid4().hex)
        folder.write_text(_EPOCH, json.dumps({"epoch": epoch.number, "token": epoch.token}))
        return epoch


def journal_token(folder: Folder) -> str:
    """What names this journal and no other, wherever it lies; made at the first call."""
    if not folder.exists(_TOKEN):
        folder.write_text(_TOKEN, uuid.uuid4().hex)
    return folder.read_text(_TOKEN).strip()


class Fence:
    """Asks, before each request, whether the epoch still holds: cheaply on local storage, once a second elsewhere."""

    def __init__(self, epoch: Epoch) -> None:
        self._epoch = epoch
        self._signature: tuple[int, int] | None = None
        self._checked_at = float("-inf")

    def check(self) -> None:
        """
        Raises:
            RunBusyError: a newer run has taken over.
        """
        if self._unchanged():
            return
        if _read_epoch(self._epoch.folder).get("token") != self._epoch.token:
            raise RunBusyError("A newer run of the same name has taken over; this one sends nothing more. Look at that one.")

    def _unchanged(self) -> bool:
        if self._epoch.folder.is_local:
            try:
                status = os.stat(f"{self._epoch.folder.path}/{_EPOCH}")
            except FileNotFoundError:
                return False
            signature = (status.st_ino, status.st_mtime_ns)
            same, self._signature = signature == self._signature, signature
            return same
        now = time.monotonic()
        if now - self._checked_at < REMOTE_SEGMENT_SECONDS:
            return True
        self._checked_at = now
        return False


def _read_epoch(folder: Folder) -> dict[str, Any]:
    if not folder.exists(_EPOCH):
        return {}
    try:
        data = json.loads(folder.read_text(_EPOCH))
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


@dataclass(frozen=True, slots=True)
class Entry:
    """A paid reply under the key of its request."""

    key: str
    text: str
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def reply(self) -> Reply:
        return Reply(self.text, self.finish_reason, self.prompt_tokens, self.completion_tokens)

    def line(self) -> bytes:
        return _line(asdict(self))


@dataclass(frozen=True, slots=True)
class Mark:
    """Says that a request is about to be sent, and the most that it may use."""

    mark: str
    prompt_tokens: int
    completion_tokens: int

    def line(self) -> bytes:
        return _line(asdict(self))


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Says that a mark counts no longer."""

    withdrawn: str

    def line(self) -> bytes:
        return _line(asdict(self))


@dataclass(frozen=True, slots=True)
class Spent:
    """Says what lines that are left out of a compacted segment had cost."""

    spent: str
    prompt_tokens: int
    completion_tokens: int

    def line(self) -> bytes:
        return _line(asdict(self))


@dataclass(frozen=True, slots=True)
class Replaces:
    """The first line of a compacted segment: the names of the segments that count no longer, a space between them."""

    replaces: str

    def line(self) -> bytes:
        return _line(asdict(self))


Item = Entry | Mark | Withdrawn | Spent | Replaces
_KINDS: tuple[tuple[type[Item], str], ...] = (
    (Entry, "key"), (Mark, "mark"), (Withdrawn, "withdrawn"), (Spent, "spent"), (Replaces, "replaces"),
)  # fmt: skip


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data, separators=(",", ":")).encode("ascii") + b"\n"


def parse_line(line: bytes) -> Item | None:
    """What a whole line holds; None for a line that is cut short or holds nothing known."""
    if not line.endswith(b"\n"):
        return None
    try:
        data = json.loads(line)
        kind = next(k for k, name in _KINDS if name in data)
        item: Item = kind(**data)
    except (ValueError, TypeError, StopIteration, RecursionError):
        return None
    wanted = kind.__annotations__
    good = all(type(value).__name__ == wanted[name] for name, value in data.items())
    return item if good else None


class JournalReader:
    """Finds paid replies of one part. Holds their keys and places in memory; texts only where reading one is slow."""

    def __init__(self, folder: Folder, part: str) -> None:
        self._folder = folder / part
        self._places: dict[str, tuple[str, int, int]] = {}
        self._texts: dict[str, bytes] = {}
        self.damaged_lines = 0
        for name in live_segments(self._folder):
            for offset, line in read_lines(self._folder, name):
                key = key_of(line)
                if key is not None and folder.is_local:
                    self._places[key] = (name, offset, len(line))
                elif key is not None:
                    self._texts[key] = line
                elif parse_line(line) is None:
                    self.damaged_lines += 1

    def __len__(self) -> int:
        return len(self._places) + len(self._texts)

    def __contains__(self, key: str) -> bool:
        return key in self._places or key in self._texts

    def find(self, key: str) -> Reply | None:
        line = self._texts.get(key) or self._read(key)
        entry = parse_line(line) if line is not None else None
        return entry.reply if isinstance(entry, Entry) else None

    def _read(self, key: str) -> bytes | None:
        place = self._places.get(key)
        if place is None:
            return None
        name, offset, length = place
        with self._folder.open_input(name) as file:
            file.seek(offset)
            return bytes(file.read(length))


def key_of(line: bytes) -> str | None:
    start, end = len(_KEY_START), len(_KEY_START) + _KEY_LENGTH
    if not line.startswith(_KEY_START) or line[end : end + 1] != b'"' or not line.endswith(b"}\n"):
        return None
    return line[start:end].decode("ascii", "replace")


def read_lines(folder: Folder, name: str) -> Iterator[tuple[int, bytes]]:
    """The lines of a segment with their offsets; the last may lack its end."""
    offset, rest = 0, b""
    with folder.open_input(name) as file:
        while chunk := file.read(1 << 20):
            *whole, rest = (rest + chunk).split(b"\n")
            for piece in whole:
                yield offset, piece + b"\n"
                offset += len(piece) + 1
    if rest:
        yield offset, rest


def live_segments(part: Folder) -> list[str]:
    """The names of a part's segments that count, a writer's in their order: all but those that a compacted one replaces."""
    names = part.names("*.jsonl")
    replaced: set[str] = set()
    for name in names:
        if name.startswith(COMPACTED):
            first = next((parse_line(line) for _, line in read_lines(part, name)), None)
            replaced |= set(first.replaces.split()) if isinstance(first, Replaces) else set()
    return [name for name in names if name not in replaced]


class Account:
    """Adds up what lines say was spent. Memory grows with what was on its way at once, not with the lines."""

    def __init__(self) -> None:
        self._prompt = self._completion = 0
        self._marks: dict[str, Mark] = {}

    def add(self, item: Item | None) -> None:
        if isinstance(item, Entry | Spent):
            self._prompt += item.prompt_tokens
            self._completion += item.completion_tokens
        elif isinstance(item, Mark):
            self._marks[item.mark] = item
        elif isinstance(item, Withdrawn):
            self._marks.pop(item.withdrawn, None)

    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens; marks that were never withdrawn count in full."""
        marks = self._marks.values()
        return (
            self._prompt + sum(mark.prompt_tokens for mark in marks),
            self._completion + sum(mark.completion_tokens for mark in marks),
        )


def recorded_tokens(folder: Folder) -> tuple[int, int]:
    """Prompt and completion tokens of all replies of all parts, and of marks that were never withdrawn."""
    account = Account()
    for part in sorted({name.partition("/")[0] for name in folder.names("*/*.jsonl", recursive=True)}):
        for name in live_segments(folder / part):
            for _, line in read_lines(folder / part, name):
                account.add(parse_line(line))
    return account.tokens()


class JournalWriter:
    """Appends entries to segments of its own. Use it from one event loop, and close it."""

    def __init__(self, folder: Folder, part: str, epoch: int) -> None:
        self._folder = (folder / part).make()
        self._name = f"{epoch:06d}-{uuid.uuid4().hex[:12]}"
        self._file: BinaryIO | None = None
        self._synced_at = 0.0
        self._waiting: list[bytes] = []
        self._flush: asyncio.Task[None] | None = None
        self._segments = 0

    async def append(self, entry: Entry) -> None:
        """Returns when the entry would survive this process.

        Raises:
            RunFolderError: it cannot be written.
        """
        self.note(entry)
        if self._flush is not None:
            await asyncio.shield(self._flush)

    def note(self, item: Entry | Mark | Withdrawn) -> None:
        """Write without waiting: elsewhere than on local storage it is there about a second later.

        Raises:
            RunFolderError: it cannot be written.
        """
        if self._folder.is_local:
            self._append_local(item.line())
            return
        self._waiting.append(item.line())
        if self._flush is None:
            self._flush = asyncio.get_running_loop().create_task(self._flush_soon())

    def _append_local(self, line: bytes) -> None:
        try:
            if self._file is None:
                self._file = open(self._folder.local_path / f"{self._name}.jsonl", "ab", buffering=0)  # noqa: SIM115
            written = self._file.write(line)
            while written < len(line):  # a raw write may be short when the disk fills
                written += self._file.write(line[written:])
            now = time.monotonic()
            if now - self._synced_at > FSYNC_SECONDS:
                self._synced_at = now
                os.fsync(self._file.fileno())
        except OSError as error:
            raise RunFolderError(self._sentence(error)) from error

    async def _flush_soon(self) -> None:
        await asyncio.sleep(REMOTE_SEGMENT_SECONDS)
        lines, self._waiting, self._flush = self._waiting, [], None
        self._segments += 1
        name = f"{self._name}-{self._segments:06d}.jsonl"
        try:
            await asyncio.to_thread(self._folder.write_bytes, name, b"".join(lines))
        except OSError as error:
            raise RunFolderError(self._sentence(error)) from error

    def _sentence(self, error: OSError) -> str:
        return (
            f"A paid reply could not be written to {self._folder} ({error.strerror or error}); nothing more is sent: make "
            "room or mend the permissions, then run the same command again."
        )

    async def close(self) -> None:
        if self._flush is not None:
            await self._flush
        if self._file is not None:
            self._file.close()
            self._file = None
