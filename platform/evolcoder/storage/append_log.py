"""A log that only grows: one file on a local disk; elsewhere, where nothing can be appended to, numbered segments.

    <name>.jsonl                on a local disk
    <name>-<n:06d>.jsonl        elsewhere

What the lines hold is not known here.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import partial
from io import FileIO

from evolcoder.storage.folders import Folder, explain_write_errors

SEGMENT_SECONDS = 1.0
"""Elsewhere than on a local disk, what must be safe soon is cut off into a segment about so often."""
_FSYNC_SECONDS = 1.0
"""A write survives the process at once and a power cut after this time: an fsync for each line would be the slowest step."""


class AppendLog:
    """Appends to a log of which no other process holds the name. Close it.

    Args:
        name: of the file or files, without ``.jsonl``.
        first_segment: the number of the first segment that this process may write.
    """

    def __init__(self, folder: Folder, name: str, first_segment: int) -> None:
        self._folder = folder
        self._name = name
        self._file: FileIO | None = None
        self._synced_at = 0.0
        self.waiting: list[bytes] = []
        """The lines that the next ``cut`` writes; none on a local disk."""
        self._segment = first_segment

    def append(self, line: bytes) -> None:
        """On a local disk the line has been handed to the system on return; elsewhere it waits for ``cut``.

        Raises:
            RunFolderError: it cannot be written.
        """
        if not self._folder.is_local:
            self.waiting.append(line)
            return
        with explain_write_errors(self._folder / f"{self._name}.jsonl"):
            if self._file is None:
                path = self._folder.local_path / f"{self._name}.jsonl"
                # A kill may have cut the last line short: without a line end, the first line of this process would be lost
                # with it. Unbuffered, for what was appended must outlive the process, however it ends.
                torn = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
                self._file = path.open("ab", buffering=0)
                if torn:
                    self._file.write(b"\n")
            rest = memoryview(line)
            while rest:  # a raw write may be short when the disk fills; the next one says so
                rest = rest[self._file.write(rest) :]
            now = time.monotonic()
            if now - self._synced_at > _FSYNC_SECONDS:
                self._synced_at = now
                os.fsync(self._file.fileno())

    def cut(self) -> Callable[[], None]:
        """End the current segment; the function that is returned writes it, and may run in another thread."""
        if not self.waiting:
            return lambda: None
        data, self.waiting = b"".join(self.waiting), []
        name = f"{self._name}-{self._segment:06d}.jsonl"
        self._segment += 1
        return partial(self._folder.write_bytes, name, data)

    def close(self) -> None:
        self.cut()()
        if self._file is not None:
            self._file.close()
            self._file = None
