"""Finds the paid replies of a part of the journal, and adds up what all parts had cost. Writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from evolcoder.endpoint.journal.lines import Entry, Item, Release, Replaces, Reservation, Spent, key_of, parse_line
from evolcoder.endpoint.requests import TeacherReply
from evolcoder.storage.folders import Folder
from evolcoder.text.encodable import encodable_text

COMPACTED = "compacted-"


class JournalReader:
    """Finds paid replies of one part. Holds their keys and places in memory; texts only where reading one is slow."""

    def __init__(self, folder: Folder, part: str) -> None:
        self._folder = folder / part
        self._lines: dict[str, bytes | tuple[str, int, int]] = {}
        self.damaged_lines = 0
        for name in live_segments(self._folder):
            for offset, line in read_lines(self._folder, name):
                key = key_of(line)
                if key is not None:
                    self._lines[key] = (name, offset, len(line)) if folder.is_local else line
                elif parse_line(line) is None:
                    self.damaged_lines += 1

    def __bool__(self) -> bool:
        """Whether it holds any reply."""
        return bool(self._lines)

    def __contains__(self, key: str) -> bool:
        return key in self._lines

    def find(self, key: str) -> TeacherReply | None:
        line = self._lines.get(key)
        if isinstance(line, tuple):
            name, offset, length = line
            with self._folder.open_input(name) as file:
                file.seek(offset)
                line = bytes(file.read(length))
        entry = parse_line(line) if line is not None else None
        if not isinstance(entry, Entry):
            return None
        text, replaced = encodable_text(entry.text)  # earlier versions kept texts as they came
        return TeacherReply(text, entry.finish_reason, entry.prompt_tokens, entry.completion_tokens, replaced)


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


@dataclass
class SpentTokens:
    """Adds up what lines say was spent. Memory grows with what was on its way at once, not with the lines."""

    _prompt: int = 0
    _completion: int = 0
    _reserved: dict[str, Reservation] = field(default_factory=dict)

    def add(self, item: Item | None) -> None:
        if isinstance(item, Entry | Spent):
            self._prompt += item.prompt_tokens
            self._completion += item.completion_tokens
        elif isinstance(item, Reservation):
            self._reserved[item.mark] = item
        elif isinstance(item, Release):
            self._reserved.pop(item.withdrawn, None)

    def tokens(self) -> tuple[int, int]:
        """Prompt and completion tokens; reservations that were never released count in full."""
        reserved = self._reserved.values()
        return (
            self._prompt + sum(one.prompt_tokens for one in reserved),
            self._completion + sum(one.completion_tokens for one in reserved),
        )


def recorded_tokens(folder: Folder) -> tuple[int, int]:
    """Prompt and completion tokens of all replies of all parts, and of reservations that were never released."""
    spent = SpentTokens()
    for part in sorted({name.partition("/")[0] for name in folder.names("*/*.jsonl", recursive=True)}):
        for name in live_segments(folder / part):
            for _, line in read_lines(folder / part, name):
                spent.add(parse_line(line))
    return spent.tokens()
