"""Appends paid replies to the journal, and compacts a part of it that is finished."""

from __future__ import annotations

import asyncio
import uuid
from itertools import chain

from evolcoder.endpoint.journal.lines import Entry, Release, Replaces, Reservation, Spent, key_of, parse_line
from evolcoder.endpoint.journal.reader import COMPACTED, SpentTokens, live_segments, read_lines
from evolcoder.storage.append_log import SEGMENT_SECONDS, AppendLog
from evolcoder.storage.folders import Folder


class JournalWriter:
    """Appends entries to segments of its own: line by line on local storage, a new one about every second elsewhere.

    Use it from one event loop, and close it.
    """

    def __init__(self, folder: Folder, part: str, epoch: int) -> None:
        self._folder = (folder / part).make()
        self._log = AppendLog(self._folder, f"{epoch:06d}-{uuid.uuid4().hex[:12]}", first_segment=1)
        self._flush: asyncio.Task[None] | None = None

    async def append(self, entry: Entry) -> None:
        """Returns when the entry would survive this process.

        Raises:
            RunFolderError: it cannot be written.
        """
        self.note(entry)
        await self.flush()

    async def flush(self) -> None:
        """Returns when all that was noted would survive this process. Raises as ``append`` does."""
        if self._flush is not None:
            await asyncio.shield(self._flush)  # others wait for the same segment: one that is cancelled must not end it

    def note(self, item: Entry | Reservation | Release) -> None:
        """Write without waiting: elsewhere than on a local disk it is there about a second later. Raises as ``append`` does."""
        self._log.append(item.line())
        if not self._folder.is_local and self._flush is None:
            self._flush = asyncio.get_running_loop().create_task(self._flush_soon())

    async def _flush_soon(self) -> None:
        await asyncio.sleep(SEGMENT_SECONDS)
        # In one step of the event loop: what comes from here on belongs to the next segment, and waits for the next flush.
        write, self._flush = self._log.cut(), None
        await asyncio.to_thread(write)

    async def close(self) -> None:
        if self._flush is not None:
            await self._flush
        self._log.close()


def compact(journal: Folder, part: str) -> None:
    """Put one segment in place of all those of a part whose writers have ended: each reply once, what was spent still known.

    The new segment is written whole, and names those that it replaces in its first line: they count no longer from that moment
    on, whether or not a kill comes before they are deleted. Memory grows with the number of replies, not with their texts.

    Raises:
        RunFolderError: the segment cannot be written; nothing changed.
    """
    folder = journal / part
    segments = live_segments(folder)
    if len(segments) > 1:
        kept: set[str] = set()
        dropped = SpentTokens()
        with folder.write_whole(f"{COMPACTED}{uuid.uuid4().hex[:12]}.jsonl") as stream:
            stream.write(Replaces(" ".join(segments)).line())
            for _, line in chain.from_iterable(read_lines(folder, name) for name in segments):
                key = key_of(line)
                item = parse_line(line)
                if key is None or item is None or key in kept:
                    dropped.add(item)
                    continue
                kept.add(key)
                stream.write(line)
            stream.write(Spent("left out", *dropped.tokens()).line())
    if segments:
        for name in set(folder.names("*.jsonl")) - set(live_segments(folder)):
            folder.delete(name)
