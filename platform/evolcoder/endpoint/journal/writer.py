"""Appends paid replies to the journal: line by line on local storage, a new segment about every second elsewhere."""

from __future__ import annotations

import asyncio
import os
import time
import uuid
from typing import BinaryIO

from evolcoder.endpoint.journal.epoch import REMOTE_SEGMENT_SECONDS
from evolcoder.endpoint.journal.lines import Entry, Release, Reservation
from evolcoder.errors import RunFolderError
from evolcoder.storage.folders import Folder

FSYNC_SECONDS = 1.0


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

    def note(self, item: Entry | Reservation | Release) -> None:
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
