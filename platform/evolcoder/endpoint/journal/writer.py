"""Appends paid replies to the journal: line by line on local storage, a new segment about every second elsewhere."""

from __future__ import annotations

import asyncio
import uuid

from evolcoder.endpoint.journal.lines import Entry, Release, Reservation
from evolcoder.storage.append_log import SEGMENT_SECONDS, AppendLog
from evolcoder.storage.folders import Folder


class JournalWriter:
    """Appends entries to segments of its own. Use it from one event loop, and close it."""

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
        """Write without waiting: elsewhere than on local storage it is there about a second later.

        Raises:
            RunFolderError: it cannot be written.
        """
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
